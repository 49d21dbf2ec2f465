"""The files of a manifest: immutable Parquet parts and snapshots, and the pointer to the current
snapshots.
"""

import json
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from avatar_core.errors import ManifestError
from avatar_core.manifest.schema import SCHEMA
from avatar_core.storage.location import Location, open_location
from avatar_core.storage.paths import atomic_file

MANIFEST_FOLDER = "manifest"
CURRENT_NAME = "_CURRENT.json"

_FORMAT = 1
_TIME_FORMAT = "%Y%m%dT%H%M%S.%fZ"
_PART = re.compile(r"part-.+-[0-9a-f]{32}\.parquet")
_SNAPSHOT = re.compile(r"snapshot-(\d{8}T\d{6}\.\d{6}Z)-\d{5}-[0-9a-f]{32}\.parquet")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.]+")
_ROWS_PER_GROUP = 65_536


@dataclass(frozen=True)
class Current:
    """What the last compaction published."""

    snapshots: tuple[str, ...] = ()
    """Names of the files that hold the latest records of everything covered."""
    covered: Mapping[str, datetime] | None = None
    """Parts whose records are in the snapshots, with the time since which they are; None: no compaction
    yet.
    """


def open_manifest(library_url: str | os.PathLike[str]) -> Location:
    """Return the manifest's folder in the library at a local folder or fsspec URL; raises ConfigError."""
    return open_location(library_url).child(MANIFEST_FOLDER)


def part_name(run_id: str) -> str:
    """Return a unique name for a part of the run."""
    return f"part-{_UNSAFE.sub('_', run_id)[:60]}-{uuid.uuid4().hex}.parquet"


def snapshot_name(moment: datetime, index: int) -> str:
    """Return a unique name for a snapshot's file `index`, which tells when it was made."""
    return f"snapshot-{moment.strftime(_TIME_FORMAT)}-{index:05d}-{uuid.uuid4().hex}.parquet"


def snapshot_time(name: str) -> datetime | None:
    """Return when a snapshot file was made, or None if `name` is none."""
    match = _SNAPSHOT.fullmatch(name)
    return _parse_time(match[1]) if match else None


def write_table(folder: Location, name: str, table: pa.Table) -> None:
    """Write a table of SCHEMA as one Parquet file that appears whole or not at all; raises OSError."""
    if folder.is_local:
        with atomic_file(folder.path(name)) as file:
            _write(table, file)
        return
    buffer = pa.BufferOutputStream()
    _write(table, buffer)
    folder.write(name, buffer.getvalue().to_pybytes())


def data_files(folder: Location, current: Current) -> list[str]:
    """Return the names of the files to read: the current snapshots and the parts that they do not cover.

    Without a pointer (lost, or never made) all snapshots are read: old ones repeat what newer ones hold.
    """
    names = sorted(folder.files())
    parts = [name for name in names if _PART.fullmatch(name)]
    if current.covered is None:
        return [*(name for name in names if snapshot_time(name)), *parts]
    return [*current.snapshots, *(name for name in parts if name not in current.covered)]


def read_current(folder: Location) -> Current:
    """Return what the pointer says; raises ManifestError if it is damaged."""
    try:
        content = json.loads(folder.read(CURRENT_NAME))
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']!r} is not {_FORMAT}")
        covered = {name: _parse_time(since) for name, since in content["covered"].items()}
        return Current(tuple(content["snapshots"]), covered)
    except FileNotFoundError:
        return Current()
    except OSError as error:
        raise ManifestError(f"{folder.url}/{CURRENT_NAME} cannot be read: {error}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(
            f"{folder.url}/{CURRENT_NAME} is damaged ({error}): delete it. "
            "Nothing is lost, all snapshots and parts are then read."
        ) from error


def write_current(folder: Location, current: Current) -> None:
    """Publish snapshots; raises OSError."""
    covered = current.covered or {}
    content = {
        "format": _FORMAT,
        "snapshots": list(current.snapshots),
        "covered": {name: since.strftime(_TIME_FORMAT) for name, since in sorted(covered.items())},
    }
    folder.write(CURRENT_NAME, json.dumps(content, indent=1).encode())


def _write(table: pa.Table, sink: object) -> None:
    pq.write_table(table.cast(SCHEMA), sink, compression="zstd", row_group_size=_ROWS_PER_GROUP)


def _parse_time(text: str) -> datetime:
    return datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=UTC)
