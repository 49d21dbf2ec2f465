"""What an H200 would make of a preset, where none is at hand: a projection from counts taken here, not a measurement.

Operations, bytes, launches and mesh queries are counted on this machine and divided by what an H200 does of each;
seconds of what stays on the processor are measured here.

- Texturing: steps are counted one by one. As a step waits for nothing that the device does, the device and the
  processor that feeds it work side by side, and the slower of the two counts. Several avatars together share launches.
- The search for an outfit, and the other stages: the processor waits for the device, and both are added up.

What it leaves out: contention for memory and caches, clocks that fall under load, the pictures of the film and the two
scores, checkpoints, loading models, and that another processor than this one would feed the GPU.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch.utils.flop_counter import FlopCounterMode

from avatar_core.config import Preset
from avatar_core.fields.neus import composite
from avatar_core.stages import texturing
from avatar_core.stages.outfit_search import DressedRegions, search_outfit
from avatar_core.stages.texturing import Config, TexturingRun

from .figures import Figure
from .part_timer import PartTimer, Probe
from .stage_counts import StageCounts, count_stages
from .step_counts import Counter, Counts, count_step
from .steps import middle_steps
from .workbench import Say, Workbench

NAME = "projection"


@dataclass(frozen=True)
class Rate:
    """What is assumed of the device: a published peak and the part of it that is counted on."""

    name: str
    peak: float
    share: float
    unit: str
    why: str

    @property
    def value(self) -> float:
        """What is counted on, a second."""
        return self.peak * self.share


DATASHEET = "NVIDIA H200 Tensor Core GPU, datasheet (SXM, without sparsity)"
BF16 = Rate(
    "bfloat16 matrix products", 989e12, 0.25, "FLOP/s",
    f"{DATASHEET}; large models that are tuned well reach half of it, these small towers half of that",
)  # fmt: skip
FP32 = Rate(
    "float32 matrix products", 67e12, 0.2, "FLOP/s", f"{DATASHEET}; heads 32 wide and small batches fill no tiles"
)
STREAM = Rate(
    "bytes streamed", 4.8e12, 0.5, "B/s", f"{DATASHEET}; operations one by one, many too short to fill the pipes"
)
GATHER = Rate(
    "table bytes gathered", 4.8e12, 0.125, "B/s",
    f"{DATASHEET}; 8 of each 32-byte sector are used, and half of the rest lost; caches are not counted on",
)  # fmt: skip
QUERIES = Rate(
    "rays and closest points", 100e6, 1.0, "1/s",
    "Aila and Laine, HPG 2009: the order of incoherent rays a second on a GPU of 2008, kept as it is",
)  # fmt: skip
LAUNCH, WAIT = 10e-6, 50e-6
"""Seconds of the processor for a launch from Python with its part of the backward pass; for a wait for the device."""
LAUNCHES_TIMED = 1000
"""Launches of one of this package's own kernels, whose cost to the processor is measured."""
TOGETHER = (1, 4, 8, 16)
"""Avatars of a batch that are projected."""
SEARCH_SHARE = 4
"""The search for an outfit is counted with so many times fewer starts, and grown again."""


def measure(preset: Preset, bench: Workbench, say: Say) -> list[Figure]:
    """Return the projected seconds of an avatar by `preset`, and avatars an hour of a GPU, with what they come from."""
    config = preset.texturing
    figures = [Figure(NAME, f"assumed: {one.name}", one.value, one.unit, note=_why(one)) for one in _RATES]
    figures.append(Figure(NAME, "assumed: a launch", 1e6 * LAUNCH, "us", note="eager torch from Python, on the host"))
    own_launch = launch_seconds(bench)
    figures.append(Figure(NAME, "measured: a launch of an own kernel", 1e6 * own_launch, "us", note="on the host"))
    counted: list[tuple[Counts, Counts]] = []
    total = len(config.resolutions) + 2
    for done, edge in enumerate(config.resolutions):
        say(done, total, f"counting a step at {edge} px")
        counted.append(_count(bench, config, edge))
        figures += _counts(counted[-1][0], f"{edge} px")
    say(total - 2, total, "search for an outfit")
    search, searched = search_seconds(bench, config)
    say(total - 1, total, "the other stages")
    others = count_stages(preset, bench)
    figures += [*searched, *(figure for stage in others for figure in _stage_figures(stage))]
    host, device = sum(_host_seconds(one) for one in others), sum(device_seconds(one.counts) for one in others)
    for avatars in TOGETHER:
        parts = [step_parts(one, two, avatars, own_launch) for one, two in counted]
        every = config.steps / len(counted)
        steps = every * sum(max(part) for part in parts)
        texturing = steps + search
        figures += [
            Figure(NAME, "projected: a step, an avatar", 1e3 * steps / config.steps, "ms", f"{avatars} together"),
            *(Figure(NAME, f"projected: a step, {name}", 1e3 / len(counted) * sum(part[which] for part in parts), "ms",
                     f"{avatars} together") for which, name in enumerate(("the device", "the processor"))),
            Figure(NAME, "projected: texturing, an avatar", texturing, "s", f"{avatars} together"),
            Figure(NAME, "projected: whole avatar", texturing + host + device, "s", f"{avatars} together"),
            Figure(NAME, "projected: avatars an hour of a GPU", 3600 / (texturing + device), "1/h",
                   f"{avatars} together", "the other stages' processor seconds in processes beside it"),
            Figure(NAME, "projected: processors that keep up", host / (texturing + device), "cores",
                   f"{avatars} together", "like this one, for the other stages"),
        ]  # fmt: skip
    return sorted(figures, key=lambda one: one.name.startswith("projected"))


_RATES = (BF16, FP32, STREAM, GATHER, QUERIES)


