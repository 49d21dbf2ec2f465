"""The states of all avatars and their sums, read from what compactions prepared and brought up to date."""

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

import pyarrow as pa
import pyarrow.compute as pc

from avatar_core.manifest.files import Files, among
from avatar_core.manifest.latest import latest_rows
from avatar_core.manifest.pointer import Total
from avatar_core.manifest.reader import with_needed
from avatar_core.manifest.schema import SCHEMA
from avatar_core.manifest.states import (
    STATES_SCHEMA,
    STATES_VERSION,
    avatar_states,
    record_columns,
    rejections,
    review_counts,
    stage_totals,
    state_counts,
)
from avatar_core.manifest.view import View, id_array, reading

_SUMMED = ("state", "error_stage", "error_kind", "seconds", "review")
_TOTALLED = ("avatar_id", "stage", "status", "device", "seconds")


@dataclass(frozen=True)
class Summary:
    """Sums over a whole manifest."""

    states: Mapping[str, int]
    """How many avatars are in each state."""
    reviews: Mapping[str, int]
    """How many avatars have each review."""
    errors: pa.Table
    """How many avatars failed, by error_stage and error_kind, in the column avatars; the most frequent first."""
    totals: tuple[Total, ...]
    """Records and seconds by stage, status and device, over the latest record of each avatar and stage; sorted."""
    seconds: float
    """Of all stages of all avatars."""
    rejected: pa.Table
    """The rejected rows, as `rejections` returns them."""

    @property
    def statuses(self) -> dict[str, dict[str, int]]:
        """How many avatars have each status in each stage, as `status_counts` returns it."""
        counts: dict[str, dict[str, int]] = {}
        for total in self.totals:
            of_stage = counts.setdefault(total.stage, {})
            of_stage[total.status] = of_stage.get(total.status, 0) + total.records
        return counts


def read_states(
    library_url: str | os.PathLike[str],
    *,
    avatar_ids: Collection[str] | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Return one row for each avatar, of all or of `avatar_ids`: what `avatar_states` returns, in no order.

    Fast if compaction has run: only avatars with records since then are computed anew. `columns` limits what is read.
    Raises ManifestError and ConfigError as `read_latest` does.
    """
    names = list(columns) if columns is not None else STATES_SCHEMA.names
    return reading(library_url, lambda view: states_in(view, names, id_array(avatar_ids)))


def read_summary(library_url: str | os.PathLike[str]) -> Summary:
    """Return sums over the whole manifest at one moment, without reading all records if compaction has run.

    Raises ManifestError and ConfigError as `read_latest` does.
    """
    return reading(library_url, _summary)


def states_in(view: View, columns: Sequence[str], avatar_ids: pa.Array | None) -> pa.Table:
    """Return the states in a view, as `read_states` does; raises FileNotFoundError and ManifestError."""
    touched = view.touched
    if avatar_ids is not None:
        touched = touched.filter(pc.is_in(touched, value_set=avatar_ids))
    condition = None if avatar_ids is None else among(avatar_ids)
    if len(touched):
        outdated = pc.field("avatar_id").isin(touched)
        condition = ~outdated if condition is None else condition & ~outdated
    slices = view.slices_of(avatar_ids)
    ready = [item.states for item in slices if item.states_version == STATES_VERSION]
    found = [Files(view.folder, ready, STATES_SCHEMA).table(columns, condition)]
    needed = with_needed(record_columns(columns))
    old = [item.snapshot for item in slices if item.states_version != STATES_VERSION]
    if old:
        found.append(avatar_states(latest_rows(Files(view.folder, old).table(needed, condition)), columns))
    if len(touched):
        found.append(avatar_states(latest_rows(view.records(needed, touched)), columns))
    return pa.concat_tables(found)


def _summary(view: View) -> Summary:
    states = states_in(view, _SUMMED, None)
    failed = states.filter(pc.equal(states["state"], "failed")).group_by(["error_stage", "error_kind"])
    errors = failed.aggregate([([], "count_all")]).rename_columns(["error_stage", "error_kind", "avatars"])
    order = [("avatars", "descending"), ("error_stage", "ascending"), ("error_kind", "ascending")]
    return Summary(
        states=state_counts(states),
        reviews=review_counts(states),
        errors=errors.sort_by(order),
        totals=_totals(view),
        seconds=pc.sum(states["seconds"], min_count=0).as_py(),
        rejected=_rejected(view),
    )


def _totals(view: View) -> tuple[Total, ...]:
    """Return the slices' totals, with those of avatars that have newer records exchanged."""
    added = [total for item in view.current.slices for total in item.totals]
    removed: Sequence[Total] = ()
    if len(view.touched):
        columns = with_needed(_TOTALLED)
        removed = stage_totals(latest_rows(view.sliced_records(columns, view.touched)))
        added += stage_totals(latest_rows(view.records(columns, view.touched)))
    return _difference(added, removed)


def _difference(added: Iterable[Total], removed: Iterable[Total]) -> tuple[Total, ...]:
    sums: dict[tuple[str, str, str | None], list[float]] = defaultdict(lambda: [0, 0.0])
    for totals, sign in ((added, 1), (removed, -1)):
        for total in totals:
            entry = sums[total.stage, total.status, total.device]
            entry[0] += sign * total.records
            entry[1] += sign * total.seconds
    found = [Total(*group, int(records), seconds) for group, (records, seconds) in sums.items() if records]
    return tuple(sorted(found, key=lambda total: [value or "" for value in astuple(total)[:3]]))


def _rejected(view: View) -> pa.Table:
    """Return the rejections; the records about catalogs and rejected rows go by ids of their own."""
    conditions = [
        (pc.field("avatar_id") >= f"{kind}:") & (pc.field("avatar_id") < f"{kind};") for kind in ("catalog", "rejected")
    ]
    condition = conditions[0] | conditions[1]
    sliced = Files(view.folder, [item.snapshot for item in view.current.slices])
    tables = [files.table(SCHEMA.names, condition) for files in (sliced, view.loose_files)]
    return rejections(latest_rows(pa.concat_tables(tables)))
