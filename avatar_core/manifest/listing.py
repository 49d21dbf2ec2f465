"""Which files a manifest has at one moment, though a folder is not read in one."""

import os
import time

from avatar_core.errors import ManifestError
from avatar_core.manifest.layout import compacted_time, is_part, part_order
from avatar_core.storage.location import Location

SETTLE_SECONDS = 0.02
"""Longer than the step of the clock by which a disk dates files."""


def list_files(folder: Location) -> list[str]:
    """Return the sorted names of a manifest's files such that none is left out which was there before another of them.

    While a folder is read, a file may appear where reading has passed, and a later one where it has not; an object
    store answers a thousand names at a time. So the folder is read twice. On a disk, what is newer than everything of
    the first time does not count: what is older than that was there before the second time. In an object store, whose
    dates are coarse, what is new the second time counts only if the first time had a later part of the same writer;
    there a part may be left out that was there before another writer's.

    Raises ManifestError.
    """
    try:
        if not folder.is_local:
            return _listed_in_turn(folder)
        newest = max(_dated(folder).values(), default=0)
        time.sleep(SETTLE_SECONDS)
        return sorted(name for name, written in _dated(folder).items() if written <= newest)
    except OSError as error:
        raise ManifestError(f"{folder.url} cannot be listed: {error}. Check access and try again.") from error


def _listed_in_turn(folder: Location) -> list[str]:
    first = folder.files()
    if not first:
        return []
    last: dict[str, int] = {}
    for writer, number in filter(None, map(part_order, first)):
        last[writer] = max(number, last.get(writer, number))

    def counts(name: str) -> bool:
        order = part_order(name)
        return name in first or (order is not None and order[1] < last.get(order[0], 0))

    return sorted(filter(counts, folder.files()))


def _dated(folder: Location) -> dict[str, int]:
    """Return when each part and each file of a compaction was written, in nanoseconds by the disk's clock."""
    found: dict[str, int] = {}
    try:
        entries = os.scandir(folder.path())
    except FileNotFoundError:
        return found
    with entries:
        for entry in entries:
            if is_part(entry.name) or compacted_time(entry.name) is not None:
                try:
                    found[entry.name] = entry.stat().st_mtime_ns
                except FileNotFoundError:  # deleted since it was listed
                    continue
    return found
