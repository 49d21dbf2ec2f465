"""One run at a time in a library: a lock that the operating system frees when its holder dies."""

import contextlib
import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass

from avatar_core.documents import read_json
from avatar_core.errors import AvatarError
from avatar_core.storage import open_location

LOCK_NAME = ".lock"


class LibraryBusyError(AvatarError):
    """Another run works in the library."""


@dataclass(frozen=True)
class Holder:
    """The run that holds a library."""

    pid: int
    host: str
    started: str
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.started}: {self.command}"


@contextlib.contextmanager
def library_lock(library: str, command: str) -> Iterator[None]:
    """Hold the library for the length of the block.

    A local library only: object stores have no locks, and the store itself is safe for several runs, which then only
    waste work. Raises LibraryBusyError, naming the holder, if another run has it.
    """
    location = open_location(library)
    if not location.is_local:
        yield
        return
    path = location.path(LOCK_NAME)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise AvatarError(
            f"The library {library} cannot be written ({error.strerror}); give a folder that you may write to."
        ) from error
    try:
        _lock(handle, library)
        holder = Holder(os.getpid(), platform.node(), time.strftime("%Y-%m-%d %H:%M:%S"), command)
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(holder.__dict__).encode(), 0)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, library: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _read_holder(handle)
        raise LibraryBusyError(
            f"Another run works in {library} ({holder or 'it has not said which'}). Wait until it ends, stop it with "
            f"Ctrl-C, or use another --library; what it finishes will not be computed again."
        ) from None


def running(library: str) -> Holder | None:
    """Return who holds the library now, or None; a lock file left by a run that died counts as None."""
    location = open_location(library)
    if not location.is_local or not location.path(LOCK_NAME).exists():
        return None
    try:
        handle = os.open(location.path(LOCK_NAME), os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(handle)
    else:
        return None
    finally:
        os.close(handle)


def _read_holder(handle: int) -> Holder | None:
    try:
        return Holder(**read_json(os.pread(handle, 4096, 0)))
    except (ValueError, TypeError):
        return None
