"""Thumbnails of avatars: the front view out of the preview sheet, small, kept in this machine's cache."""

import hashlib
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from avatar_core.errors import AvatarError
from avatar_core.export.sheet import BORDER, GAP, PAPER
from avatar_core.pictures import PictureError, open_png
from avatar_core.storage import Location, cache_root, write_atomic

logger = logging.getLogger(__name__)

WIDTH = 320
"""Greatest width of a thumbnail, pixels."""
QUALITY = 84
BUDGET = 2**30
"""Bytes that the thumbnails of all libraries may take, looked after when a gallery starts."""


class ThumbnailError(AvatarError):
    """A preview of which no thumbnail can be made."""


class Thumbnails:
    """The thumbnails of one library; they never go into the library."""

    def __init__(self, library: Location, folder: Path | None = None) -> None:
        """Keep thumbnails in `folder`; default: the cache of this machine."""
        self._library = str(library.path().resolve()) if library.is_local else library.url
        self.folder = folder or cache_root() / "gallery" / "thumbnails"

    def get(self, avatar_id: str, key: str, read: Callable[[], bytes]) -> bytes:
        """Return the thumbnail (WebP) of the result with `key`, made of the preview that `read` returns where it is
        not kept yet.

        Raises ThumbnailError for a preview that is no picture, and what `read` raises.
        """
        place = self._place(avatar_id, key)
        try:
            return place.read_bytes()
        except FileNotFoundError:
            content = _thumbnail(read(), avatar_id)
        try:
            write_atomic(place, content)
        except OSError as error:
            logger.warning("%s cannot be written, so that thumbnails are made each time: %s", self.folder, error)
        return content

    def prune(self, budget: int = BUDGET) -> int:
        """Delete the oldest thumbnails beyond a budget of bytes; return how many."""
        found = sorted(self._kept())
        excess = sum(size for _, size, _ in found) - budget
        deleted = 0
        for _, size, path in found:
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess -= size
            deleted += 1
        return deleted

    def _kept(self) -> Iterator[tuple[float, int, Path]]:
        """Yield when each thumbnail was made, its bytes and its path; another gallery may be at it, too."""
        for path in self.folder.glob("*/*.webp"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            yield status.st_mtime, status.st_size, path

    def _place(self, avatar_id: str, key: str) -> Path:
        digest = hashlib.sha256("\n".join([self._library, avatar_id, key, str(WIDTH)]).encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest}.webp"


def _thumbnail(preview: bytes, avatar_id: str) -> bytes:
    try:
        picture = front_view(open_png(preview))
    except PictureError as error:
        raise ThumbnailError(f"The preview of {avatar_id} is no picture: {error}. Make its export again.") from error
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
