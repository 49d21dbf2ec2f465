"""Reading the manifest as Arrow tables."""

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq

from avatar_core.errors import ManifestError
from avatar_core.manifest.latest import IDENTITY, ORDER, latest_rows
from avatar_core.manifest.layout import Current, data_files, open_manifest, read_current
from avatar_core.manifest.schema import SCHEMA, SCHEMA_VERSION
from avatar_core.storage.location import Location

logger = logging.getLogger(__name__)

_ATTEMPTS = 3
Where = Mapping[str, Collection[str] | None]
"""Which records are wanted: the values that count, by column (None: any)."""
_NEEDED = (*IDENTITY, *ORDER, "schema_version")


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
    wanted = [name for name in SCHEMA.names if name in {*names, *_NEEDED}]
    where = {"avatar_id": avatar_ids, "stage": stages}
    return latest_rows(read_records(library_url, wanted, where)).select(names)


def failed_avatars(library_url: str | os.PathLike[str]) -> list[str]:
    """Return the ids of the avatars of which any record says that a stage failed, also where that was mended since."""
    return sorted(set(read_records(library_url, ["avatar_id"], {"status": ["failed"]})["avatar_id"].to_pylist()))


def read_history(library_url: str | os.PathLike[str], avatar_id: str) -> pa.Table:
    """Return every record of one avatar that compaction has not dropped yet, the earliest first."""
    table = read_records(library_url, SCHEMA.names, {"avatar_id": [avatar_id]})
    return table.sort_by([(name, "ascending") for name in ORDER])


def read_records(
    library_url: str | os.PathLike[str],
    columns: Sequence[str],
    where: Where | None = None,
) -> pa.Table:
    """Return all records, in no order; some may appear twice (in a part and in a snapshot)."""
    return read_folder(open_manifest(library_url), columns, where).table


@dataclass(frozen=True)
class Reading:
    """What was read at one moment, and from which files."""

    current: Current
    names: tuple[str, ...]
    table: pa.Table


def read_folder(folder: Location, columns: Sequence[str], where: Where | None = None) -> Reading:
    """Return all records in a manifest's folder, starting over when a compaction drops a file meanwhile."""
    for attempts_left in reversed(range(_ATTEMPTS)):
        current = read_current(folder)
        names = data_files(folder, current)
        try:
            return Reading(current, tuple(names), scan(folder, names, columns, where))
        except FileNotFoundError as error:
            missing = error
            logger.debug("%s changed while it was read; %d attempts are left.", folder.url, attempts_left)
    raise ManifestError(
        f"{folder.url} lacks a file that it needs ({missing}): restore it from a backup, "
        "or delete _CURRENT.json to go on with what is there."
    ) from missing


def scan(
    folder: Location,
    names: Sequence[str],
    columns: Sequence[str],
    where: Where | None = None,
) -> pa.Table:
    """Return the records in the files `names`; raises FileNotFoundError, or ManifestError naming a bad
    file.
    """
    if not names:
        return SCHEMA.empty_table().select(columns)
    condition = None
    for column, values in (where or {}).items():
        if values is not None:
            among = pc.field(column).isin(pa.array(list(values), pa.string()))
            condition = among if condition is None else condition & among
    paths = [folder.full(name) for name in names]
    try:
        dataset = ds.dataset(paths, schema=SCHEMA, format="parquet", filesystem=_arrow_file_system(folder))
        table = dataset.to_table(columns=list(columns), filter=condition)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise _blame(folder, names, error) from error
    newest = pc.max(table["schema_version"]).as_py() if "schema_version" in columns else None
    if newest is not None and newest > SCHEMA_VERSION:
        raise ManifestError(
            f"{folder.url} was written by a newer version (schema {newest}, this one knows {SCHEMA_VERSION}): "
            "upgrade avatar-foundry."
        )
    return table


def _arrow_file_system(folder: Location) -> object:
    return pyarrow.fs.LocalFileSystem() if folder.is_local else folder.fs


def _blame(folder: Location, names: Sequence[str], error: Exception) -> ManifestError:
    """Return the error that names the damaged file among `names`."""
    for name in names:
        try:
            with folder.fs.open(folder.full(name), "rb") as file:
                pq.read_table(file)
        except (pa.ArrowException, OSError) as cause:
            return ManifestError(
                f"{folder.url}/{name} is damaged ({cause}): move it away. What only it recorded is "
                "recorded again by the next run, and finished artifacts are not computed again."
            )
    return ManifestError(f"{folder.url} cannot be read: {error}.")
