"""Reading records of the manifest as Arrow tables."""

import os
from collections.abc import Collection, Sequence

import pyarrow as pa

from avatar_core.manifest.latest import IDENTITY, ORDER, distinct_rows, latest_rows
from avatar_core.manifest.schema import SCHEMA
from avatar_core.manifest.view import id_array, reading

NEEDED = (*IDENTITY, *ORDER, "schema_version")
"""Columns without which the latest records cannot be told."""


def read_latest(
    library_url: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    avatar_ids: Collection[str] | None = None,
    stages: Collection[str] | None = None,
) -> pa.Table:
    """Return the latest record of each (avatar_id, stage): of all avatars and stages, or of some.

    `columns` limits what is read (default: all of SCHEMA; millions of rows need it). A library without a
    manifest gives an empty table. Raises ManifestError if a file is damaged or too new, ConfigError for a
    library location that cannot be used.
    """
    names = list(columns) if columns is not None else SCHEMA.names
    wanted = with_needed(names)
    table = reading(library_url, lambda view: view.records(wanted, id_array(avatar_ids), stages))
    return latest_rows(table).select(names)


def read_history(library_url: str | os.PathLike[str], avatar_id: str) -> pa.Table:
    """Return every record of one avatar that compaction has not dropped, the earliest first.

    Compaction keeps at least the last record of each stage and key, hence every seed that was ever tried, and the
    last attempt at each key, whose `attempt` says how many there were.
    """
    table = reading(library_url, lambda view: view.records(SCHEMA.names, id_array([avatar_id])))
    return distinct_rows(table).sort_by([(name, "ascending") for name in ORDER])


def with_needed(columns: Collection[str]) -> list[str]:
    """Return `columns` and NEEDED in the schema's order."""
    return [name for name in SCHEMA.names if name in {*columns, *NEEDED}]
