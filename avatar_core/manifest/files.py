"""Reading some of a manifest's files as one Arrow table."""

from collections.abc import Sequence
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq

from avatar_core.errors import ManifestError
from avatar_core.manifest.schema import SCHEMA, SCHEMA_VERSION
from avatar_core.storage.location import Location


class Files:
    """Some files of one schema, whose footers are read once however often they are queried."""

    def __init__(self, folder: Location, names: Sequence[str], schema: pa.Schema = SCHEMA) -> None:
        """Name the files; nothing is read yet. Columns of `schema` that a file lacks read as nulls."""
        self._folder = folder
        self._names = tuple(names)
        self._schema = schema

    def table(self, columns: Sequence[str], condition: pc.Expression | None = None) -> pa.Table:
        """Return the rows that meet `condition`; raises FileNotFoundError, or ManifestError naming a bad file.

        Records of a newer schema are refused if `columns` include `schema_version`.
        """
        if not self._names:
            return self._schema.empty_table().select(list(columns))
        try:
            table = self._dataset.to_table(columns=list(columns), filter=condition)
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise self._blame(error) from error
        newest = pc.max(table["schema_version"]).as_py() if "schema_version" in columns else None
        if newest is not None and newest > SCHEMA_VERSION:
            raise ManifestError(
                f"{self._folder.url} was written by a newer version (schema {newest}, this one knows "
                f"{SCHEMA_VERSION}): upgrade avatar-foundry."
            )
        return table

    @cached_property
    def _dataset(self) -> ds.Dataset:
        paths = [self._folder.full(name) for name in self._names]
        system = pyarrow.fs.LocalFileSystem() if self._folder.is_local else self._folder.fs
        return ds.dataset(paths, schema=self._schema, format="parquet", filesystem=system)

    def _blame(self, error: Exception) -> ManifestError:
        """Return the error that names the damaged file; raises FileNotFoundError if one has gone meanwhile."""
        for name in self._names:
            try:
                with self._folder.fs.open(self._folder.full(name), "rb") as file:
                    pq.read_table(file)
            except FileNotFoundError:
                raise
            except pa.ArrowException as cause:
                return ManifestError(
                    f"{self._folder.url}/{name} is damaged ({cause}): move it away. What only it recorded is "
                    "recorded again by the next run, and finished artifacts are not computed again."
                )
            except OSError as cause:
                return ManifestError(f"{self._folder.url}/{name} cannot be read: {cause}. Check access and try again.")
        return ManifestError(f"{self._folder.url} cannot be read: {error}. Check access and try again.")


def among(avatar_ids: pa.Array) -> pc.Expression:
    """Return the condition that a row is of one of `avatar_ids`; lets files skip what lies outside of their range."""
    condition = pc.field("avatar_id").isin(avatar_ids)
    if len(avatar_ids) == 0:
        return condition
    bounds = pc.min_max(avatar_ids)
    return condition & (pc.field("avatar_id") >= bounds["min"]) & (pc.field("avatar_id") <= bounds["max"])
