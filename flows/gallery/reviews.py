"""What a reviewer says of an avatar, as records of the manifest."""

import logging
import threading
import uuid

from avatar_core.errors import AvatarError, CatalogError
from avatar_core.manifest import WITHDRAWN, ManifestRecord, ManifestWriter, compact
from flows.gallery.shelf import Shelf

logger = logging.getLogger(__name__)

COMPACT_AT_PARTS = 200
"""Each review is a part of its own: so many of them are merged."""


class ReviewError(AvatarError):
    """A review of what is not there to be reviewed, or not any more."""


class Reviews:
    """Writes reviews; for any number of threads."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._run_id = f"gallery-{uuid.uuid4().hex[:12]}"
        self._written = 0
        self._lock = threading.Lock()

    def give(self, avatar_id: str, status: str, key: str | None) -> str | None:
        """Record a review of the result with `key`, None for an avatar without one; return the review in force.

        Raises CatalogError for an unknown avatar, ReviewError where it was made again since the reviewer looked or has
        nothing to look at, and ManifestError for what is no review or cannot be written.
        """
        index = self._shelf.index(fresh=True)
        row = index.row_of(avatar_id)
        if row is None:
            raise CatalogError(f"The library has no avatar {avatar_id!r}.")
        (avatar,) = index.read([row])
        if avatar["key"] != key:
            raise ReviewError(f"{avatar_id} was made again since you opened it: look at it once more.")
        if key is None and not (avatar["state"] == "failed" and status in ("requested", WITHDRAWN)):
            raise ReviewError(f"{avatar_id} has no result yet that could be {status}.")
        record = ManifestRecord.review(avatar_id, status, key)
        with ManifestWriter(self._shelf.library, self._run_id) as writer:
            writer.append(record)
        with self._lock:
            self._written += 1
        index = self._shelf.index(fresh=True)
        row = index.row_of(avatar_id)
        return None if row is None else index.read([row])[0]["review"]

    def tidy(self) -> None:
        """Compact the manifest once this process has written COMPACT_AT_PARTS reviews; what fails waits for another."""
        with self._lock:
            if self._written < COMPACT_AT_PARTS:
                return
            self._written = 0
        try:
            compact(self._shelf.library, minimum_parts=COMPACT_AT_PARTS)
        except AvatarError as error:
            logger.warning("The manifest was not compacted: %s", error)
