"""Garbage collection: what no manifest refers to leaves the library, once it is old enough to be nobody's work."""

import functools
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Literal

from avatar_core.errors import ArtifactError
from avatar_core.storage.cache import STALE_SECONDS
from avatar_core.storage.leases import LEASE_FOLDER, LONGEST_TTL_SECONDS, LeaseStore, lease_name
from avatar_core.storage.location import Location, StoredFile
from avatar_core.storage.paths import remove_entry, stale_entries, temp_name
from avatar_core.storage.refs import MARKER_NAME, check_names
from avatar_core.storage.store import STORE_FOLDER, ArtifactStore

logger = logging.getLogger(__name__)

Kind = Literal["artifact", "checkpoint", "unfinished", "lease"]

GRACE_HOURS = 24.0
"""What is younger than this stays, where nothing else is said: a run may be about to record it."""

_CHECKPOINTS = f"{STORE_FOLDER}/_checkpoints"
_WITH_TEMPORARIES = (f"{STORE_FOLDER}/_tmp", LEASE_FOLDER, "avatars")
"""Local folders in which killed processes leave temporary files."""


@dataclass(frozen=True)
class Discarded:
    """One thing that was deleted, or that a dry run would delete."""

    kind: Kind
    uri: str
    """Relative to the library, `/`-separated."""
    bytes: int
    """Size of its files; what is delivered by hard link keeps its space on the disk."""


@dataclass(frozen=True)
class Garbage:
    """What a collection deleted, or a dry run would delete."""

    items: tuple[Discarded, ...]

    @property
    def counts(self) -> Mapping[Kind, int]:
        """Number of things by kind."""
        return Counter(item.kind for item in self.items)

    @property
    def bytes(self) -> Mapping[Kind, int]:
        """Bytes by kind."""
        sizes: Counter[Kind] = Counter()
        for item in self.items:
            sizes[item.kind] += item.bytes
        return sizes

    @property
    def uris(self) -> tuple[str, ...]:
        """The things' places, relative to the library."""
        return tuple(item.uri for item in self.items)


def collect_garbage(
    library_url: str,
    *,
    referenced: Collection[tuple[str, str]],
    grace_seconds: float,
    dry_run: bool,
    progress: Callable[[Discarded], None] | None = None,
) -> Garbage:
    """Delete what nobody needs from a library, while workers may be busy in it; `progress` sees each thing go.

    These go:
    - artifacts whose (stage, key) is not in `referenced`, last written at least `grace_seconds` ago;
    - checkpoints as old, of results that exist or that are not in `referenced`;
    - temporary files and uploads of killed processes, a day old or as old as the grace period if that is longer;
    - leases of dead holders.

    Ages go by the clock of the place that stores the files, which a small file that is written and deleted again
    tells, so that a wrong clock on this machine deletes nothing. A key is deleted under its lease, and kept while
    somebody holds that. `grace_seconds` must exceed the time from an artifact's publication to its row in the
    manifest; a worker that holds no lease and finds an old unreferenced artifact at the very time of the collection
    computes it again. Links are neither followed nor deleted. Abandoned uploads beside a referenced artifact of an
    object store are left to its next publication.

    Raises ArtifactError if the library cannot be read or written; another collection goes on from there.
    """
    if grace_seconds < 0:
        raise ValueError(f"grace_seconds is {grace_seconds}: it cannot be negative")
    store = ArtifactStore(library_url)
    keep = referenced if isinstance(referenced, Set) else frozenset(referenced)
    items = []
    with LeaseStore(library_url, owner="garbage collection") as leases:
        try:
            if not store.library.folders():
                return Garbage(())
            collector = _Collector(store, leases, keep, _place_time(store.library), grace_seconds, dry_run)
            for item in collector.collect():
                items.append(item)
                if progress is not None:
                    progress(item)
        except OSError as error:
            raise ArtifactError(f"The garbage of {store.library.url} cannot be collected: {error}.") from error
    garbage = Garbage(tuple(items))
    logger.info("%s %s from %s.", "Would delete" if dry_run else "Deleted", dict(garbage.counts), store.library.url)
    return garbage


