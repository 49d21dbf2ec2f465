"""Compaction: the latest records move into a few large files, and what they replace goes after a while."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from avatar_core.errors import ManifestError
from avatar_core.manifest.latest import latest_rows
from avatar_core.manifest.layout import (
    Current,
    open_manifest,
    snapshot_name,
    snapshot_time,
    write_current,
    write_table,
)
from avatar_core.manifest.reader import read_folder
from avatar_core.manifest.schema import SCHEMA
from avatar_core.storage.location import Location
from avatar_core.storage.paths import remove_stale

logger = logging.getLogger(__name__)

GRACE_SECONDS = 3600.0
ROWS_PER_FILE = 1_000_000


@dataclass(frozen=True)
class Compaction:
    """What a compaction did."""

    records: int
    """Records in the snapshots: one for each avatar and stage."""
    merged_files: int
    """Parts and earlier snapshots that the new snapshots replace."""
    deleted_files: int
    """Files deleted because something has replaced them for longer than the grace period."""


def compact(
    library_url: str | os.PathLike[str],
    *,
    grace_seconds: float = GRACE_SECONDS,
    minimum_parts: int = 1,
    rows_per_file: int = ROWS_PER_FILE,
) -> Compaction:
    """Merge the manifest's parts into snapshots that hold the latest record of each avatar and stage.

    Does nothing but delete old files while there are fewer than `minimum_parts` new parts. Writers and
    readers may be at work meanwhile, if none of them takes longer than `grace_seconds` over one reading; a
    second compaction at the same time wastes work and loses nothing. Memory holds all latest records.
    Raises ManifestError if a file is damaged or nothing can be written.
    """
    folder = open_manifest(library_url)
    reading = read_folder(folder, SCHEMA.names)
    parts = [name for name in reading.names if snapshot_time(name) is None]
    current, records, merged = reading.current, 0, 0
    try:
        if len(parts) >= max(minimum_parts, 1):
            table = latest_rows(reading.table).sort_by([("avatar_id", "ascending"), ("stage", "ascending")])
            current = _publish(folder, reading.current, parts, table, rows_per_file)
            records, merged = table.num_rows, len(reading.names)
        deleted = _delete_replaced(folder, current, grace_seconds)
    except OSError as error:
        raise ManifestError(f"{folder.url} cannot be compacted: {error}.") from error
    logger.info("Compacted %d files of %s to %d records.", merged, folder.url, records)
    return Compaction(records, merged, deleted)


def _publish(folder: Location, previous: Current, parts: list[str], table: pa.Table, rows_per_file: int) -> Current:
    """Write the snapshots, then the pointer to them, which makes them count."""
    snapshots = []
    for index, start in enumerate(range(0, table.num_rows, rows_per_file)):
        name = snapshot_name(datetime.now(UTC), index)
        write_table(folder, name, table.slice(start, rows_per_file))
        snapshots.append(name)
    existing = folder.files()
    covered = {name: since for name, since in (previous.covered or {}).items() if name in existing}
    covered.update(dict.fromkeys(parts, datetime.now(UTC)))
    current = Current(tuple(snapshots), covered)
    write_current(folder, current)
    return current


def _delete_replaced(folder: Location, current: Current, grace_seconds: float) -> int:
    """Delete the parts and snapshots that a pointer of long ago has replaced; return how many."""
    limit = datetime.now(UTC) - timedelta(seconds=grace_seconds)
    names = list(_replaced_before(folder, current, limit))
    for name in names:
        folder.remove(name)
    if folder.is_local:
        remove_stale(folder.path(), max(grace_seconds, GRACE_SECONDS))
    return len(names)


def _replaced_before(folder: Location, current: Current, limit: datetime) -> Iterator[str]:
    if current.covered is None:
        return
    for name in folder.files():
        made = snapshot_time(name)
        replaced = current.covered.get(name) if made is None else made
        if replaced is not None and replaced <= limit and name not in current.snapshots:
            yield name
