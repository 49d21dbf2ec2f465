"""Animated WebPs of films."""

import numpy as np
import pytest
from PIL import Image

from avatar_core.export.webp import AnimatedWebp


def film(count: int) -> list[np.ndarray]:
    """Frames (40, 30, 3) that get brighter."""
    return [np.full((40, 30, 3), 40 + 4 * index, np.uint8) for index in range(count)]


def written(path, count: int, fps: int, target: int, height: int = 20, quality: int = 90) -> Image.Image:
    animation = AnimatedWebp(fps, target, height)
    for frame in film(count):
        animation.take(frame)
    animation.save(path, quality)
    return Image.open(path)


@pytest.mark.parametrize(("fps", "target", "kept"), [(30, 15, 10), (30, 12, 8), (30, 60, 20), (24, 10, 8)])
def test_it_lasts_as_long_as_the_film_with_as_many_frames_a_second_as_asked_for(tmp_path, fps, target, kept):
    image = written(tmp_path / "a.webp", 20, fps, target)
    assert (image.n_frames, image.info["loop"], image.size) == (kept, 0, (15, 20))
    durations = []
    for index in range(image.n_frames):
        image.seek(index)
        image.load()
        durations.append(image.info["duration"])
    assert sum(durations) == round(1000 * 20 / fps)
    assert max(durations) - min(durations) <= 1000 / fps + 1


def test_it_shows_the_film_s_pictures_in_their_order(tmp_path):
    image = written(tmp_path / "a.webp", 20, 30, 15)
    levels = []
    for index in range(image.n_frames):
        image.seek(index)
        levels.append(float(np.asarray(image.convert("RGB")).mean()))
    np.testing.assert_allclose(levels, [40 + 8 * index for index in range(10)], atol=2)


def test_equal_films_give_equal_bytes(tmp_path):
    written(tmp_path / "a.webp", 12, 30, 15)
    written(tmp_path / "b.webp", 12, 30, 15)
    assert (tmp_path / "a.webp").read_bytes() == (tmp_path / "b.webp").read_bytes()


def test_a_film_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        AnimatedWebp(30, 15, 20).save(tmp_path / "a.webp", 70)
