"""Choosing the latest records, for millions of them, without a loop over rows."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from avatar_core.manifest.schema import ATTEMPT_STATUSES

IDENTITY = ("avatar_id", "stage")
ORDER = ("recorded_at", "run_id", "sequence")
RETAINED_BY = (*IDENTITY, "key", "status", *ORDER)
"""The columns that decide which records compaction keeps."""


def latest_rows(table: pa.Table) -> pa.Table:
    """Return the rows of `table` that are the last of their (avatar_id, stage), in the table's order.

    `table` has the columns IDENTITY and ORDER; records are ordered by time, then run, then sequence.
    """
    groups, order = _groups(table, IDENTITY), _time_order(table)
    return _pick(table, _last(groups, order))


def retained_rows(table: pa.Table) -> pa.Table:
    """Return the rows of `table` that compaction keeps, in the table's order; it has the columns RETAINED_BY.

    Of each (avatar_id, stage, key) that is the last record; the last finished computation, which is what the result
    cost; and the last attempt, which says how many there were. Mostly these are one and the same.
    """
    groups, order = _groups(table, (*IDENTITY, "key")), _time_order(table)
    done = _is_in(table["status"], ("done",))
    attempts = _is_in(table["status"], ATTEMPT_STATUSES)
    kept = [_last(groups, rows) for rows in (order, order[done[order]], order[attempts[order]])]
    return _pick(table, np.concatenate(kept))


def distinct_rows(table: pa.Table) -> pa.Table:
    """Return each record of `table` once, in the table's order; it has the columns RETAINED_BY."""
    rows = np.arange(table.num_rows)
    return _pick(table, _last(_groups(table, RETAINED_BY), rows))


def codes(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """Return each value's place among the distinct values, (n,) int32, and the distinct values, (m,); no nulls."""
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy(), encoded.dictionary


def ranks(column: pa.ChunkedArray) -> np.ndarray:
    """Return each value's place among the sorted distinct values, (n,) int64; no nulls."""
    places, values = codes(column)
    order = pc.sort_indices(values).to_numpy()
    ranked = np.empty(len(values), np.int64)
    ranked[order] = np.arange(len(values))
    return ranked[places]


def microseconds(column: pa.ChunkedArray) -> np.ndarray:
    """Return a timestamp column as (n,) int64 microseconds since the epoch."""
    return column.cast(pa.int64()).to_numpy()


def _groups(table: pa.Table, columns: tuple[str, ...]) -> np.ndarray:
    """Return a number for each row, (n,) int64, that is the same for equal values of `columns`; below n."""
    groups = np.zeros(table.num_rows, np.int64)
    for name in columns:
        column = table[name]
        places, values = codes(pc.fill_null(column, "") if pa.types.is_string(column.type) else column)
        groups = groups * max(len(values), 1) + places
        if groups.size and groups.max() >= len(groups):
            groups = np.unique(groups, return_inverse=True)[1]
    return groups


def _last(groups: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the row number that comes last in `order`, (k,) row numbers, of each of its groups."""
    last = np.full(len(groups), -1, np.int64)
    last[groups[order]] = order  # of assignments to one place numpy keeps the last
    return last[last >= 0]


def _pick(table: pa.Table, rows: np.ndarray) -> pa.Table:
    keep = np.zeros(table.num_rows, bool)
    keep[rows] = True
    return table if keep.all() else table.filter(pa.array(keep))


def _is_in(column: pa.ChunkedArray, values: tuple[str, ...]) -> np.ndarray:
    return pc.is_in(column, value_set=pa.array(values, pa.string())).to_numpy()


def _time_order(table: pa.Table) -> np.ndarray:
    """Return the row numbers from the earliest to the latest record, (n,) int64."""
    times = microseconds(table["recorded_at"])
    order = np.argsort(times, kind="stable")
    sorted_times = times[order]
    if not np.any(sorted_times[1:] == sorted_times[:-1]):
        return order
    return np.lexsort((table["sequence"].to_numpy(), ranks(table["run_id"]), times))
