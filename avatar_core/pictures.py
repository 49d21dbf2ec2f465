"""Opens PNGs that lie in a library, where anybody may have put them: one format, and no more pixels than allowed."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

from PIL import Image

MAX_PIXELS = 64 * 2**20
"""Of a picture that is opened."""
_TORN = (
    OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, OverflowError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow raises for what is no picture."""


class PictureError(ValueError):
    """Bytes that are no PNG, or one too large."""


def open_png(content: bytes, most: int = MAX_PIXELS) -> Image.Image:
    """Return the RGB picture of a PNG file of at most `most` pixels; raises PictureError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `most` is the bound
            with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
                if image.width * image.height > most:
                    raise PictureError(f"a picture has {image.width} x {image.height} pixels")
                return image.convert("RGB")
    except PictureError:
        raise
    except _TORN as error:
        raise PictureError(f"it is no PNG that can be read ({error})") from error