def _why(rate: Rate) -> str:
    return f"{rate.share:.0%} of {rate.peak:.3g} {rate.unit}: {rate.why}"


def device_seconds(counts: Counts) -> float:
    """Return the seconds that the assumed device works on what was counted."""
    return (
        counts.clip_flops / BF16.value
        + counts.other_flops / FP32.value
        + counts.streamed / STREAM.value
        + counts.gathered / GATHER.value
        + counts.queries / QUERIES.value
    )


def step_parts(one: Counts, two: Counts, avatars: int, own_launch: float) -> tuple[float, float]:
    """Return the seconds an avatar of a step that `avatars` take together, from counts of one and of two.

    They are those of the device and those of the processor, which work side by side. Launches grow linearly: some are
    shared by all, the others are an avatar's own.

    own_launch: seconds of the processor for a launch of this package's own kernels.
    """
    shared, own = one * 2.0 - two, two - one
    launching = (shared * (1 / avatars) + own).kernels * LAUNCH
    launching += (shared * (1 / avatars) + own).own_kernels * own_launch
    return device_seconds(one), launching + one.host


def launch_seconds(bench: Workbench) -> float:
    """Seconds of the processor for a launch of one of this package's kernels, with its tensors handed over."""
    ray = torch.zeros(1, 2)
    composite(ray, ray, torch.ones(()))
    began = bench.clock()
    for _ in range(LAUNCHES_TIMED):
        composite(ray, ray, torch.ones(()))
    return (bench.clock() - began) / LAUNCHES_TIMED


def _count(bench: Workbench, config: Config, edge: int) -> tuple[Counts, Counts]:
    """Counts of a step of one avatar and of two, in the middle of those at a resolution."""
    (number,) = middle_steps(config, edge, 1)
    runs = [bench.texturing(config) for _ in range(2)]
    return count_step(runs[:1], number, bench.clock), count_step(runs, number, bench.clock)


def _counts(counts: Counts, setting: str) -> list[Figure]:
    rows = (
        ("CLIP, forward and backward", counts.clip_flops / 1e9, "GFLOP", counts.clip_flops / BF16.value),
        ("other matrix products", counts.other_flops / 1e9, "GFLOP", counts.other_flops / FP32.value),
        ("bytes streamed", counts.streamed / 1e6, "MB", counts.streamed / STREAM.value),
        ("table bytes gathered", counts.gathered / 1e6, "MB", counts.gathered / GATHER.value),
        ("rays and closest points", counts.queries / 1e3, "thousands", counts.queries / QUERIES.value),
        ("launches", counts.kernels, "launches", counts.kernels * LAUNCH),
    )
    figures = [Figure(NAME, f"counted: {name}", value, unit, setting) for name, value, unit, _ in rows]
    figures += [
        Figure(NAME, f"projected part: {name}", 1e3 * seconds, "ms", setting, "a step of one avatar")
        for name, _, _, seconds in rows
    ]
    drawn = Figure(NAME, "measured: drawing views", 1e3 * counts.host, "ms", setting, "on this processor")
    return [*figures, drawn]


def search_seconds(bench: Workbench, config: Config) -> tuple[float, list[Figure]]:
    """Seconds that the search for an outfit is projected to take, and where they come from."""
    if not config.outfit_search:
        return 0.0, []
    starts, kept = config.search.starts // SEARCH_SHARE, max(1, config.search.kept_starts // SEARCH_SHARE)
    smaller = config.search.model_copy(update={"starts": starts, "kept_starts": kept})
    run = TexturingRun(
        bench.avatar, bench.prompt, config.model_copy(update={"search": smaller}), bench.seed, bench.context
    )
    flops, torchs, batches = FlopCounterMode(display=False), Counter(), itertools.count()

    def counted(*arguments: Any) -> DressedRegions:
        """Count what the search does, and not the scores and pictures of the film around it."""
        encoding = Probe(type(run.context.encoder), "encode_images", seen=lambda *told: next(batches))
        with PartTimer(bench.clock).probing(encoding), flops, torchs:
            return search_outfit(*arguments)

    with patch.object(texturing, "search_outfit", counted):
        run.begin()
    scored = next(batches)
    rows = (
        ("matrix products, in float32", flops.get_total_flops() / 1e9, "GFLOP", flops.get_total_flops() / FP32.value),
        ("bytes streamed", torchs.streamed / 1e6, "MB", torchs.streamed / STREAM.value),
        ("launches", torchs.kernels, "launches", torchs.kernels * LAUNCH),
        ("batches scored, waited for", scored, "batches", scored * WAIT),
    )
    note = f"of one with a {SEARCH_SHARE}th of the starts, grown linearly"
    figures = [Figure(NAME, f"counted in the search: {name}", SEARCH_SHARE * value, unit, note=note)
               for name, value, unit, _ in rows]  # fmt: skip
    figures += [Figure(NAME, f"projected part of the search: {name}", SEARCH_SHARE * seconds, "s", note=note)
                for name, _, _, seconds in rows]  # fmt: skip
    return SEARCH_SHARE * sum(seconds for *_, seconds in rows), figures


def _host_seconds(stage: StageCounts) -> float:
    """Seconds of the processor, with those in which it launches what the device does."""
    return stage.counts.host + stage.counts.kernels * LAUNCH


def _stage_figures(stage: StageCounts) -> list[Figure]:
    return [
        Figure(NAME, f"measured: {stage.stage}, here", stage.clock, "s", note="with few steps of its loop"),
        Figure(NAME, f"projected part of a stage: {stage.stage}, the processor", _host_seconds(stage), "s"),
        Figure(NAME, f"projected part of a stage: {stage.stage}, the device", device_seconds(stage.counts), "s"),
    ]
