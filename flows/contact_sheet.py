"""The previews of some avatars on one picture, for a quick look at what a shard made."""

import io
import logging
from collections.abc import Sequence

from PIL import Image

from avatar_core.pictures import PictureError, open_png
from avatar_core.storage import Location
from flows.delivery import delivered_uri

TILE = 160
"""Width and height of a preview on the sheet, in pixels."""
COLUMNS = 6
BACKGROUND = (24, 24, 28)
QUALITY = 82

logger = logging.getLogger(__name__)


def contact_sheet(library: Location, avatar_ids: Sequence[str], limit: int) -> bytes | None:
    """Return a JPEG of the previews of the first `limit` avatars that have one, in order; None where none has."""
    tiles: list[Image.Image] = []
    for avatar_id in avatar_ids:
        if len(tiles) == limit:
            break
        tile = _preview(library, avatar_id)
        if tile is not None:
            tiles.append(tile)
    return _arranged(tiles) if tiles else None


def _preview(library: Location, avatar_id: str) -> Image.Image | None:
    try:
        content = library.read(f"{delivered_uri(avatar_id)}/preview.png")
    except FileNotFoundError:
        return None
    try:
        image = open_png(content)
    except PictureError as error:
        logger.warning("The preview of %s is left out: %s.", avatar_id, error)
        return None
    image.thumbnail((TILE, TILE))
    return image


def _arranged(tiles: Sequence[Image.Image]) -> bytes:
    columns = min(len(tiles), COLUMNS)
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * TILE, rows * TILE), BACKGROUND)
    for number, tile in enumerate(tiles):
        left, top = number % columns * TILE, number // columns * TILE
        sheet.paste(tile, (left + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
    sink = io.BytesIO()
    sheet.save(sink, "JPEG", quality=QUALITY)
    return sink.getvalue()
