"""What the latest records say: the state of each avatar, the rejected rows, the counts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from avatar_core.manifest.latest import codes, microseconds, ranks
from avatar_core.manifest.pointer import Total
from avatar_core.manifest.schema import (
    CATALOG_STAGE,
    EXPORT_STAGE,
    FAILED_STATUSES,
    FINISHED_STATUSES,
    REVIEW_STAGE,
    WITHDRAWN,
)

STATES_VERSION = 2
"""Raised when a column is added to STATES_SCHEMA, so that states that lack it are computed anew.

Version 2 added seed, key, score, the prompts, tags and reviews.
"""

STATES_SCHEMA = pa.schema(
    {
        "avatar_id": pa.string(),
        "catalog": pa.string(),
        "line": pa.int64(),
        "state": pa.string(),
        "stage": pa.string(),
        "stages_done": pa.int64(),
        "seconds": pa.float64(),
        "error_stage": pa.string(),
        "error_kind": pa.string(),
        "error_message": pa.string(),
        "remedy": pa.string(),
        "updated_at": pa.timestamp("us", tz="UTC"),
        "seed": pa.int64(),
        "key": pa.string(),
        "score": pa.float64(),
        "shape": pa.string(),
        "appearance": pa.string(),
        "motion": pa.string(),
        "tags": pa.list_(pa.string()),
        "review": pa.string(),
        "reviewed_at": pa.timestamp("us", tz="UTC"),
    }
)
"""The columns that `avatar_states` returns."""

_ALWAYS = ("avatar_id", "stage", "status", "recorded_at")
_SOURCES = {
    **{name: name for name in ("catalog", "line", "shape", "appearance", "motion", "tags")},
    **{name: name for name in ("seconds", "error_kind", "error_message", "remedy", "seed", "key", "score")},
    **{"review": "key", "reviewed_at": "key"},
}
"""Which further column of the records a column of the states is made from."""

_NEVER = np.iinfo(np.int64).min


def record_columns(columns: Sequence[str] = STATES_SCHEMA.names) -> list[str]:
    """Return the columns of the records from which `avatar_states` makes these columns."""
    return list(dict.fromkeys([*_ALWAYS, *(_SOURCES[name] for name in columns if name in _SOURCES)]))


STATE_COLUMNS = tuple(record_columns())
"""The columns that all of STATES_SCHEMA needs: pass them to `read_latest` to read no more than that."""


def avatar_states(latest: pa.Table, columns: Sequence[str] = STATES_SCHEMA.names) -> pa.Table:
    """Return one row for each avatar in `latest`, a table from `read_latest` with at least `record_columns(columns)`.

    Columns: avatar_id, catalog, line, state, stage (of its latest record), stages_done, seconds (of all
    stages), error_stage, error_kind, error_message, remedy (of its latest failure, if it failed), updated_at; seed, key
    and score of its last finished export (a seed before there is one: the catalog's); shape, appearance, motion, tags;
    review and reviewed_at of its last review, if that was about its last finished export.
    Of equally late records of several stages, that of the stage whose name sorts last counts; reviews never do.
    The state is "failed" (a stage's latest record is a failure, after the last export), "done" (exported),
    "running" (a stage has begun) or "accepted" (only the catalog's record exists).
    """
    table = _avatars_only(latest)
    avatars, ids = codes(table["avatar_id"])
    count = len(ids)
    times = microseconds(table["recorded_at"])
    order = np.lexsort((ranks(table["stage"]), times))

    def last_where(mask: np.ndarray) -> np.ndarray:
        """Return each avatar's latest row number in `mask`, (count,) int64, -1 for none."""
        rows = order[mask[order]]
        last = np.full(count, -1, np.int64)
        last[avatars[rows]] = rows
        return last

    in_catalog, in_review = (_equals(table, "stage", stage) for stage in (CATALOG_STAGE, REVIEW_STAGE))
    of_stage = ~in_catalog & ~in_review
    finished = _is_in(table, "status", FINISHED_STATUSES) & of_stage
    newest = last_where(~in_review)
    failure = last_where(_is_in(table, "status", FAILED_STATUSES) & of_stage)
    export = last_where(finished & _equals(table, "stage", EXPORT_STAGE))
    failed = _times_at(times, failure) > _times_at(times, export)
    begun = last_where(of_stage) >= 0
    states = np.select([failed, export >= 0, begun], ["failed", "done", "running"], "accepted")
    row = last_where(in_catalog)
    counted: dict[str, Any] = {"avatar_id": ids, "state": pa.array(states, pa.string())}
    if "stages_done" in columns:
        counted["stages_done"] = np.bincount(avatars[finished], minlength=count)
    if "seconds" in columns:
        seconds = np.nan_to_num(table["seconds"].to_numpy())
        counted["seconds"] = np.bincount(avatars, weights=seconds, minlength=count)
    origins = {
        **dict.fromkeys(("catalog", "line"), row),
        **dict.fromkeys(("shape", "appearance", "motion", "tags"), np.where(row >= 0, row, newest)),
        **dict.fromkeys(("stage", "updated_at"), newest),
        **dict.fromkeys(("error_stage", "error_kind", "error_message", "remedy"), np.where(failed, failure, -1)),
        **dict.fromkeys(("key", "score"), export),
        "seed": np.where(export >= 0, export, row),
    }
    if "review" in columns or "reviewed_at" in columns:
        reviews = _reviews_in_force(table, last_where(in_review), export)
        origins |= dict.fromkeys(("review", "reviewed_at"), reviews)
    taken = {"stage": "stage", "error_stage": "stage", "review": "status"}
    taken |= dict.fromkeys(("updated_at", "reviewed_at"), "recorded_at")
    arrays = [
        counted[name] if name in counted else _take(table, taken.get(name, name), origins[name]) for name in columns
    ]
    return pa.table(arrays, schema=pa.schema([STATES_SCHEMA.field(name) for name in columns]))


def _reviews_in_force(table: pa.Table, review: np.ndarray, export: np.ndarray) -> np.ndarray:
    """Return the row numbers of the reviews (n,) that are about the exports (n,) of now, -1 for none."""
    given, said_of, key_of = (
        pc.fill_null(_take(table, column, rows), "")
        for column, rows in (("status", review), ("key", review), ("key", export))
    )
    counts = pc.and_(pc.invert(pc.is_in(given, value_set=pa.array(["", WITHDRAWN]))), pc.equal(said_of, key_of))
    return np.where(counts.to_numpy(zero_copy_only=False), review, -1)


def rejections(latest: pa.Table) -> pa.Table:
    """Return the rejected rows of each catalog as of its last reading, sorted by catalog and line.

    `latest` is a whole table from `read_latest`. Rejections count as long as no later run has read the
    catalog (`ManifestRecord.catalog_read`) without repeating them.
    """
    rejected = latest.filter(pc.and_(pc.equal(latest["status"], "rejected"), pc.equal(latest["stage"], CATALOG_STAGE)))
    reads = latest.filter(pc.equal(latest["status"], "read")).select(["catalog", "run_id"])
    keep = ~_is_in(rejected, "catalog", reads["catalog"].to_pylist())
    for read in reads.to_pylist():
        keep |= _equals(rejected, "catalog", read["catalog"]) & _equals(rejected, "run_id", read["run_id"])
    return rejected.filter(pa.array(keep)).sort_by([("catalog", "ascending"), ("line", "ascending")])


def status_counts(latest: pa.Table) -> dict[str, dict[str, int]]:
    """Return how many avatars have each status in each stage, as {stage: {status: count}}; reviews are no stage."""
    groups = _stages_only(latest).group_by(["stage", "status"]).aggregate([([], "count_all")])
    counts: dict[str, dict[str, int]] = {}
    for group in groups.sort_by([("stage", "ascending"), ("status", "ascending")]).to_pylist():
        counts.setdefault(group["stage"], {})[group["status"]] = group["count_all"]
    return counts


def stage_totals(latest: pa.Table) -> tuple[Total, ...]:
    """Return how many avatars have each status in each stage on each device, and the seconds of these records."""
    table = _stages_only(latest).group_by(["stage", "status", "device"])
    totals = table.aggregate([([], "count_all"), ("seconds", "sum")]).to_pylist()
    return tuple(
        Total(row["stage"], row["status"], row["device"], row["count_all"], row["seconds_sum"] or 0.0) for row in totals
    )


def state_counts(states: pa.Table) -> dict[str, int]:
    """Return how many avatars are in each state, from a table of `avatar_states`."""
    return {item["values"]: item["counts"] for item in pc.value_counts(states["state"]).to_pylist()}


def review_counts(states: pa.Table) -> dict[str, int]:
    """Return how many avatars have each review, from a table of `avatar_states`; those without one are left out."""
    counted = pc.value_counts(states["review"].drop_null()).to_pylist()
    return {item["values"]: item["counts"] for item in sorted(counted, key=lambda item: item["values"])}


def _stages_only(latest: pa.Table) -> pa.Table:
    """Drop the records that are not about an avatar's stages."""
    return _avatars_only(latest.filter(pc.not_equal(latest["stage"], REVIEW_STAGE)))


def _avatars_only(latest: pa.Table) -> pa.Table:
    """Drop the records about catalogs and rejected rows, whose ids no avatar can have."""
    return latest.filter(pc.invert(pc.match_substring(latest["avatar_id"], ":")))


def _equals(table: pa.Table, column: str, value: str | None) -> np.ndarray:
    return pc.fill_null(pc.equal(table[column], value), False).to_numpy()


def _is_in(table: pa.Table, column: str, values: object) -> np.ndarray:
    return pc.is_in(table[column], value_set=pa.array(values, pa.string())).to_numpy()


def _times_at(times: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return `times[rows]`, (m,) int64, with the smallest integer where the row is -1."""
    if len(times) == 0:
        return np.full(len(rows), _NEVER)
    return np.where(rows >= 0, times[rows], _NEVER)


def _take(table: pa.Table, column: str, rows: np.ndarray) -> pa.Array:
    """Return the values of a column at row numbers, null where the row number is -1."""
    return table[column].combine_chunks().take(pa.array(rows, mask=rows < 0))
