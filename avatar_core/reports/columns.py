"""The measures of a library's avatars as columns of numbers: all that is kept of each report, whatever their number."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatar_core.reports.measures import MEASURES, Json, Measure, place
from avatar_core.reports.weights import Weights, count_weights, word

MAX_NAMES = 1000
"""Different presets, encoders and incidents that are told apart: no file may fill memory. Others count together."""
OTHERS = "others"
_QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)


@dataclass(frozen=True)
class Spread:
    """How the values of one measure are spread."""

    measure: Measure
    avatars: int
    """How many have a value."""
    lowest: float
    p05: float
    median: float
    p95: float
    highest: float
    beyond: int
    """How many are worth a look."""

    def as_json(self) -> dict[str, Any]:
        """Return the numbers in the units of report.json."""
        numbers = ("avatars", "lowest", "p05", "median", "p95", "highest")
        beyond = {} if self.measure.limit is None else {"limit": self.measure.limit, "beyond": self.beyond}
        return {name: getattr(self, name) for name in numbers} | beyond


@dataclass
class Columns:
    """A growing table: a row for each avatar, NaN where a report lacks a number."""

    ids: list[str] = field(default_factory=list)
    presets: Counter[str] = field(default_factory=Counter)
    encoders: list[str] = field(default_factory=list)
    """Names of the guiding encoders, in the order in which they were met."""
    weights: Counter[Weights] = field(default_factory=Counter)
    """How many avatars use each model."""
    authored: int = 0
    """How many motions follow written key poses."""
    events: Counter[str] = field(default_factory=Counter)
    """How many avatars had each kind of incident in their texturing."""
    _values: dict[str, array[float]] = field(default_factory=lambda: {one.name: array("d") for one in MEASURES})
    _guides: array[int] = field(default_factory=lambda: array("i"))

    def __len__(self) -> int:
        """Return the number of avatars."""
        return len(self.ids)

    def add(self, avatar_id: str, report: Json) -> None:
        """Take an avatar's report in; values that are no numbers count as missing."""
        self.ids.append(avatar_id)
        for measure in MEASURES:
            value = measure.read(report)
            self._values[measure.name].append(np.nan if value is None else value)
        self._count(self.presets, word(place(report, "preset")) or "not known")
        guide = word(place(report, "weights", "encoder", "name")) or "not known"
        if guide not in self.encoders:
            guide = guide if len(self.encoders) < MAX_NAMES else OTHERS
            if guide not in self.encoders:
                self.encoders.append(guide)
        self._guides.append(self.encoders.index(guide))
        count_weights(report, self.weights)
        self.authored += place(report, "motion", "authored") is True
        events = place(report, "texturing", "events")
        kinds = {word(place(event, "kind")) for event in events} if isinstance(events, list) else set()
        for kind in kinds:
            self._count(self.events, kind)

    @staticmethod
    def _count(counter: Counter[str], name: str) -> None:
        counter[name if name in counter or len(counter) < MAX_NAMES else OTHERS] += 1

    def values(self, measure: Measure) -> NDArray[np.float64]:
        """Return a measure's values (N,), NaN where there is none."""
        return np.frombuffer(self._values[measure.name], np.float64) if len(self) else np.zeros(0)

    @property
    def guides(self) -> NDArray[np.int32]:
        """The place in `encoders` of each avatar's guiding encoder, (N,)."""
        return np.frombuffer(self._guides, np.int32) if len(self) else np.zeros(0, np.int32)

    def known(self, measure: Measure, guide: int | None = None) -> NDArray[np.float64]:
        """Return the values (K,) that there are: of all avatars, or of those that one encoder guided."""
        values = self.values(measure)
        if guide is not None:
            values = values[self.guides == guide]
        return values[np.isfinite(values)]

    def spread(self, measure: Measure, guide: int | None = None) -> Spread | None:
        """Return how a measure is spread over all avatars, or those that one encoder guided; None of no values."""
        values = self.known(measure, guide)
        if not len(values):
            return None
        beyond = 0 if measure.limit is None else int(((values - measure.limit) * measure.better < 0).sum())
        lowest, p05, median, p95, highest = np.quantile(values, _QUANTILES).tolist()
        return Spread(measure, len(values), lowest, p05, median, p95, highest, beyond)

    def spreads(self) -> Iterator[Spread]:
        """Yield the spread of every measure that has values, but those of fit to prompts, which encoders divide."""
        for measure in MEASURES:
            found = None if measure.group == "fit" else self.spread(measure)
            if found is not None:
                yield found
