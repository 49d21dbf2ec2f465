"""The previews of a shard on one picture."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatar_core.storage import open_location
from flows.contact_sheet import TILE, contact_sheet


@pytest.fixture
def deliver(tmp_path: Path):
    """Puts a preview of one colour into an avatar's folder."""

    def put(avatar_id: str, colour: tuple[int, int, int], size: tuple[int, int] = (256, 256)) -> None:
        folder = tmp_path / "avatars" / avatar_id
        folder.mkdir(parents=True)
        Image.new("RGB", size, colour).save(folder / "preview.png")

    return put


def sheet(tmp_path: Path, *avatar_ids: str, limit: int = 24) -> np.ndarray:
    content = contact_sheet(open_location(str(tmp_path)), avatar_ids, limit)
    assert content is not None
    return np.asarray(Image.open(io.BytesIO(content)))


def test_avatars_are_shown_in_order_those_without_a_preview_left_out(tmp_path: Path, deliver) -> None:
    deliver("ada", (250, 0, 0))
    deliver("cid", (0, 0, 250))
    picture = sheet(tmp_path, "ada", "ben", "cid")
    assert picture.shape == (TILE, 2 * TILE, 3)
    assert np.abs(picture[TILE // 2, TILE // 2].astype(int) - [250, 0, 0]).max() < 12
    assert np.abs(picture[TILE // 2, TILE + TILE // 2].astype(int) - [0, 0, 250]).max() < 12


def test_no_more_are_shown_than_asked_for(tmp_path: Path, deliver) -> None:
    names = [f"walker-{number}" for number in range(9)]
    for name in names:
        deliver(name, (9, 9, 9))
    assert sheet(tmp_path, *names, limit=7).shape == (2 * TILE, 6 * TILE, 3)


def test_a_tall_preview_keeps_its_proportions(tmp_path: Path, deliver) -> None:
    deliver("ada", (250, 250, 250), size=(128, 256))
    picture = sheet(tmp_path, "ada")
    assert picture[TILE // 2, TILE // 2].min() > 240
    assert picture[TILE // 2, 5].max() < 60


def test_without_previews_there_is_no_sheet(tmp_path: Path) -> None:
    assert contact_sheet(open_location(str(tmp_path)), ["ada"], 24) is None
