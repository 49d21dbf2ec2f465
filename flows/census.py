"""What a library holds and how fast it fills, in numbers: for `avatars status` and for metrics.

Everything comes from the manifest and the files of runs, so it is the same with and without Prefect.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from avatar_core.manifest import read_latest, read_states, read_summary
from avatar_core.manifest.schema import FAILED_STATUSES
from avatar_core.reports.reason import Reason
from flows.lock import Holder, running
from flows.options import RunOptions
from flows.run_state import RunState, newest_run

WINDOW = timedelta(minutes=15)
"""The rate is that of so much time before now."""
CPU = "cpu"

_STATE_COLUMNS = ("avatar_id", "state", "error_stage", "error_kind", "updated_at")


@dataclass(frozen=True)
class StageCost:
    """Computing time of the results that avatars have now, of one stage on one device."""

    stage: str
    device: str
    """`cpu`, a GPU's name, or empty where it was not recorded."""
    seconds: float


@dataclass(frozen=True)
class Census:
    """The numbers of one library at one moment."""

    taken_at: datetime
    counts: Mapping[str, int]
    """Avatars by state: done, failed, running or unfinished, accepted; and rejected rows."""
    reviews: Mapping[str, int]
    """Avatars by what reviewers said of their present results; those without a review are left out."""
    quarantined: int
    """How many of the failed ones were given up: `avatars retry` tries them again."""
    failures: tuple[Reason, ...]
    """The most frequent first."""
    last_failure: datetime | None
    """When the last of the failed avatars had its last record."""
    statuses: Mapping[str, Mapping[str, int]]
    """How many avatars have each status in each stage."""
    costs: tuple[StageCost, ...]
    done_lately: int
    """Avatars that were finished within `window`."""
    window: timedelta
    """The time before `taken_at` that the rate goes by: WINDOW, or since the newest run began."""
    holder: Holder | None
    """The run that holds the library on this machine's disk."""
    run: RunState | None
    """The newest run."""
    settled: int
    """How many avatars were finished or failed since the newest run began."""
    rejected: pa.Table
    """The rejected rows, as the manifest's `rejections` returns them."""

    @property
    def going(self) -> bool:
        """Whether any run is at work."""
        return self.holder is not None or (self.run is not None and self.run.going)

    @property
    def failed(self) -> int:
        """Failed avatars, those in quarantine included."""
        return self.counts.get("failed", 0)

    @property
    def per_hour(self) -> float:
        """Avatars finished an hour, lately."""
        return self.done_lately / max(self.window.total_seconds(), 1.0) * 3600

    @property
    def left(self) -> int:
        """How many avatars the newest run has not come to yet."""
        return 0 if self.run is None or self.run.ended_at else max(self.run.avatars - self.settled, 0)

    @property
    def seconds_left(self) -> float | None:
        """When the newest run ends at this rate; None where it does not go on or nothing can be said."""
        return self.left / self.per_hour * 3600 if self.going and self.left and self.done_lately else None

    @property
    def seconds(self) -> float:
        """Computing time of all results that avatars have."""
        return sum(cost.seconds for cost in self.costs)

    @property
    def gpu_seconds(self) -> float:
        """Its part on GPUs."""
        return sum(cost.seconds for cost in self.costs if cost.device not in (CPU, ""))

    def price(self, per_hour: float) -> float:
        """Return what the computing time cost at a price an hour of a machine that computes one stage at a time."""
        return self.seconds / 3600 * per_hour


