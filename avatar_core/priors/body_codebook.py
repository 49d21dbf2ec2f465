"""The shape codebook of any body: shipped for the embedded one, else sampled from the body's own shapes and cached."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from avatar_core.bodies import BodyModel
from avatar_core.errors import WeightsError
from avatar_core.priors.build_shape_codebook import build_shape_codebook
from avatar_core.priors.shape_codebook import ShapeCodebook, load_shape_codebook
from avatar_core.storage.paths import TEMP_PREFIX, cache_root, remove_entry

logger = logging.getLogger(__name__)

SAMPLING = "1"
"""Version of how bodies are sampled; goes into the keys of what is found in such a codebook."""
ENTRIES, SEED = 1024, 0


def shape_codebook_of(body: BodyModel) -> ShapeCodebook:
    """Return the codebook over a body's shapes; the same body gives the same one.

    Raises WeightsError when the shipped one is damaged, or the cache cannot be written.
    """
    shipped = load_shape_codebook()
    if shipped.body == body.name:
        return shipped
    folder = cache_root() / "shape_codebooks" / f"{body.digest[:16]}-{SAMPLING}"
    try:
        return _kept(folder, body)
    except WeightsError as error:
        if folder.exists():
            logger.warning("%s; it is built again", error)
            remove_entry(folder)
    _build(folder, body)
    return _kept(folder, body)


def _kept(folder: Path, body: BodyModel) -> ShapeCodebook:
    book = load_shape_codebook(folder)
    if book.body_digest != body.digest:
        raise WeightsError(f"{folder} is the shape codebook of another body")
    return book


def _build(folder: Path, body: BodyModel) -> None:
    """Build a codebook beside its place and move it there whole; another process may have done so meanwhile."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=TEMP_PREFIX, dir=folder.parent) as scratch:
            made = Path(scratch) / "codebook"
            build_shape_codebook(body, ENTRIES, SEED, made)
            try:
                os.rename(made, folder)
            except OSError:
                if not folder.is_dir():
                    raise
    except OSError as error:
        raise WeightsError(
            f"{folder}: the shape codebook of {body.name} cannot be kept there ({error.strerror}); set AVATARS_CACHE"
        ) from error
    logger.info("the shape codebook of %s is kept in %s", body.name, folder)
