"""This project's texturing step against the naive NeuS's, in turn, on the same views and rays."""

from __future__ import annotations

from statistics import median
from typing import Any

import torch

from avatar_core.fields.shell import Glance, ShellRays
from avatar_core.seeds import torch_generator
from avatar_core.stages.texturing import Drawn, TexturingRun
from avatar_core.stages.texturing_views import Views

from .figures import Figure
from .naive_step import NaiveStep, NaiveTimes
from .part_timer import PartTimer, Probe
from .steps import StepMeter, StepTimes, middle_steps
from .workbench import Say, Workbench

SAMPLES = 64
"""Samples a ray of the naive step, as AvatarCLIP's 32 + 32."""
CHUNK = 128
"""Rays of the naive step whose graph is held at once: about 0.7 GB."""


def measure(bench: Workbench, repeats: int, warmup: int, rays: int, say: Say, samples: int = SAMPLES) -> list[Figure]:
    """Return both steps' times and their ratios at each of the preset's resolutions.

    rays: how many of a step's rays the naive step renders, drawn at random; its time for them is grown linearly to
    all. 0 renders all.
    """
    config = bench.preset.texturing
    figures: list[Figure] = []
    total = len(config.resolutions) * (repeats + warmup)
    for index, resolution in enumerate(config.resolutions):
        duel = _Duel(bench, samples)
        numbers = middle_steps(config, resolution, repeats)
        for taken, number in enumerate([numbers[0]] * warmup + list(numbers)):
            say(index * (repeats + warmup) + taken, total, f"ours and naive at {resolution} px")
            duel.step(number, rays)
        figures += duel.figures(f"{resolution} px", warmup)
    return figures


class _Duel:
    """Takes a step of each in turn."""

    def __init__(self, bench: Workbench, samples: int) -> None:
        self._run = bench.texturing()
        subject, context = self._run.subject, bench.context
        self._generator = torch_generator(bench.seed, "benchmark", "naive")
        self._naive = NaiveStep(
            subject.body_centre.to(bench.context.device),
            0.6 * subject.body_size,
            context.encoder,
            self._run.targets,
            samples=samples,
            chunk=CHUNK,
            clay_share=self._run.config.losses.clay_share,
            generator=self._generator,
            clock=bench.clock,
        )
        self._meter = StepMeter(self._run, bench.clock, detailed=False)
        self._watcher = PartTimer(bench.clock)
        self._samples = samples
        self._times: list[tuple[StepTimes, NaiveTimes]] = []
        self._counts: list[tuple[int, int]] = []

    def step(self, number: int, limit: int) -> None:
        """Take the step `number` of ours, then one of the naive kind on at most `limit` of its rays."""
        views: list[Views] = []
        rays: list[ShellRays] = []

        def see_views(arguments: tuple[Any, ...], drawn: Drawn) -> None:
            if drawn.step == number:
                views.append(drawn.views)

        def see_rays(arguments: tuple[Any, ...], result: ShellRays) -> None:
            rays.append(result)

        probes = Probe(TexturingRun, "look_ahead", seen=see_views), Probe(Glance, "rays", seen=see_rays)
        with self._watcher.probing(*probes):
            ours = self._meter.step(number)
        order = torch.randperm(len(rays[0]), generator=self._generator).to(rays[0].pixel.device)
        chosen = order[: limit or None].sort().values
        self._times.append((ours, self._naive.advance(views[0], rays[0], chosen)))
        self._counts.append((len(rays[0]), len(chosen)))

    def figures(self, setting: str, warmup: int) -> list[Figure]:
        """Return the medians of the steps after the first `warmup`."""
        times, counts = self._times[warmup:], self._counts[warmup:]
        rays, timed = (median(count) for count in zip(*counts))
        grown = f"naive: {timed:,.0f} random rays timed, {self._samples} samples each, grown linearly to all rays"
        all_rays = f"naive: all rays timed, {self._samples} samples each"
        note = all_rays if timed == rays else grown

        def figure(name: str, values: list[float], unit: str = "ms", factor: float = 1e3) -> Figure:
            said = note if "naive" in name else ""
            return Figure("naive", name, factor * median(values), unit, setting, said)

        pairs = [(ours.total, ours.total - ours.clip, naive.total, naive.total - naive.clip) for ours, naive in times]
        whole, bare, naive_whole, naive_bare = (list(values) for values in zip(*pairs))
        return [
            Figure("naive", "rays a step", rays, "rays", setting),
            Figure("naive", "rays timed of the naive step", timed, "rays", setting),
            figure("our step", whole),
            figure("our step without CLIP", bare),
            figure("naive step", naive_whole),
            figure("naive step without CLIP", naive_bare),
            figure("naive step a ray", [naive.rays / rays for _, naive in times]),
            figure("naive / ours", [b / a for a, b in zip(whole, naive_whole)], "times", 1.0),
            figure("naive / ours, both without CLIP", [b / a for a, b in zip(bare, naive_bare)], "times", 1.0),
        ]
