import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest
import torch

from avatar_core.export.optimisation_film import FPS, HELD, SHOWN, captioned, write_optimisation

LABELS = ("body", "outfit", "step 8", "step 16", "step 24")
LEVELS = (40, 90, 130, 170, 210)


@pytest.fixture
def frames():
    return torch.stack([torch.full((32, 24, 3), level, dtype=torch.uint8) for level in LEVELS])


def test_pictures_follow_one_another_the_first_two_and_the_last_for_longer(frames, tmp_path):
    path = tmp_path / "optimisation.mp4"
    write_optimisation(path, frames, LABELS, 96)
    facts = imageio_ffmpeg.read_frames(str(path))
    meta = next(facts)
    facts.close()
    assert meta["codec"] == "h264"
    assert meta["size"] == (72, 96)
    assert meta["fps"] == FPS
    levels = iio.imread(path, plugin="FFMPEG")[:, 24:].mean(axis=(1, 2, 3))
    expected = np.repeat(LEVELS, (HELD, HELD, SHOWN, SHOWN, HELD))
    np.testing.assert_allclose(levels, expected, atol=4)


def test_equal_pictures_give_equal_bytes(frames, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        write_optimisation(tmp_path / name, frames, LABELS, 64)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_widths_are_even_and_one_picture_is_a_film(frames, tmp_path):
    write_optimisation(tmp_path / "a.mp4", frames[:1, :, :22], ("body",), 96)
    film = iio.imread(tmp_path / "a.mp4", plugin="FFMPEG")
    assert film.shape == (HELD, 96, 66, 3)


def test_the_label_is_written_in_the_corner(frames):
    picture = captioned(frames[4].numpy(), "step 24", (240, 180))
    assert picture.shape == (240, 180, 3)
    assert (picture[40:] == LEVELS[4]).all()
    assert (picture[:40, :90] < 100).any()
    assert not np.array_equal(picture, captioned(frames[4].numpy(), "step 16", (240, 180)))
