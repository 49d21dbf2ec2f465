"""Thumbnails of avatars: the front view out of the preview sheet, small, kept in this machine's cache."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from avatar_core.errors import AvatarError
from avatar_core.export.sheet import BORDER, GAP, PAPER
from avatar_core.storage import Location, cache_root, write_atomic

WIDTH = 320
"""Greatest width of a thumbnail, pixels."""
QUALITY = 84
MAX_BYTES = 64 * 2**20
"""No preview is larger; what is, is not opened."""
BUDGET = 2**30
"""Bytes that the thumbnails of all libraries may take, looked after when a gallery starts."""


class ThumbnailError(AvatarError):
    """A preview of which no thumbnail can be made."""


class Thumbnails:
    """The thumbnails of one library; they never go into the library."""

    def __init__(self, library: Location, folder: Path | None = None) -> None:
        """Keep thumbnails in `folder`; default: the cache of this machine."""
        self._library = library
        self.folder = folder or cache_root() / "gallery" / "thumbnails"

    def get(self, preview: str, version: str) -> bytes:
        """Return the thumbnail (WebP) of a preview, a path in the library whose content `version` tells apart.

        Raises FileNotFoundError where there is no preview, ThumbnailError for one that is no picture.
        """
        place = self._place(preview, version)
        try:
            return place.read_bytes()
        except FileNotFoundError:
            content = self._made(preview)
        write_atomic(place, content)
        return content

    def prune(self, budget: int = BUDGET) -> int:
        """Delete the oldest thumbnails beyond a budget of bytes; return how many."""
        found = sorted((path.stat().st_mtime, path) for path in self.folder.glob("*/*.webp"))
        excess = sum(path.stat().st_size for _, path in found) - budget
        deleted = 0
        for _, path in found:
            if excess <= 0:
                break
            excess -= path.stat().st_size
            path.unlink()
            deleted += 1
        return deleted

    def _place(self, preview: str, version: str) -> Path:
        library = str(self._library.path().resolve()) if self._library.is_local else self._library.url
        digest = hashlib.sha256("\n".join([library, preview, version, str(WIDTH)]).encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest}.webp"

    def _made(self, preview: str) -> bytes:
        size = self._library.size(preview)
        if size is None:
            raise FileNotFoundError(preview)
        if size > MAX_BYTES:
            raise ThumbnailError(f"{preview} has {size} bytes, which no preview has.")
        try:
            with Image.open(io.BytesIO(self._library.read(preview)), formats=["PNG"]) as sheet:
                picture = front_view(sheet.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ThumbnailError(f"{preview} is no picture: {error}. Make the avatar's export again.") from error
        picture.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
        sink = io.BytesIO()
        picture.save(sink, "WEBP", quality=QUALITY)
        return sink.getvalue()


def front_view(sheet: Image.Image) -> Image.Image:
    """Return the first panel of a preview sheet; the whole picture, where it is not laid out as ours are."""
    if min(sheet.size) <= BORDER:
        return sheet
    width = _panel_length([sheet.getpixel((x, BORDER)) for x in range(BORDER, sheet.width)])
    height = _panel_length([sheet.getpixel((BORDER, y)) for y in range(BORDER, sheet.height)])
    if width is None or height is None:
        return sheet
    return sheet.crop((BORDER, BORDER, BORDER + width, BORDER + height))


def _panel_length(pixels: Sequence[object]) -> int | None:
    """Return how long a panel is along a line that starts at its corner, up to a gap of paper; None without one."""
    for length in range(1, len(pixels) - GAP + 1):
        if all(pixel == PAPER for pixel in pixels[length : length + GAP]):
            return length
    return None
