"""Leases: of all workers of a library at most one computes a key at a time, and a dead worker's key comes free.

A lease is a small file under `<library>/leases/` with a random token of its holder and a beat that its holder counts
up. Nothing rests on comparing the clocks of two hosts: whoever wants a lease that another holds watches the file, and
calls it dead when it has not changed for the holder's own time to live, by the watcher's monotonic clock; or at once
when the holder was a process of the same machine that has ended. A holder that could not renew for as long regards its
lease as lost before anyone else does.

On disks, and behind s3://, two workers never hold one lease. Behind other URLs they might when they take over one dead
lease within the settling time (`lease_files.RemoteSwapFiles`). Equal keys mean equal content, so that wastes work and
corrupts nothing.
"""

import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from types import TracebackType

from avatar_core.errors import ArtifactError
from avatar_core.storage.lease_files import Seen, swap_files
from avatar_core.storage.location import open_location
from avatar_core.storage.processes import Process, is_dead, this_process

logger = logging.getLogger(__name__)

LEASE_FOLDER = "leases"
LONGEST_TTL_SECONDS = 3600.0
"""No lease outlives its last renewal by more."""

_SUFFIX = ".json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9][A-Za-z0-9_-]*)*")
_LONGEST_NAME = 200
_SETTLE_SECONDS = 0.5


@dataclass(frozen=True)
class Holder:
    """Who holds a lease."""

    owner: str
    """As the holder calls itself."""
    host: str
    pid: int
    since: str
    """When it was acquired, in UTC by the holder's clock; for people only."""


