"""How long the rest of a run will take, from typical shares of the stages corrected by what was measured."""

import time
from collections import Counter
from collections.abc import Mapping

from tasks.work import StageWork

TYPICAL_SECONDS = {
    "coarse_shape": 3.0,
    "implicit_init": 3.0,
    "candidate_poses": 3.0,
    "motion": 30.0,
    "texturing": 90.0,
    "export": 40.0,
}
"""Shares of the stages before anything was measured."""

LONG_SECONDS = 20.0


class Estimate:
    """Time left, in terms of the stages still to compute."""

    def __init__(self, left: Mapping[str, int]) -> None:
        """Take how many results are to be computed, by stage."""
        self._left = Counter(left)
        self.count = sum(self._left.values())
        self.finished = 0
        self._measured: dict[str, list[float]] = {}
        self._started = 0.0
        self._fraction = 0.0
        self._current: str | None = None

    def start(self, work: StageWork) -> None:
        """A stage's computation begins."""
        self._started = time.monotonic()
        self._fraction = 0.0
        self._current = work.stage

    def step(self, done: int, total: int) -> None:
        """`done` of `total` steps of the running stage are finished."""
        self._fraction = done / total if total > 0 else 0.0

    def finish(self, work: StageWork, seconds: float, computed: bool) -> None:
        """A stage has its result."""
        self.finished += 1
        self._current = None
        if self._left[work.stage] > 0:
            self._left[work.stage] -= 1
        if computed:
            self._measured.setdefault(work.stage, []).append(seconds)

    def seconds_left(self) -> float | None:
        """Return the seconds left in all, or None before there is anything to go by."""
        if not self._measured and self._fraction <= 0:
            return None
        left = sum(self._stage_seconds(stage) * count for stage, count in self._left.items())
        if self._current is None or self._left[self._current] == 0:
            return left
        spent = time.monotonic() - self._started
        whole = spent / self._fraction if self._fraction > 0.05 else max(self._stage_seconds(self._current), spent)
        return left - self._stage_seconds(self._current) + max(whole - spent, 0.0)

    def _stage_seconds(self, stage: str) -> float:
        """Return the mean of what was measured, else the typical time at this machine's pace.

        The pace goes by the long stages: the short ones can hide work that is done once, such as a codebook's features.
        """
        if seconds := self._measured.get(stage):
            return sum(seconds) / len(seconds)
        long = {name: values for name, values in self._measured.items() if TYPICAL_SECONDS[name] >= LONG_SECONDS}
        typical = sum(TYPICAL_SECONDS[name] * len(values) for name, values in long.items())
        pace = sum(sum(values) for values in long.values()) / typical if typical else 1.0
        return TYPICAL_SECONDS[stage] * pace


def clock(seconds: float) -> str:
    """Return a duration for people: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
