"""What whole stages ask of a device, and what stays on the processor, whatever the device.

An avatar is made here twice: as it is, by the clock, and under counters. Seconds inside torch's operations and mesh
queries are taken off the clock's, as a device would do them; all others stay: Python, unwrapping, decimation, pictures
and films being written. The counters' own seconds are in neither.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import warp as wp
import yaml
from torch.utils.flop_counter import FlopCounterMode

from avatar_core.config import Preset
from avatar_core.stages import export_refine
from avatar_core.stages.motion_generators.latent import LatentMotion
from tasks.models import load_models

from . import whole_avatar
from .part_timer import PartTimer, Probe
from .step_counts import Counter, Counts, WarpCounter
from .workbench import Workbench

SHORT = {"steps": 0, "search": {"starts": 8, "kept_starts": 1, "passes": 1}}
"""Texturing dresses the avatar that the other stages are counted on, and does not optimise it."""
REFITTED = 128
"""Bytes that a triangle's share of a hierarchy has, which refitting reads and writes."""
COUNTED_STEPS = 3
"""Steps that are taken of a stage's own loop, before it is grown to the preset's; the first warms up."""


class Stopwatch:
    """Tells the seconds of a clock, as counts of which all else is nothing."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time what is done inside the block."""
        yield

    def read(self) -> Counts:
        """Return the seconds until now."""
        return Counts(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, host=self._clock())


class Tally:
    """Adds up what code asks of a device; `host` is what it spends on that here, below zero.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._torchs, self._warps = Counter(clock), WarpCounter()
        self._flops, self._inside = FlopCounterMode(display=False), PartTimer(clock)
        self._queries = PartTimer(clock)
        self._refitted = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what is done inside the block."""
        refit = Probe(wp.Mesh, "refit", "inside", seen=self._see_refit)
        with ExitStack() as stack:
            stack.enter_context(self._queries.probing(*self._warps.probes))
            stack.enter_context(self._inside.probing(Probe(wp, "launch", "inside"), refit))
            # The one entered first is the innermost: nothing but an operation itself is inside of its seconds.
            stack.enter_context(self._torchs)
            stack.enter_context(self._flops)
            yield

    def read(self) -> Counts:
        """Return all until now."""
        return Counts(
            clip_flops=0.0,
            other_flops=float(self._flops.get_total_flops()),
            streamed=self._torchs.streamed + self._refitted,
            gathered=self._warps.gathered,
            queries=self._warps.queries,
            kernels=self._torchs.kernels,
            own_kernels=self._warps.kernels,
            host=-self._torchs.seconds - sum(self._inside.seconds.values()),
        )

    def _see_refit(self, arguments: tuple[Any, ...], result: None) -> None:
        self._refitted += REFITTED * arguments[0].indices.size / 3


@dataclass(frozen=True)
class StageCounts:
    """A stage of a whole avatar."""

    stage: str
    counts: Counts
    """What it asks for, with all the steps of its loop."""
    clock: float
    """Seconds that it took here, with the few steps that were taken."""


def count_stages(preset: Preset, bench: Workbench) -> list[StageCounts]:
    """Make an avatar that is dressed and not optimised; count all stages but texturing.

    Of the loops that motion and the texture's refinement have, a few steps are taken, and grown to the preset's.
    """
    load_models("anny", "bodyclip", str(bench.context.device))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # seconds of one clock can be taken off those of the other
    try:
        taken, counted = (_make(preset, bench, meter) for meter in (Stopwatch(bench.clock), Tally(bench.clock)))
    finally:
        torch.set_num_threads(threads)
    found = []
    for stage, one in taken.items():
        both = one.counts + counted[stage].counts
        if stage != "texturing":
            found.append(StageCounts(stage, replace(both, host=max(0.0, both.host)), one.clock))
    return found


def _make(preset: Preset, bench: Workbench, meter: Stopwatch | Tally) -> dict[str, StageCounts]:
    """What the meter reads of each stage."""
    steps = {"motion": preset.motion.steps, "export": preset.export.refine.steps}
    short = {name: min(count, COUNTED_STEPS) for name, count in steps.items()}
    changed = {
        "extends": preset.name,
        "texturing": SHORT,
        "motion": {"steps": short["motion"]},
        "export": {"refine": {"steps": short["export"]}},
    }
    taken: list[Counts] = []
    found: dict[str, StageCounts] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, ExitStack() as stack:
        path = Path(folder) / "dressed.yaml"
        path.write_text(yaml.safe_dump(changed), encoding="utf-8")
        stack.enter_context(meter.running())
        for loop in (LatentMotion, export_refine._Work):
            stack.enter_context(_kept(loop, meter, taken))
        before = meter.read()
        for cost in whole_avatar.make(str(path), bench, whole_avatar.STAGES):
            counts = meter.read() - before
            if taken:
                repeats = steps[cost.stage] / short[cost.stage]
                typical = sum_of(taken[1:] or taken) * (len(taken) / max(len(taken) - 1, 1))
                counts = counts - sum_of(taken) + typical * repeats
                taken.clear()
            found[cost.stage] = StageCounts(cost.stage, counts, cost.clock)
            before = meter.read()
    return found


@contextmanager
def _kept(loop: type, meter: Stopwatch | Tally, taken: list[Counts]) -> Iterator[None]:
    """Keep what each step of a loop asks for, beside the sum of all."""
    advance = loop.advance

    def counted(*arguments: Any) -> Any:
        before = meter.read()
        result = advance(*arguments)
        taken.append(meter.read() - before)
        return result

    with patch.object(loop, "advance", counted):
        yield


def sum_of(counts: Sequence[Counts]) -> Counts:
    """Add up at least one."""
    return reduce(Counts.__add__, counts)