class Lease:
    """The right to work on one name until it is released or lost; a context manager that releases it."""

    def __init__(self, store: "LeaseStore", name: str, record: "_Record", renewed: float) -> None:
        self.name = name
        self._store = store
        self._record = record
        self._renewed = renewed
        self._taken = False
        self._released = False
        self._changing = threading.Lock()

    @property
    def lost(self) -> bool:
        """Whether another worker may hold the name by now: its token was found, or no renewal came through in time."""
        if not self._taken and self._store._monotonic() - self._renewed >= self._record.ttl:
            self._taken = True
        return self._taken

    def release(self) -> None:
        """Free the name at once, unless the lease was lost; a place that cannot be written is logged."""
        with self._changing:
            if self._released:
                return
            self._released = True
            self._store._forget(self)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class LeaseStore:
    """The leases of one library, as one worker sees and holds them; safe to share between threads.

    A context manager that releases what it holds. One thread renews all of them.
    """

    def __init__(
        self,
        library_url: str,
        *,
        owner: str,
        ttl_seconds: float = 60.0,
        renew_seconds: float | None = None,
        settle_seconds: float = _SETTLE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the leases of the library at a local folder or fsspec URL, creating nothing.

        `owner` is what others are told about the holder. A lease expires `ttl_seconds` (at most an hour) after its last
        renewal; renewals come every `renew_seconds` (default: a third of that). `settle_seconds` is how long a place
        without conditional writes is given to show two writers each other. Raises ConfigError for a URL that cannot be
        used.
        """
        if not 0 < ttl_seconds <= LONGEST_TTL_SECONDS:
            raise ValueError(f"ttl_seconds is {ttl_seconds}: give more than 0 and at most {LONGEST_TTL_SECONDS:.0f}")
        folder = open_location(library_url).child(LEASE_FOLDER)
        self.url = folder.url
        self.owner = owner
        self._ttl = ttl_seconds
        self._renew_seconds = ttl_seconds / 3 if renew_seconds is None else renew_seconds
        self._monotonic = monotonic
        self._files = swap_files(folder, settle_seconds)
        self._guard = threading.Lock()
        self._held: dict[str, Lease] = {}
        self._watched: dict[str, tuple[bytes, float]] = {}
        self._renewer: threading.Thread | None = None
        self._closed = threading.Event()

    def acquire(self, name: str) -> Lease | None:
        """Return the lease of `name`, or None while anyone alive holds it, this store included.

        `name` is one or more `/`-separated words of letters, digits, `-` and `_`. A dead holder of another host is
        recognised only by calling again. Raises ArtifactError if the place cannot be written, ValueError for a name
        with other characters or a closed store.
        """
        if self._closed.is_set():
            raise ValueError("this LeaseStore is closed: nothing would renew the lease")
        path = _path(name)
        started = self._monotonic()
        record = _Record(
            uuid.uuid4().hex, 0, self._ttl, self.owner, datetime.now(UTC).isoformat(timespec="seconds"), this_process()
        )
        try:
            seen = self._files.read(path)
            if seen is not None and not self._is_dead(name, seen, started):
                return None
            started = self._monotonic()
            if not self._files.swap(path, record.encode(), seen):
                return None
        except OSError as error:
            raise ArtifactError(f"The lease of {name} cannot be taken in {self.url}: {error}.") from error
        if seen is not None:
            logger.info("Took over the lease of %s, whose holder is dead.", name)
        lease = Lease(self, name, record, started)
        with self._guard:
            self._held[name] = lease
            self._watched.pop(name, None)
            self._start_renewing()
        return lease

    def holder(self, name: str) -> Holder | None:
        """Return who holds `name`, or None if nobody alive does; raises as `acquire` does."""
        started = self._monotonic()
        try:
            seen = self._files.read(_path(name))
        except OSError as error:
            raise ArtifactError(f"The lease of {name} cannot be read in {self.url}: {error}.") from error
        if seen is None:
            with self._guard:
                self._watched.pop(name, None)
            return None
        if self._is_dead(name, seen, started):
            return None
        record = _Record.decode(seen.content)
        if record is None:
            return Holder("unknown", "unknown", 0, "unknown")
        return Holder(record.owner, record.process.host, record.process.pid, record.since)

    def renew(self) -> None:
        """Renew all leases that are held; the thread of this store calls it by itself."""
        with self._guard:
            held = list(self._held.values())
        for lease in held:
            self._renew(lease)

    def clear(self, name: str) -> None:
        """Delete the file of a lease that the caller knows to be dead; raises as `acquire` does."""
        path = _path(name)
        try:
            seen = self._files.read(path)
            if seen is not None:
                self._files.remove(path, seen)
        except OSError as error:
            raise ArtifactError(f"The lease of {name} cannot be deleted in {self.url}: {error}.") from error

    def close(self) -> None:
        """Release everything and end the thread."""
        self._closed.set()
        with self._guard:
            held, renewer = list(self._held.values()), self._renewer
        for lease in held:
            lease.release()
        if renewer is not None:
            renewer.join()

    def __enter__(self) -> "LeaseStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _start_renewing(self) -> None:
        if self._renewer is None and not self._closed.is_set():
            self._renewer = threading.Thread(target=self._keep_renewing, name="lease renewal", daemon=True)
            self._renewer.start()

    def _keep_renewing(self) -> None:
        while not self._closed.wait(self._renew_seconds):
            self.renew()

    def _renew(self, lease: Lease) -> None:
        with lease._changing:
            if lease._released or lease.lost:
                return
            path, started = _path(lease.name), self._monotonic()
            following = replace(lease._record, beat=lease._record.beat + 1)
            try:
                seen = self._files.read(path)
                ours = seen is not None and _token(seen) == lease._record.token
                if not ours or not self._files.swap(path, following.encode(), seen):
                    lease._taken = True
                    logger.warning("The lease of %s was lost to another worker.", lease.name)
                    return
            except OSError as error:
                logger.warning("The lease of %s could not be renewed: %s.", lease.name, error)
                return
            lease._record, lease._renewed = following, started

    def _forget(self, lease: Lease) -> None:
        with self._guard:
            if self._held.get(lease.name) is lease:
                del self._held[lease.name]
        path = _path(lease.name)
        try:
            seen = self._files.read(path)
            if seen is not None and _token(seen) == lease._record.token:
                self._files.remove(path, seen)
        except OSError as error:
            logger.warning("The lease of %s could not be released and will expire: %s.", lease.name, error)

    def _is_dead(self, name: str, seen: Seen, read_after: float) -> bool:
        """Return whether the holder of what was seen is gone, given a time shortly before it was read."""
        record = _Record.decode(seen.content)
        if record is not None and is_dead(record.process):
            return True
        with self._guard:
            content, since = self._watched.get(name, (None, 0.0))
            if content != seen.content:
                self._watched[name] = (seen.content, self._monotonic())
                return False
        return read_after - since >= (self._ttl if record is None else record.ttl)


@dataclass(frozen=True)
class _Record:
    """The content of a lease's file."""

    token: str
    beat: int
    ttl: float
    owner: str
    since: str
    process: Process

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> "_Record | None":
        """Return what `encode` wrote, or None for a file that is torn or not ours."""
        try:
            content = json.loads(data)
            process = content["process"]
            record = cls(
                str(content["token"]),
                int(content["beat"]),
                float(content["ttl"]),
                str(content["owner"]),
                str(content["since"]),
                Process(str(process["host"]), str(process["boot"]), int(process["pid"]), str(process["started"])),
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None
        return record if 0 < record.ttl <= LONGEST_TTL_SECONDS and 0 < record.process.pid < 2**31 else None


def _token(seen: Seen) -> str | None:
    record = _Record.decode(seen.content)
    return None if record is None else record.token


def _path(name: str) -> str:
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a lease: use words of letters, digits, - and _, with / between them")
    return f"{name}{_SUFFIX}"


def lease_name(path: str) -> str | None:
    """Return the name of the lease whose file is called `path` in the folder of leases; None for other files."""
    name = path.removesuffix(_SUFFIX)
    return name if name != path and _NAME.fullmatch(name) else None
