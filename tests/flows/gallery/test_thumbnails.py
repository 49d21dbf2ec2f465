"""Thumbnails show the front view, and lie in this machine's cache alone."""

import io
import os
import uuid
from pathlib import Path

import numpy as np
import pytest
from gallery_library import PANEL, preview
from PIL import Image

from avatar_core.storage import open_location
from flows.gallery.thumbnails import WIDTH, ThumbnailError, Thumbnails, front_view

PREVIEW = "avatars/ada/preview.png"


class Shop:
    """Makes thumbnails of ada's preview."""

    def __init__(self, library: Path, thumbnails: Thumbnails) -> None:
        self.preview, self.thumbnails, self.folder = library / PREVIEW, thumbnails, thumbnails.folder

    def get(self, key: str) -> bytes:
        return self.thumbnails.get("ada", key, self.preview.read_bytes)


@pytest.fixture
def shop(library: Path, cache: Path) -> Shop:
    return Shop(library, Thumbnails(open_location(library), cache))


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_the_front_view_is_the_first_panel_of_a_sheet(tmp_path: Path) -> None:
    preview(tmp_path / "sheet.png", (200, 30, 30))
    view = np.asarray(front_view(Image.open(tmp_path / "sheet.png")))
    assert view.shape == (*PANEL, 3)
    assert (view == (200, 30, 30)).all()


@pytest.mark.parametrize("size", [(4, 4), (300, 200), (1, 500), (30, 30)])
def test_any_other_picture_is_shown_whole(size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, (10, 200, 10))
    assert front_view(picture) is picture


def test_a_thumbnail_is_made_once_and_the_library_stays_as_it_is(shop: Shop, library: Path) -> None:
    before = files(library)
    content = shop.get("key")
    with Image.open(io.BytesIO(content)) as picture:
        assert (picture.format, picture.size) == ("WEBP", PANEL[::-1])
        red, green, blue = picture.convert("RGB").getpixel((30, 40))
    assert red > 150 > 80 > max(green, blue)
    assert files(library) == before
    kept = files(shop.folder)
    assert len(kept) == 1
    assert shop.get("key") == content
    assert files(shop.folder) == kept


def test_large_previews_are_made_small(shop: Shop, library: Path) -> None:
    Image.new("RGB", (3000, 1500)).save(library / PREVIEW)
    with Image.open(io.BytesIO(shop.get("key"))) as picture:
        assert picture.size == (WIDTH, WIDTH // 2)


def test_another_version_has_another_thumbnail(shop: Shop, library: Path) -> None:
    first = shop.get("one")
    preview(library / PREVIEW, (30, 30, 200))
    assert shop.get("one") == first
    assert shop.get("two") != first


def test_libraries_do_not_share_thumbnails(library: Path, cache: Path, upload) -> None:
    places = (library, upload(f"memory://{uuid.uuid4().hex}/library"))
    made = []
    for place, shade in zip(places, (30, 200)):
        preview(library / PREVIEW, (shade, 30, 30))
        made.append(Shop(library, Thumbnails(open_location(place), cache)).get("key"))
    assert made[0] != made[1]


def bomb() -> bytes:
    """Return a PNG that says that it is 100,000 pixels a side."""
    sink = io.BytesIO()
    Image.new("L", (1, 1)).save(sink, "PNG")
    content = bytearray(sink.getvalue())
    content[16:24] = (100_000).to_bytes(4) * 2
    import zlib

    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    return bytes(content)


@pytest.mark.parametrize(
    "content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"GIF89a" + b"\0" * 20, bomb()],
    ids=["empty", "text", "broken", "another kind", "bomb"],
)  # fmt: skip
def test_what_is_no_preview_is_named(shop: Shop, library: Path, content: bytes) -> None:
    (library / PREVIEW).write_bytes(content)
    with pytest.raises(ThumbnailError, match="preview of ada"):
        shop.get("key")


def test_a_preview_that_cannot_be_shown_leaves_a_placeholder(browser, library: Path) -> None:
    assert browser.get("/thumbnails/ada").headers["content-type"] == "image/webp"
    for name in ("eve", "cid"):
        (library / "avatars" / name).mkdir(exist_ok=True)
        (library / "avatars" / name / "preview.png").write_bytes(b"no picture")
    (library / "avatars/cid/preview.png").unlink()
    for name in ("eve", "cid", "ben"):
        answer = browser.get(f"/thumbnails/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "image/svg+xml")


def test_the_oldest_thumbnails_go_when_there_are_too_many(shop: Shop) -> None:
    content = [shop.get(version) for version in "abc"]
    places = sorted(shop.folder.glob("*/*.webp"))
    for age, place in enumerate(places):
        os.utime(place, (age, age))
    size = len(content[0])
    assert shop.thumbnails.prune(3 * size) == 0
    assert shop.thumbnails.prune(2 * size) == 1
    assert sorted(shop.folder.glob("*/*.webp")) == places[1:]
