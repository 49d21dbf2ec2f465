"""A consistent view of a manifest while writers and compactions are at work."""

import bisect
import functools
import operator
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from avatar_core.errors import ManifestError
from avatar_core.manifest.files import Files, among
from avatar_core.manifest.layout import is_part, is_snapshot, open_manifest
from avatar_core.manifest.listing import list_files
from avatar_core.manifest.pointer import Current, Slice, read_content, read_current
from avatar_core.storage.location import Location

T = TypeVar("T")

_ATTEMPTS = 50
"""Only compactions without a grace period make a second attempt necessary."""


@dataclass(frozen=True)
class View:
    """The files that make up a manifest at one moment; its files may vanish later (FileNotFoundError)."""

    folder: Location
    current: Current
    loose: tuple[str, ...]
    """Names of the files of records that are not in the slices: parts, and snapshots of earlier programs."""

    @cached_property
    def loose_files(self) -> Files:
        """The loose files."""
        return Files(self.folder, self.loose)

    @cached_property
    def touched(self) -> pa.Array:
        """The ids that occur in loose files, each once: for all others the slices are up to date."""
        return pc.unique(self.loose_files.table(["avatar_id", "schema_version"])["avatar_id"])

    def slices_of(self, avatar_ids: pa.Array | None) -> list[Slice]:
        """Return the slices in whose ranges some of `avatar_ids` lie; None: all slices."""
        slices = self.current.slices
        if avatar_ids is None:
            return list(slices)
        if len(avatar_ids) > len(slices) ** 2 + 1000:  # a range holds some of so many ids anyway
            bounds = pc.min_max(avatar_ids)
            first, last = (self._index(bounds[end].as_py()) for end in ("min", "max"))
            return list(slices[first : last + 1])
        return [slices[index] for index in sorted({self._index(name) for name in avatar_ids.to_pylist()} - {-1})]

    def sliced_records(
        self, columns: Sequence[str], avatar_ids: pa.Array | None = None, stages: Collection[str] | None = None
    ) -> pa.Table:
        """Return the records in the slices: of all avatars and stages, or of some."""
        files = Files(self.folder, [item.snapshot for item in self.slices_of(avatar_ids)])
        return files.table(columns, _condition(avatar_ids, stages))

    def records(
        self, columns: Sequence[str], avatar_ids: pa.Array | None = None, stages: Collection[str] | None = None
    ) -> pa.Table:
        """Return all records, of all avatars and stages or of some, in no order.

        Earlier records of an avatar, stage and key that has later ones may be among them, and some may be twice.
        """
        loose = self.loose_files.table(columns, _condition(avatar_ids, stages))
        return pa.concat_tables([self.sliced_records(columns, avatar_ids, stages), loose])

    def _index(self, avatar_id: str) -> int:
        return bisect.bisect_right(self.current.slices, avatar_id, key=lambda item: item.first) - 1


def open_view(folder: Location) -> View:
    """Return what is there now; raises ManifestError.

    The listing belongs to the pointer if the pointer is the same before and after it: what the pointer does not
    cover is deleted only after another pointer that covers it.
    """
    for _ in range(_ATTEMPTS):
        current = read_current(folder)
        names = list_files(folder)
        if read_content(folder) == current.content:
            return View(folder, current, _loose(current, names))
    raise ManifestError(f"{folder.url} changed {_ATTEMPTS} times while it was listed: run fewer compactions at once.")


def reading(library_url: str | os.PathLike[str], read: Callable[[View], T]) -> T:
    """Return what `read` makes of a view, starting over when a compaction deletes a file meanwhile.

    Raises ManifestError, and ConfigError for a library location that cannot be used.
    """
    folder = open_manifest(library_url)
    for _ in range(_ATTEMPTS):
        view = open_view(folder)
        try:
            return read(view)
        except FileNotFoundError as error:
            if read_content(folder) == view.current.content:
                raise ManifestError(
                    f"{folder.url} lacks a file that it needs ({error}): restore it from a backup, "
                    "or delete _CURRENT.json to go on with what is there."
                ) from error
    raise ManifestError(
        f"{folder.url} changed {_ATTEMPTS} times while it was read: compact with a longer grace period."
    )


def id_array(avatar_ids: Collection[str] | pa.Array | None) -> pa.Array | None:
    """Return ids as Arrow has them; None stays None."""
    if avatar_ids is None or isinstance(avatar_ids, pa.Array):
        return avatar_ids
    return pa.array(list(avatar_ids), pa.string())


def _condition(avatar_ids: pa.Array | None, stages: Collection[str] | None) -> pc.Expression | None:
    """Return the filter for records of some avatars and stages; None: all."""
    wanted = [] if avatar_ids is None else [among(avatar_ids)]
    if stages is not None:
        wanted.append(pc.field("stage").isin(pa.array(list(stages), pa.string())))
    return functools.reduce(operator.and_, wanted) if wanted else None


def _loose(current: Current, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the files outside of the slices.

    Without a pointer (lost, or never made) these are all snapshots and parts: old ones repeat what newer ones hold.
    """
    parts = [name for name in names if is_part(name)]
    if current.covered is None:
        return (*(name for name in names if is_snapshot(name)), *parts)
    return (*current.unsliced, *(name for name in parts if name not in current.covered))
