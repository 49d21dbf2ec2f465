"""The pointer to what the last compaction published: which files count, and which no longer do.

Every file is immutable, so whoever has read one version of the pointer has a consistent manifest. A version takes
the place of the one that its compaction began with or is dropped; on a local disk the comparison and the writing are
one step. An object store has no such step: two compactions that end within the same moment may both write. The files
of the loser are then read as if it had not run; that nothing was deleted on its word by then is up to the grace period.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from avatar_core.documents import read_json
from avatar_core.errors import ManifestError
from avatar_core.manifest.layout import TIME_FORMAT, compacted_time, parse_time
from avatar_core.storage.location import Location

CURRENT_NAME = "_CURRENT.json"

_LOCK_NAME = "_compaction.lock"
_FORMAT = 3
_FORMAT_WITHOUT_VERSIONS = 2
_FORMAT_WITHOUT_SLICES = 1


@dataclass(frozen=True)
class Total:
    """Sums over the latest records of a slice's avatars in one stage, with one status, on one device."""

    stage: str
    status: str
    device: str | None
    records: int
    seconds: float


@dataclass(frozen=True)
class Slice:
    """The compacted records of all avatars whose ids lie between `first` and the next slice's."""

    first: str
    """Lower bound of the ids; upper bound is the next slice's, exclusive."""
    snapshot: str
    """Name of the file of records."""
    states: str
    """Name of the file with one row for each avatar."""
    rows: int
    """Number of records."""
    totals: tuple[Total, ...] = ()
    states_version: int = 1
    """Which columns the file of states has; see `states.STATES_VERSION`."""


@dataclass(frozen=True)
class Current:
    """What the last compaction published."""

    slices: tuple[Slice, ...] = ()
    """In the order of their ids; the first one begins at the empty string."""
    unsliced: tuple[str, ...] = ()
    """Snapshots of a program that knew no slices."""
    covered: Mapping[str, datetime] | None = None
    """Files whose records are in the slices, with the time since which they are, by the clock of the compaction
    that put them there; None: no compaction yet.
    """
    content: bytes | None = None
    """The pointer as it was read; None: there is none."""

    @property
    def names(self) -> set[str]:
        """Names of all files that count."""
        return {*self.unsliced, *(name for piece in self.slices for name in (piece.snapshot, piece.states))}


def read_content(folder: Location) -> bytes | None:
    """Return the pointer's bytes, None if there is none; raises ManifestError if it cannot be read."""
    try:
        return folder.read(CURRENT_NAME)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ManifestError(f"{folder.url}/{CURRENT_NAME} cannot be read: {error}.") from error


def read_current(folder: Location) -> Current:
    """Return what the pointer says; raises ManifestError if it is damaged or too new."""
    content = read_content(folder)
    if content is None:
        return Current()
    try:
        return _parse(read_json(content), content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(
            f"{folder.url}/{CURRENT_NAME} is damaged ({error!r}): delete it. "
            "Nothing is lost, all snapshots and parts are then read."
        ) from error


def publish(folder: Location, previous: Current, current: Current, new_files: list[str]) -> bool:
    """Let `current` take the place of `previous`; return whether it did.

    It does not if another compaction was quicker, or took one of `new_files` for left behind. Raises OSError.

    A write may fail, or be interrupted, although it took effect: an answer is lost, a signal comes. So `new_files` is
    emptied before the pointer is written: from then on they may be what the manifest consists of, and nobody may
    delete them for not being needed. It is filled again where the old pointer is seen to be in force still; an object
    store may carry out a write after it was given up, so there it never is.
    """
    with exclusive(folder):
        if read_content(folder) != previous.content or not folder.files().keys() >= set(new_files):
            return False
        content, names = _dump(current), list(new_files)
        new_files.clear()
        try:
            folder.write(CURRENT_NAME, content)
        except OSError:
            if folder.is_local and read_content(folder) == previous.content:
                new_files.extend(names)
            raise
    return True


@contextlib.contextmanager
def exclusive(folder: Location) -> Iterator[None]:
    """Hold other compactions off the pointer for the length of the block, on a local disk; raises OSError."""
    if not folder.is_local or os.name == "nt":
        yield
        return
    import fcntl

    folder.path().mkdir(parents=True, exist_ok=True)
    handle = os.open(folder.path(_LOCK_NAME), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _parse(data: Mapping[str, Any], content: bytes) -> Current:
    if isinstance(data["format"], int) and data["format"] > _FORMAT:
        raise ManifestError(
            f"{CURRENT_NAME} was written by a newer version (format {data['format']}, this one knows {_FORMAT}): "
            "upgrade avatar-foundry."
        )
    covered = {name: parse_time(since) for name, since in data["covered"].items()}
    if data["format"] == _FORMAT_WITHOUT_SLICES:
        current = Current((), tuple(data["snapshots"]), covered, content)
    elif data["format"] in (_FORMAT, _FORMAT_WITHOUT_VERSIONS):
        current = Current(tuple(_parse_slice(item) for item in data["slices"]), (), covered, content)
    else:
        raise ValueError(f"format {data['format']!r} is unknown")
    for name in current.names:
        if compacted_time(name) is None:
            raise ValueError(f"{name!r} is no file of a compaction")
    slices = current.slices
    if slices and (slices[0].first != "" or any(a.first >= b.first for a, b in pairwise(slices))):
        raise ValueError("its slices are out of order")
    return current


def _parse_slice(item: Mapping[str, Any]) -> Slice:
    return Slice(**{**item, "totals": tuple(Total(*values) for values in item["totals"])})


def _dump(current: Current) -> bytes:
    covered = current.covered or {}
    slices = [
        {**asdict(item), "totals": [list(asdict(total).values()) for total in item.totals]} for item in current.slices
    ]
    data = {
        "format": _FORMAT,
        "slices": slices,
        "covered": {name: since.strftime(TIME_FORMAT) for name, since in sorted(covered.items())},
    }
    return json.dumps(data, indent=1).encode()
