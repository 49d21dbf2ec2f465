"""Files that change only while they are what the caller saw last: compare and swap, on disks and object stores."""

import contextlib
import fcntl
import inspect
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from avatar_core.storage.failures import is_lost_race
from avatar_core.storage.location import Location
from avatar_core.storage.paths import temp_name

_MUTEX = "_mutex"


@dataclass(frozen=True)
class Seen:
    """What a file held when it was read."""

    content: bytes
    version: str = ""
    """The place's own name of that content, where it has one."""


class SwapFiles(Protocol):
    """Small files by `/`-separated relative names."""

    def read(self, name: str) -> Seen | None:
        """Return what a file holds, or None if there is none."""

    def swap(self, name: str, data: bytes, seen: Seen | None) -> bool:
        """Write `data` if the file still is what was seen (None: absent); return whether it did."""

    def remove(self, name: str, seen: Seen) -> None:
        """Delete the file if it still is what was seen."""


def swap_files(
    folder: Location, settle_seconds: float, sleep: Callable[[float], None] = time.sleep
) -> "LocalSwapFiles | RemoteSwapFiles":
    """Return the files of a folder; `settle_seconds` is for places without conditional writes."""
    return LocalSwapFiles(folder) if folder.is_local else RemoteSwapFiles(folder, settle_seconds, sleep)


class LocalSwapFiles:
    """On a local or network disk: every change is made under a lock that the system frees when its holder dies.

    The disk must support `flock`, as local ones and NFS do; others raise OSError. Readers take no lock, since files are
    replaced by renaming. Nothing is forced to the disk: leases need not outlive a power cut.
    """

    def __init__(self, folder: Location) -> None:
        self._folder = folder

    def read(self, name: str) -> Seen | None:
        """Return what a file holds, or None if there is none."""
        try:
            return Seen(self._folder.read(name))
        except FileNotFoundError:
            return None

    def swap(self, name: str, data: bytes, seen: Seen | None) -> bool:
        """Write `data` if the file still is what was seen (None: absent); return whether it did."""
        with self._locked():
            if self.read(name) != seen:
                return False
            temporary, target = self._folder.path(temp_name()), self._folder.path(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(data)
                os.replace(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)
            return True

    def remove(self, name: str, seen: Seen) -> None:
        """Delete the file if it still is what was seen."""
        with self._locked():
            if self.read(name) == seen:
                self._folder.remove(name)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.path().mkdir(parents=True, exist_ok=True)
        handle = os.open(self._folder.path(_MUTEX), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


class RemoteSwapFiles:
    """Behind a URL: conditional writes where the file system has them, else the best that can be done.

    s3:// has both kinds (If-None-Match, If-Match). A file system whose `pipe_file` takes a mode creates exclusively,
    but replaces without a condition. Where a condition is missing the file is read before the write, and again a
    settling time after it; two callers that overlap there can both believe that they wrote.
    """

    def __init__(self, folder: Location, settle_seconds: float, sleep: Callable[[float], None]) -> None:
        self._folder = folder
        self._settle_seconds = settle_seconds
        self._sleep = sleep
        put = getattr(folder.fs, "_pipe_file", None) or folder.fs.pipe_file
        self._creates = "mode" in inspect.signature(put).parameters
        protocol = folder.fs.protocol
        self._matches = "s3" in ((protocol,) if isinstance(protocol, str) else protocol)

    def read(self, name: str) -> Seen | None:
        """Return what a file holds, or None if there is none."""
        try:
            # The version first: should the file change before it is read, then a swap fails, which is safe.
            version = self._version(name) if self._matches else ""
            return Seen(self._folder.read(name), version)
        except FileNotFoundError:
            return None

    def swap(self, name: str, data: bytes, seen: Seen | None) -> bool:
        """Write `data` if the file still is what was seen (None: absent); return whether it did."""
        condition = self._condition(seen)
        if condition is None:
            return self._swap_unconditionally(name, data, seen)
        try:
            self._folder.put(name, data, **condition)
        except OSError as error:
            if not is_lost_race(error) and not isinstance(error, FileNotFoundError):
                raise
            # A first attempt whose answer was lost may be what came in the way of its own repetition.
            return self._holds(name, data)
        return True

    def remove(self, name: str, seen: Seen) -> None:
        """Delete the file if it still is what was seen; another's write between the two goes unnoticed."""
        if self._holds(name, seen.content):
            self._folder.remove(name)

    def _condition(self, seen: Seen | None) -> dict[str, Any] | None:
        if seen is None:
            return {"mode": "create"} if self._creates else None
        return {"IfMatch": seen.version} if self._matches else None

    def _swap_unconditionally(self, name: str, data: bytes, seen: Seen | None) -> bool:
        if self.read(name) != seen:
            return False
        self._folder.write(name, data)
        self._sleep(self._settle_seconds)
        return self._holds(name, data)

    def _version(self, name: str) -> str:
        full = self._folder.full(name)
        self._folder.fs.invalidate_cache(full)
        return str(self._folder.remotely(self._folder.fs.info, full)["ETag"])

    def _holds(self, name: str, data: bytes) -> bool:
        seen = self.read(name)
        return seen is not None and seen.content == data
