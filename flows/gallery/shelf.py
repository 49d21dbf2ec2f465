"""The library that a gallery shows: its avatars' states, kept in memory as the manifest has them by now."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait

from avatar_core.manifest import StatesFollower
from avatar_core.storage import Location, open_location
from flows.gallery.search import COLUMNS, Index

REFRESH_SECONDS = 2.0
"""How often, at most, it is looked whether the manifest has changed."""
PATIENCE_SECONDS = 0.3
"""How long a page waits for that; then it shows what was known before."""


class Shelf:
    """One library and the index of its avatars; for any number of threads."""

    def __init__(self, library: str) -> None:
        """Open a library; nothing is read yet. Raises ConfigError."""
        self.library = library
        self.location: Location = open_location(library)
        self._follower = StatesFollower(library, COLUMNS)
        self._index: Index | None = None
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="manifest")
        self._reading: Future[Index] | None = None
        self._begun = 0.0
        self._lock = threading.Lock()

    def index(self, *, fresh: bool = False) -> Index:
        """Return the index as of now, or as of before where there is one and reading takes long.

        `fresh` waits however long it takes, so that everything counts that was written before. Raises ManifestError
        for a manifest that cannot be read.
        """
        known = self._index
        reading = self._newest_reading(fresh)
        if known is not None and not fresh and not wait([reading], PATIENCE_SECONDS).done:
            return known
        return reading.result()

    def _newest_reading(self, fresh: bool) -> "Future[Index]":
        """Return the reading that began last, a new one where that is too long ago, or failed."""
        with self._lock:
            now = time.monotonic()
            last = self._reading
            due = last is None or (last.done() and (now - self._begun >= REFRESH_SECONDS or last.exception()))
            if last is None or due or fresh:
                last = self._reading = self._reader.submit(self._read)
                self._begun = now
            return last

    def _read(self) -> Index:
        if self._follower.refresh() or self._index is None:
            self._index = Index(self._follower.table)
        return self._index
