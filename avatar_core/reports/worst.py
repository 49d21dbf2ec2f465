"""The worst avatars of a library, and what is bad about each.

An avatar is as bad as its measures lie on the bad side of the library's middle, in robust deviations. A measure counts
from two deviations on and up to ten, so that neither noise nor one wild number decides. Cosines are compared among
avatars of one guiding encoder only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar_core.reports.columns import Columns
from avatar_core.reports.measures import MEASURES, Measure

FROM, TO = 2.0, 10.0
"""Deviations from which a measure counts, and up to which."""
REASONS = 4
"""At most so many are given for an avatar."""
_NORMAL = 1.4826
"""Of a normal distribution, the standard deviation over the median absolute deviation."""


@dataclass(frozen=True)
class Reason:
    """One thing that is bad about an avatar."""

    measure: Measure
    value: float
    median: float
    """Of the library."""
    deviations: float
    """How far on the bad side of the median."""

    @property
    def told(self) -> str:
        """The reason in words."""
        label = self.measure.label[0].lower() + self.measure.label[1:]
        by = {"fit": "fit of ", "judge": "fit of "}.get(self.measure.group, "")
        whose = {"fit": " by the guiding encoder", "judge": " by the second encoder"}.get(self.measure.group, "")
        if self.measure.flag:
            return f"{label}: {self.measure.shown(self.value)}"
        return f"{by}{label}{whose}: {self.measure.shown(self.value)}; the middle is {self.measure.shown(self.median)}"


@dataclass(frozen=True)
class Bad:
    """An avatar and why it is among the worst."""

    avatar_id: str
    badness: float
    """Sum over measures of the deviations that count."""
    reasons: tuple[Reason, ...]
    """The worst first; at least one."""


def worst(columns: Columns, count: int) -> list[Bad]:
    """Return the `count` worst avatars, the worst first; fewer where there are fewer that have a number at all."""
    if not len(columns):
        return []
    judged = [measure for measure in MEASURES if measure.better]
    table: NDArray[np.float64] = np.stack([_deviations(columns, measure) for measure in judged], axis=1)
    counted = np.clip(table, 0.0, TO)
    badness = np.where(counted >= FROM, counted, 0.0).sum(axis=1)
    largest = table.max(axis=1)
    order = np.lexsort((np.arange(len(columns)), -largest, -badness))
    chosen = [int(row) for row in order if np.isfinite(largest[row])][:count]
    return [Bad(columns.ids[row], float(badness[row]), _reasons(columns, judged, table[row], row)) for row in chosen]


def _reasons(columns: Columns, judged: list[Measure], row: NDArray[np.float64], number: int) -> tuple[Reason, ...]:
    order = [int(index) for index in np.argsort(-row, kind="stable")]
    found = [index for index in order if row[index] >= FROM][:REASONS] or order[:1]
    return tuple(
        Reason(
            judged[index],
            float(columns.values(judged[index])[number]),
            float(np.median(columns.known(judged[index], _guide(columns, judged[index], number)))),
            float(row[index]),
        )
        for index in found
    )


def _guide(columns: Columns, measure: Measure, number: int) -> int | None:
    return int(columns.guides[number]) if measure.group == "fit" else None


def _deviations(columns: Columns, measure: Measure) -> NDArray[np.float64]:
    """How many deviations each value lies on the bad side of the middle, (N,); -inf where there is no value."""
    values = columns.values(measure)
    bad = np.full(len(values), -np.inf)
    groups = columns.guides if measure.group == "fit" else np.zeros(len(values), np.int32)
    for group in np.unique(groups):
        inside = (groups == group) & np.isfinite(values)
        if inside.any():
            middle = np.median(values[inside])
            scale = max(_NORMAL * float(np.median(np.abs(values[inside] - middle))), measure.least)
            bad[inside] = (middle - values[inside]) * measure.better / scale
    return bad