def take_census(library: str, now: datetime | None = None, previous: Census | None = None) -> Census:
    """Return the numbers of a library.

    What takes longest, telling quarantine, is spared where nothing failed since the `previous` census. Raises
    ManifestError, and ConfigError for a location that cannot be used.
    """
    now = now or datetime.now(UTC)
    summary = read_summary(library)
    states = read_states(library, columns=_STATE_COLUMNS)
    run, holder = newest_run(library), running(library)
    begun = run.begun_at if run is not None else None
    window = min(WINDOW, max(now - begun, timedelta())) if begun is not None else WINDOW
    done = pc.equal(states["state"], "done")
    failed = states.filter(pc.equal(states["state"], "failed"))
    settled = pc.or_(done, pc.equal(states["state"], "failed"))
    going = holder is not None or (run is not None and run.going)
    last_failure = pc.max(failed["updated_at"]).as_py()
    if previous is not None and (previous.failed, previous.last_failure) == (failed.num_rows, last_failure):
        quarantined = previous.quarantined
    else:
        quarantined = _quarantined(library, failed["avatar_id"], run.plan.options if run else RunOptions())
    return Census(
        taken_at=now,
        counts={**_counts(summary.states, going), "rejected": summary.rejected.num_rows},
        reviews=summary.reviews,
        quarantined=quarantined,
        failures=_reasons(library, failed),
        last_failure=last_failure,
        statuses=summary.statuses,
        costs=_costs(summary.totals),
        done_lately=_since(states, done, now - window),
        window=window,
        holder=holder,
        run=run,
        settled=_since(states, settled, begun) if begun is not None else 0,
        rejected=summary.rejected,
    )


def _counts(states: Mapping[str, int], going: bool) -> dict[str, int]:
    """Name what has begun and is not finished by whether anybody is at it."""
    return {("unfinished" if state == "running" and not going else state): count for state, count in states.items()}


def _since(states: pa.Table, mask: pa.ChunkedArray, moment: datetime) -> int:
    recent = pc.greater_equal(states["updated_at"], pa.scalar(moment, states["updated_at"].type))
    return pc.sum(pc.and_(mask, recent)).as_py() or 0


def _reasons(library: str, failed: pa.Table) -> tuple[Reason, ...]:
    """Group the failed avatars by stage and kind of error, with an example of each."""
    if failed.num_rows == 0:
        return ()
    groups = failed.group_by(["error_stage", "error_kind"]).aggregate([([], "count_all"), ("avatar_id", "min")])
    found = groups.to_pylist()
    columns = ("avatar_id", "error_message", "remedy")
    examples = read_states(library, avatar_ids=[group["avatar_id_min"] for group in found], columns=columns)
    said = {row["avatar_id"]: row for row in examples.to_pylist()}
    reasons = [
        Reason(
            stage=group["error_stage"],
            kind=group["error_kind"] or "",
            avatars=group["count_all"],
            example=group["avatar_id_min"],
            message=said[group["avatar_id_min"]]["error_message"] or "",
            remedy=said[group["avatar_id_min"]]["remedy"] or "",
        )
        for group in found
        if group["avatar_id_min"] in said
    ]
    return tuple(sorted(reasons, key=lambda reason: (-reason.avatars, reason.stage, reason.kind)))


def _quarantined(library: str, failed: pa.ChunkedArray, options: RunOptions) -> int:
    """Return how many of the avatars `failed` have a stage that is not tried again by itself."""
    if len(failed) == 0:
        return 0
    columns = ("avatar_id", "status", "attempt")
    records = read_latest(library, columns=columns, avatar_ids=failed.combine_chunks())
    often = pc.greater_equal(pc.fill_null(records["attempt"], 1), options.max_attempts)
    tried = pc.is_in(records["status"], value_set=pa.array(FAILED_STATUSES))
    given_up = pc.or_(pc.and_(tried, often), pc.equal(records["status"], "quarantined"))
    return len(pc.unique(records.filter(given_up)["avatar_id"]))


def _costs(totals: Any) -> tuple[StageCost, ...]:
    """Sum the manifest's totals, which are by status too, up by stage and device."""
    sums: dict[tuple[str, str], float] = {}
    for total in totals:
        if total.seconds:
            place = (total.stage, total.device or "")
            sums[place] = sums.get(place, 0.0) + total.seconds
    return tuple(StageCost(stage, device, seconds) for (stage, device), seconds in sorted(sums.items()))
