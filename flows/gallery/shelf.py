"""The library that a gallery shows: its avatars' states, kept in memory as the manifest has them by now."""

import threading
import time

from avatar_core.manifest import StatesFollower
from avatar_core.storage import Location, open_location
from flows.gallery.search import COLUMNS, Index

REFRESH_SECONDS = 2.0
"""How often, at most, it is looked whether the manifest has changed."""


class Shelf:
    """One library and the index of its avatars; for any number of threads."""

    def __init__(self, library: str) -> None:
        """Open a library; nothing is read yet. Raises ConfigError."""
        self.library = library
        self.location: Location = open_location(library)
        self._follower = StatesFollower(library, COLUMNS)
        self._index = Index(self._follower.table)
        self._looked: float | None = None
        self._lock = threading.Lock()

    def index(self, *, fresh: bool = False) -> Index:
        """Return the index as of at most REFRESH_SECONDS ago, or as of now.

        Raises ManifestError for a manifest that cannot be read.
        """
        with self._lock:
            now = time.monotonic()
            if fresh or self._looked is None or now - self._looked >= REFRESH_SECONDS:
                if self._follower.refresh():
                    self._index = Index(self._follower.table)
                self._looked = time.monotonic()
            return self._index
