"""What the report of a library holds, for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from avatar_core import GENERATOR
from avatar_core.licences import Terms, strictest, terms_of_data
from avatar_core.reports.columns import Columns
from avatar_core.reports.measures import of_group
from avatar_core.reports.reason import Reason
from avatar_core.reports.weights import weigh
from avatar_core.reports.worst import Bad

if TYPE_CHECKING:
    from avatar_core.reports.precision import Precision

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Unreadable:
    """An avatar whose report could not be read."""

    avatar_id: str
    reason: str


@dataclass(frozen=True)
class Ranked:
    """What came of R-precision."""

    result: Precision | None
    """None where it could not be told; then `left_out` says why."""
    sample: int
    """Avatars that were drawn, at most as many as were asked for."""
    seed: int
    """Of the draw."""
    left_out: Mapping[str, int]
    """How many of them could not be ranked, by the reason."""


@dataclass(frozen=True)
class LibraryReport:
    """Everything that the report of a library says."""

    library: str
    """Where it is."""
    taken_at: datetime
    counts: Mapping[str, int]
    """Avatars by state, and rejected rows, as the manifest has them."""
    columns: Columns
    ranked: Ranked
    failures: Sequence[Reason]
    """The most frequent first."""
    costs: Sequence[Mapping[str, Any]]
    """What stages cost: stage, computations, seconds, gpu_seconds, peak_mb, bytes, and cost where there is a price."""
    total: Mapping[str, Any]
    """The same of all stages."""
    price: float | None
    """Of an hour."""
    worst: Sequence[Bad]
    unreadable: Sequence[Unreadable]
    """The first of them."""
    unreadable_count: int

    def terms(self) -> tuple[list[tuple[str, Terms]], list[Terms], dict[str, int]]:
        """Return the models that made the avatars with their roles, the data behind those, and avatars by digest."""
        models, counts = weigh(self.columns.weights)
        return models, terms_of_data(name for _, one in models for name in one.data), counts

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        columns = self.columns
        models, data, counts = self.terms()
        return {
            "schema_version": SCHEMA_VERSION,
            "generator": GENERATOR,
            "library": self.library,
            "taken_at": self.taken_at.isoformat(),
            "counts": dict(self.counts),
            "reports": len(columns),
            "unreadable": {
                "count": self.unreadable_count,
                "first": [{"avatar_id": one.avatar_id, "reason": one.reason} for one in self.unreadable],
            },
            "presets": dict(columns.presets.most_common()),
            "fit": {
                encoder: _spreads(columns, "fit", guide) for guide, encoder in enumerate(columns.encoders)
            },
            "judge": _spreads(columns, "judge"),
            "r_precision": _ranked_json(self.ranked),
            "measures": {one.measure.name: one.as_json() for one in columns.spreads() if one.measure.group != "judge"},
            "authored_motions": columns.authored,
            "texturing_events": dict(columns.events.most_common()),
            "failures": [one.__dict__ for one in self.failures],
            "costs": [dict(row) for row in self.costs],
            "total": dict(self.total),
            "price": self.price,
            "worst": [_bad_json(bad) for bad in self.worst],
            "licences": {
                "commercial": strictest([*(one for _, one in models), *data]),
                "models": [{"role": role, "avatars": counts[one.digest]} | one.__dict__ for role, one in models],
                "data": [one.__dict__ for one in data],
            },
        }


def _spreads(columns: Columns, group: Any, guide: int | None = None) -> dict[str, Any]:
    found = {measure.name.partition(".")[2]: columns.spread(measure, guide) for measure in of_group(group)}
    return {name: spread.as_json() for name, spread in found.items() if spread is not None}


def _ranked_json(ranked: Ranked) -> dict[str, Any]:
    asked = {"sample": ranked.sample, "seed": ranked.seed, "left_out": dict(ranked.left_out)}
    if ranked.result is None:
        return asked | {"at_1": None}
    result = ranked.result
    numbers = ("judge", "avatars", "prompts", "at_1", "at_5", "chance", "mean_rank")
    return asked | {name: getattr(result, name) for name in numbers} | {"missed": list(result.missed)}


def _bad_json(bad: Bad) -> dict[str, Any]:
    reasons = [
        {
            "measure": reason.measure.name,
            "value": reason.value,
            "median": reason.median,
            "deviations": round(reason.deviations, 2),
            "told": reason.told,
        }
        for reason in bad.reasons
    ]
    return {"avatar_id": bad.avatar_id, "badness": round(bad.badness, 2), "reasons": reasons}
