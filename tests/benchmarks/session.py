"""One session of the benchmark: the parts that were asked for, measured one after another with their memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from avatar_core.config import Preset, load_preset
from tasks.measuring import Cost, peak_memory_mb, reset_peak_memory

from . import comparison, extraction, projection, scaling, scores, steps, whole_avatar
from .figures import Figure
from .machine import clock_of, machine_facts
from .workbench import Say, Workbench

FORMAT = 1
"""Version of the JSON object."""


@dataclass(frozen=True)
class Effort:
    """How much is measured; the defaults are for figures that mean something."""

    repeats: int = 20
    """Steps that count, a setting."""
    warmup: int = 3
    """Steps before those, which do not."""
    naive_repeats: int = 5
    """Steps of ours and of the naive kind that count, in turn."""
    naive_rays: int = 512
    """Rays that a naive step times; 0 for all."""
    naive_samples: int = comparison.SAMPLES
    """Samples on each."""
    scaling_repeats: int = 8
    """Steps that count along the scaled settings."""
    score_every: int = 10
    """Steps between two scores of a run."""
    target_score: float | None = None
    """A score to tell the steps to, as a cosine."""
    factors: tuple[float, ...] = extraction.FACTORS
    """Cells of the extractions, in the preset's."""
    axes: tuple[scaling.Axis, ...] = scaling.AXES
    """Settings that are varied."""
    together: tuple[int, ...] = scaling.TOGETHER
    """Avatars that take steps together."""
    presets: tuple[str, ...] = ("tiny", "draft")
    """Of the whole avatars."""
    projected: str = "standard"
    """Preset that a GPU's time is projected for."""


QUICK = Effort(
    repeats=2,
    warmup=1,
    naive_repeats=1,
    naive_rays=32,
    naive_samples=8,
    scaling_repeats=1,
    score_every=3,
    factors=(2.0,),
    axes=scaling.QUICK_AXES,
    together=scaling.QUICK_TOGETHER,
    presets=("tiny",),
    projected="tiny",
)
"""For trying the command out."""


@dataclass(frozen=True)
class Request:
    """What is measured, and where."""

    preset: Preset
    prompt: str
    seed: int
    device: torch.device
    time: str
    """Which of `machine.CLOCKS`."""
    effort: Effort
    parts: Sequence[str]
    """Of PARTS."""
    quick: bool
    """Whether the figures are for trying out alone."""


Part = Callable[[Workbench, Effort, Say], list[Figure]]
Bar = Callable[[str], AbstractContextManager[Say]]
"""Gives the part of a name something to tell its progress to."""

PARTS: dict[str, Part] = {
    "steps": lambda bench, effort, say: steps.measure(bench, effort.repeats, effort.warmup, say),
    "naive": lambda bench, effort, say: comparison.measure(
        bench, effort.naive_repeats, effort.warmup, effort.naive_rays, say, effort.naive_samples
    ),
    "scores": lambda bench, effort, say: scores.measure(bench, effort.score_every, effort.target_score, say),
    "extraction": lambda bench, effort, say: extraction.measure(bench, effort.factors, say),
    "scaling": lambda bench, effort, say: scaling.measure(
        bench, effort.axes, effort.together, effort.scaling_repeats, effort.warmup, say
    ),
    "avatar": lambda bench, effort, say: whole_avatar.measure(effort.presets, bench, say),
    "projection": lambda bench, effort, say: projection.measure(load_preset(effort.projected), bench, say),
}
"""What can be measured, in the order of the table."""


def measure(request: Request, bar: Bar) -> tuple[list[Figure], dict[str, Any]]:
    """Measure what was asked for; return its figures, and with machine and settings as a JSON object."""
    machine = machine_facts(request.device)
    figures: list[Figure] = []
    memory: list[Figure] = []
    with bar("preparing") as say:
        clock = clock_of(request.device, request.time)
        bench = Workbench.prepare(request.preset, request.prompt, request.seed, request.device, clock, say)
    for name in request.parts:
        with bar(name) as say:
            part = functools.partial(PARTS[name], bench, request.effort, say)
            measured, costs = _with_memory(name, part, request.device)
        figures += measured
        memory += costs
    figures += memory
    result = {
        "format": FORMAT,
        "machine": machine,
        "settings": _settings(request),
        "figures": [figure.to_json() for figure in figures],
    }
    return figures, result


def _with_memory(
    name: str, part: Callable[[], list[Figure]], device: torch.device
) -> tuple[list[Figure], list[Figure]]:
    """Return the figures of a part, and what it took of memory and time."""

    def figure(what: str, value: float, unit: str) -> Figure:
        return Figure("memory", what, value, unit, name)

    reset_peak_memory()
    before = peak_memory_mb()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with Cost() as cost:
        figures = part()
    costs = [
        figure("resident before a part", before, "MB"),
        figure("peak resident in a part", cost.peak_mb, "MB"),
        figure("a part took, as the clock on the wall has it", cost.seconds, "s"),
    ]
    if device.type == "cuda":
        allocated = torch.cuda.max_memory_allocated(device) / 2**20
        costs.append(figure("peak allocated on the device in a part", allocated, "MB"))
    return figures, costs


def _settings(request: Request) -> dict[str, Any]:
    effort = asdict(request.effort)
    effort["axes"] = {axis.name: list(axis.values) for axis in request.effort.axes}
    return {
        "preset": request.preset.name,
        "texturing": request.preset.texturing.model_dump(mode="json"),
        "prompt": request.prompt,
        "seed": request.seed,
        "time": request.time,
        "quick": request.quick,
        "parts": list(request.parts),
        "effort": effort,
    }
