"""What the latest records say: the state of each avatar, the rejected rows, the counts."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from avatar_core.manifest.latest import codes, microseconds, ranks
from avatar_core.manifest.pointer import Total
from avatar_core.manifest.schema import CATALOG_STAGE, EXPORT_STAGE, FAILED_STATUSES, FINISHED_STATUSES

STATE_COLUMNS = (
    "avatar_id",
    "stage",
    "status",
    "catalog",
    "line",
    "seconds",
    "error_kind",
    "error_message",
    "remedy",
    "recorded_at",
)
"""The columns that `avatar_states` needs: pass them to `read_latest` to read no more than that."""

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
    }
)
"""The columns that `avatar_states` returns."""

_NEVER = np.iinfo(np.int64).min


def avatar_states(latest: pa.Table) -> pa.Table:
    """Return one row for each avatar in `latest`, a table from `read_latest` with at least STATE_COLUMNS.

    Columns: avatar_id, catalog, line, state, stage (of its latest record), stages_done, seconds (of all
    stages), error_stage, error_kind, error_message, remedy (of its latest failure, if it failed), updated_at.
    Of equally late records of several stages, that of the stage whose name sorts last counts.
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

    in_catalog = _equals(table, "stage", CATALOG_STAGE)
    finished = _is_in(table, "status", FINISHED_STATUSES) & ~in_catalog
    newest = last_where(np.ones(table.num_rows, bool))
    failure = last_where(_is_in(table, "status", FAILED_STATUSES) & ~in_catalog)
    export = last_where(finished & _equals(table, "stage", EXPORT_STAGE))
    failed = _times_at(times, failure) > _times_at(times, export)
    begun = last_where(~in_catalog) >= 0
    states = np.select([failed, export >= 0, begun], ["failed", "done", "running"], "accepted")
    seconds = np.nan_to_num(table["seconds"].to_numpy())
    blamed = np.where(failed, failure, -1)
    catalog_rows = last_where(in_catalog)
    return pa.table(
        {
            "avatar_id": ids,
            "catalog": _take(table, "catalog", catalog_rows),
            "line": _take(table, "line", catalog_rows),
            "state": pa.array(states, pa.string()),
            "stage": _take(table, "stage", newest),
            "stages_done": np.bincount(avatars[finished], minlength=count),
            "seconds": np.bincount(avatars, weights=seconds, minlength=count),
            "error_stage": _take(table, "stage", blamed),
            "error_kind": _take(table, "error_kind", blamed),
            "error_message": _take(table, "error_message", blamed),
            "remedy": _take(table, "remedy", blamed),
            "updated_at": _take(table, "recorded_at", newest),
        },
        schema=STATES_SCHEMA,
    )


def rejections(latest: pa.Table) -> pa.Table:
    """Return the rejected rows of each catalog as of its last reading, sorted by catalog and line.

    `latest` is a whole table from `read_latest`. Rejections count as long as no later run has read the
    catalog (`ManifestRecord.catalog_read`) without repeating them.
    """
    rejected = latest.filter(pc.equal(latest["status"], "rejected"))
    reads = latest.filter(pc.equal(latest["status"], "read")).select(["catalog", "run_id"])
    keep = ~_is_in(rejected, "catalog", reads["catalog"].to_pylist())
    for read in reads.to_pylist():
        keep |= _equals(rejected, "catalog", read["catalog"]) & _equals(rejected, "run_id", read["run_id"])
    return rejected.filter(pa.array(keep)).sort_by([("catalog", "ascending"), ("line", "ascending")])


def status_counts(latest: pa.Table) -> dict[str, dict[str, int]]:
    """Return how many avatars have each status in each stage, as {stage: {status: count}}."""
    groups = _avatars_only(latest).group_by(["stage", "status"]).aggregate([([], "count_all")])
    counts: dict[str, dict[str, int]] = {}
    for group in groups.sort_by([("stage", "ascending"), ("status", "ascending")]).to_pylist():
        counts.setdefault(group["stage"], {})[group["status"]] = group["count_all"]
    return counts


def stage_totals(latest: pa.Table) -> tuple[Total, ...]:
    """Return how many avatars have each status in each stage on each device, and the seconds of these records."""
    table = _avatars_only(latest).group_by(["stage", "status", "device"])
    totals = table.aggregate([([], "count_all"), ("seconds", "sum")]).to_pylist()
    return tuple(
        Total(row["stage"], row["status"], row["device"], row["count_all"], row["seconds_sum"] or 0.0) for row in totals
    )


def state_counts(states: pa.Table) -> dict[str, int]:
    """Return how many avatars are in each state, from a table of `avatar_states`."""
    return {item["values"]: item["counts"] for item in pc.value_counts(states["state"]).to_pylist()}


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
