"""The files of a manifest: immutable Parquet parts by writers, snapshots and states by compactions."""

import os
import re
import uuid
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from avatar_core.manifest.schema import SCHEMA
from avatar_core.storage.location import Location, open_location
from avatar_core.storage.paths import atomic_file

MANIFEST_FOLDER = "manifest"
SNAPSHOT, STATES = "snapshot", "states"
"""What a compaction writes: the records of a range of avatars, and the state of each of these avatars."""

TIME_FORMAT = "%Y%m%dT%H%M%S.%fZ"

_PART = re.compile(r"part-.+-[0-9a-f]{32}\.parquet")
_NUMBERED_PART = re.compile(r"part-.+-([0-9a-f]{32})-(\d{8,})-[0-9a-f]{32}\.parquet")
_COMPACTED = re.compile(rf"({SNAPSHOT}|{STATES})-(\d{{8}}T\d{{6}}\.\d{{6}}Z)-\d{{5}}-[0-9a-f]{{32}}\.parquet")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.]+")
_ROWS_PER_GROUP = 16_384
"""Few, so that looking one avatar up decodes little."""


def open_manifest(library_url: str | os.PathLike[str]) -> Location:
    """Return the manifest's folder in the library at a local folder or fsspec URL; raises ConfigError."""
    return open_location(library_url).child(MANIFEST_FOLDER)


def part_name(run_id: str, writer: str, number: int) -> str:
    """Return a unique name for a part of the run, by a writer (32 hexadecimal digits) who gave it this number.

    Unique by itself too: a process that was forked has its parent's writer and goes on with the same numbers.
    """
    return f"part-{_UNSAFE.sub('_', run_id)[:60]}-{writer}-{number:08d}-{uuid.uuid4().hex}.parquet"


def part_order(name: str) -> tuple[str, int] | None:
    """Return the writer of a part and its number among that writer's; None for other files and older programs'."""
    match = _NUMBERED_PART.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def is_part(name: str) -> bool:
    """Whether `name` is that of a writer's part."""
    return _PART.fullmatch(name) is not None


def compacted_name(kind: str, moment: datetime, index: int) -> str:
    """Return a unique name for file `index` of a compaction, of kind SNAPSHOT or STATES, telling when it was made."""
    return f"{kind}-{moment.strftime(TIME_FORMAT)}-{index:05d}-{uuid.uuid4().hex}.parquet"


def is_snapshot(name: str) -> bool:
    """Whether `name` is that of a file of records that a compaction wrote."""
    return _COMPACTED.fullmatch(name) is not None and name.startswith(SNAPSHOT)


def compacted_time(name: str) -> datetime | None:
    """Return when a compaction made a file, by its own clock, or None if none made it."""
    match = _COMPACTED.fullmatch(name)
    return parse_time(match[2]) if match else None


def parse_time(text: str) -> datetime:
    """Return the moment that TIME_FORMAT wrote; raises ValueError."""
    return datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC)


def write_table(folder: Location, name: str, table: pa.Table, schema: pa.Schema = SCHEMA) -> None:
    """Write a table as one Parquet file that appears whole or not at all; raises OSError."""
    if folder.is_local:
        with atomic_file(folder.path(name)) as file:
            _write(table.cast(schema), file)
        return
    buffer = pa.BufferOutputStream()
    _write(table.cast(schema), buffer)
    folder.write(name, buffer.getvalue().to_pybytes())


def _write(table: pa.Table, sink: object) -> None:
    pq.write_table(table, sink, compression="zstd", row_group_size=_ROWS_PER_GROUP)
