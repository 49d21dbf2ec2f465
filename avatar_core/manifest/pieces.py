"""Division of a manifest by avatar ids into pieces that fit in memory, each avatar whole in one of them."""

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from avatar_core.manifest.files import Files
from avatar_core.manifest.latest import RETAINED_BY, retained_rows
from avatar_core.manifest.pointer import Slice
from avatar_core.manifest.schema import SCHEMA
from avatar_core.manifest.view import View

ROWS_PER_PIECE = 500_000


@dataclass(frozen=True)
class Piece:
    """All records of the avatars with lower <= id < upper."""

    lower: str
    upper: str | None
    """None: no bound."""
    within: Slice | None
    """The slice that has the compacted records of these avatars, and maybe of others."""
    loose_rows: int
    """Records in loose files; 0 only for a whole slice, which is then up to date."""


def pieces(view: View, rows: int = ROWS_PER_PIECE) -> list[Piece]:
    """Return the pieces in the order of their ids, each with about `rows` loose records at most.

    Memory holds the ids of all loose records.
    """
    ids, counts = _loose_counts(view)
    slices: Sequence[Slice | None] = view.current.slices or [None]
    lowers = [item.first if item else "" for item in slices]
    starts = [bisect.bisect_left(range(len(ids)), lower, key=lambda row: ids[row].as_py()) for lower in lowers]
    found = []
    for item, lower, upper, start, end in zip(
        slices, lowers, [*lowers[1:], None], starts, [*starts[1:], len(ids)], strict=True
    ):
        cuts = group_starts(counts[start:end], rows)
        bounds = [lower, *(ids[start + cut].as_py() for cut in cuts[1:]), upper]
        sums = np.add.reduceat(counts[start:end], cuts) if len(cuts) else [0]
        found += [Piece(*between, item, int(total)) for between, total in zip(pairwise(bounds), sums, strict=True)]
    return found


def group_starts(counts: np.ndarray, limit: int) -> np.ndarray:
    """Return where groups of consecutive entries begin, so that a group's counts add up to about `limit` at most.

    The groups are about equal: cutting full ones off would leave a small remainder each time that a slice grows.
    """
    total = int(counts.sum())
    share = -(-total // max(-(-total // limit), 1))
    groups = (np.cumsum(counts) - 1) // max(share, 1)
    return np.flatnonzero(np.diff(groups, prepend=-1))


def read_piece(view: View, piece: Piece, columns: Sequence[str]) -> pa.Table:
    """Return the records of a piece that compaction keeps, in no order; raises FileNotFoundError, ManifestError."""
    if piece.loose_rows == 0:
        names = [piece.within.snapshot] if piece.within else []
        return Files(view.folder, names).table(columns)
    wanted = [name for name in SCHEMA.names if name in {*columns, *RETAINED_BY, "schema_version"}]
    condition = pc.field("avatar_id") >= piece.lower
    if piece.upper is not None:
        condition &= pc.field("avatar_id") < piece.upper
    tables = [view.loose_files.table(wanted, condition)]
    if piece.within:
        tables.append(Files(view.folder, [piece.within.snapshot]).table(wanted, condition))
    return retained_rows(pa.concat_tables(tables)).select(list(columns))


def retained(view: View, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the records that compaction keeps, a piece at a time."""
    for piece in pieces(view):
        yield read_piece(view, piece, columns)


def _loose_counts(view: View) -> tuple[pa.Array, np.ndarray]:
    """Return the sorted ids of the loose records, and how many each has, (n,) int64."""
    ids = view.loose_files.table(["avatar_id", "schema_version"])["avatar_id"]
    counted = pc.value_counts(ids)
    order = pc.sort_indices(counted.field("values"))
    return counted.field("values").take(order), counted.field("counts").take(order).to_numpy()