class _Collector:
    def __init__(
        self,
        store: ArtifactStore,
        leases: LeaseStore,
        keep: Set[tuple[str, str]],
        now: float,
        grace_seconds: float,
        dry_run: bool,
    ) -> None:
        self._store = store
        self._library = store.library
        self._leases = leases
        self._keep = keep
        self._old = now - grace_seconds
        self._stale = now - max(grace_seconds, STALE_SECONDS)
        self._expired = now - max(grace_seconds, LONGEST_TTL_SECONDS)
        self._dry_run = dry_run
        self._dead: set[str] = set()

    def collect(self) -> Iterator[Discarded]:
        """Yield what goes, after it went; dead leases first, since they would protect what they name."""
        top = self._library.folders()
        if LEASE_FOLDER in top:
            yield from self._dead_leases()
        if STORE_FOLDER in top:
            if "_checkpoints" in self._library.folders(STORE_FOLDER):
                yield from self._checkpoints()
            yield from self._artifacts()
        if self._library.is_local:
            yield from self._temporaries()

    def _dead_leases(self) -> Iterator[Discarded]:
        for path, file in self._library.tree(LEASE_FOLDER).items():
            name = lease_name(path)
            if name is None or (file.modified >= self._expired and self._leases.holder(name) is not None):
                continue
            self._dead.add(name)
            if not self._dry_run:
                self._leases.clear(name)
            yield Discarded("lease", f"{LEASE_FOLDER}/{path}", file.bytes)

    def _checkpoints(self) -> Iterator[Discarded]:
        for stage, key in self._keys(_CHECKPOINTS):
            if (stage, key) in self._keep and not self._exists(stage, key):
                continue  # of a result that is still wanted: its computation goes on from there
            uri = f"{_CHECKPOINTS}/{stage}/{key}"
            remove = functools.partial(self._library.remove_folder, uri)
            yield from self._discard("checkpoint", stage, key, uri, remove)

    def _artifacts(self) -> Iterator[Discarded]:
        for stage, key in self._keys(STORE_FOLDER):
            if (stage, key) in self._keep:
                continue
            # Without a marker a local folder is a damaged artifact, one in an object store an upload that may go on.
            whole = self._library.is_local or self._exists(stage, key)
            remove = functools.partial(self._store.remove, stage, key)
            uri = f"{STORE_FOLDER}/{stage}/{key}"
            yield from self._discard("artifact" if whole else "unfinished", stage, key, uri, remove)

    def _temporaries(self) -> Iterator[Discarded]:
        for folder in _WITH_TEMPORARIES:
            if not self._is_inside(folder):
                continue
            for entry in stale_entries(self._library.path(folder), self._stale):
                size = self._bytes(f"{folder}/{entry.name}")
                if not self._dry_run:
                    remove_entry(entry)
                yield Discarded("unfinished", f"{folder}/{entry.name}", size)

    def _discard(
        self, kind: Kind, stage: str, key: str, uri: str, remove: Callable[[], None]
    ) -> Iterator[Discarded]:
        """Yield the folder `uri` if it is old and nobody holds its key, removed under the key's lease."""
        limit = self._stale if kind == "unfinished" else self._old
        name = f"{stage}/{key}"
        files = self._library.tree(uri)
        if not _all_before(files, limit):
            return
        if self._dry_run:
            if name in self._dead or self._leases.holder(name) is None:
                yield Discarded(kind, uri, _total(files))
            return
        lease = self._leases.acquire(name)
        if lease is None:
            return
        with lease:
            files = self._library.tree(uri)
            if False:  # published again before the lease was ours
                return
            remove()
        yield Discarded(kind, uri, _total(files))

    def _keys(self, folder: str) -> Iterator[tuple[str, str]]:
        """Yield the stages and keys that have a folder below `folder`; other names are not the store's to delete."""
        for stage in self._library.folders(folder):
            if stage.startswith("_"):
                continue
            for key in self._library.folders(f"{folder}/{stage}"):
                if _are_names(stage, key):
                    yield stage, key

    def _exists(self, stage: str, key: str) -> bool:
        return self._library.size(f"{STORE_FOLDER}/{stage}/{key}/{MARKER_NAME}") is not None

    def _bytes(self, uri: str) -> int:
        path = self._library.path(uri)
        return _total(self._library.tree(uri)) if path.is_dir() else self._library.size(uri) or 0

    def _is_inside(self, folder: str) -> bool:
        """Return whether a local folder exists and is reached without following a link."""
        path = self._library.path(folder)
        return path.is_dir() and path.resolve() == self._library.path().resolve() / folder


def _place_time(library: Location) -> float:
    """Return the time by the clock of the place, in seconds since the epoch."""
    name = f"{STORE_FOLDER}/_tmp/{temp_name()}"
    library.write(name, b"what time is it?")
    try:
        time = library.modified(name)
    finally:
        library.remove(name)
    if time is None:
        raise ArtifactError(f"{library.url} does not keep what is written to it: {name} vanished.")
    return time


def _all_before(files: Mapping[str, StoredFile], limit: float) -> bool:
    """Return whether there are files, and all of them, an artifact's marker included, were last written by `limit`."""
    return bool(files) and all(file.modified <= limit for file in files.values())


def _total(files: Mapping[str, StoredFile]) -> int:
    return sum(file.bytes for file in files.values())


def _are_names(stage: str, key: str) -> bool:
    try:
        check_names(stage, key)
    except ArtifactError:
        return False
    return True
