"""Milliseconds of a texturing step by part, on the product's own step with probes about its functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from avatar_core.fields import AvatarField, BodySdf, BodySurface, field_renderer, hash_encoding, shell
from avatar_core.fields.shell import Glance, Shell
from avatar_core.stages import texturing
from avatar_core.stages.texturing import Config, TexturingRun
from avatar_core.stages.texturing_ledger import Ledger

from .figures import Figure
from .part_timer import OTHER, PartTimer, Probe
from .workbench import Say, Workbench

PARTS = (
    "views",
    "rays",
    "learned distances",
    "compositing",
    "closest points",
    "normals",
    "learned colours",
    "colours",
    "painting",
    "CLIP forward",
    "losses",
    "backward",
    "optimiser",
    OTHER,
)
"""What a step consists of, in its order."""
CLIP_BACKWARD = ("backward", "CLIP")


@dataclass(frozen=True)
class StepTimes:
    """Seconds of one step, or the mean of several."""

    parts: dict[tuple[str, str], float]
    """By part and detail; they add up to the step."""
    rays: float
    """Rays that were sampled."""

    @property
    def total(self) -> float:
        """Seconds of the whole step."""
        return sum(self.parts.values())

    @property
    def clip(self) -> float:
        """Seconds of the image-text model, forward and backward."""
        return self.part("CLIP forward") + self.parts.get(CLIP_BACKWARD, 0.0)

    def part(self, name: str) -> float:
        """Seconds of a part with all of its details."""
        return sum(seconds for (part, _), seconds in self.parts.items() if part == name)


class StepMeter:
    """Takes steps of a run and tells where their time went.

    Args:
        run: takes the steps.
        clock: seconds.
        detailed: whether to tell all parts apart, or the image-text model from the rest alone.
    """

    def __init__(self, run: TexturingRun, clock: Callable[[], float], *, detailed: bool = True) -> None:
        self._run, self._timer = run, PartTimer(clock)
        self._rays = 0
        count = Probe(Glance, "rays", part="rays" if detailed else "", seen=self._count)
        others = step_probes(run) if detailed else ()
        self._probes = (count, *others, clip_probe(run, self._timer))

    def step(self, number: int) -> StepTimes:
        """Take the step with this number."""
        self._run.step = number
        if self._run.queued:  # as the step before it, which need not have been this one, would have done
            self._run.look_ahead(number)
        with self._timer.probing(*self._probes), self._timer.span(OTHER):
            self._run.advance()
        return StepTimes(self._timer.take(), self._rays)

    def _count(self, arguments: tuple[Any, ...], result: Any) -> None:
        self._rays = len(result)


def step_probes(run: TexturingRun) -> tuple[Probe, ...]:
    """Return the probes of a step's parts, but for the image-text model."""
    return (
        Probe(texturing, "draw_views", "views"),
        Probe(Shell, "look", "rays"),
        Probe(field_renderer, "stratified_depths", "rays"),
        Probe(AvatarField, "residual", "learned distances"),
        Probe(field_renderer, "composite", "compositing"),
        Probe(BodySurface, "closest", "closest points"),
        Probe(AvatarField, "gradient_of", "normals"),
        Probe(AvatarField, "color_change", "learned colours"),
        Probe(AvatarField, "albedo", "colours"),
        Probe(AvatarField, "answer", "painting"),
        Probe(texturing, "neighbours", "losses"),
        Probe(texturing, "guided_images", "losses"),
        Probe(texturing, "total_loss", "losses"),
        Probe(Ledger, "note", "losses"),
        Probe(Ledger, "look", "losses"),
        Probe(Tensor, "backward", "backward"),
        Probe(run.optimizer, "step", "optimiser"),
        Probe(run.optimizer, "zero_grad", "optimiser"),
        Probe(shell, "launch", detail="casts and look-ups along rays"),
        Probe(BodySdf, "distance", detail="grid look-ups"),
        Probe(hash_encoding, "launch", detail="hash encodings"),
        Probe(hash_encoding, "launch_side_by_side", detail="hash encodings"),
        Probe(run.field.geometry_head, "forward", detail="small networks"),
        Probe(run.field.color_head, "forward", detail="small networks"),
    )


def clip_probe(run: TexturingRun, timer: PartTimer) -> Probe:
    """Return the probe of the image-text model, whose hooks tell its part of the backward pass too."""

    def hook(arguments: tuple[Any, ...], features: Any) -> None:
        images = arguments[-1]
        if features.requires_grad and images.grad_fn is not None:
            # Hooks run just before the node that made their tensor: these two stand about the model's own nodes.
            features.register_hook(lambda grad: timer.enter(*CLIP_BACKWARD))
            images.register_hook(lambda grad: timer.leave())

    return Probe(type(run.guide), "encode_images", "CLIP forward", seen=hook)


def middle_steps(config: Config, resolution: int, count: int) -> range:
    """Return `count` step numbers in the middle of the part of a run that is rendered at `resolution`."""
    at = [step for step in range(config.steps) if config.resolution_at(step / config.steps) == resolution]
    first = max(at[0], (at[0] + at[-1] + 1 - count) // 2)
    return range(first, first + count)


def typical(steps: Sequence[StepTimes]) -> StepTimes:
    """Return the mean of the middle half of `steps` by their totals: parts that still add up, without outliers."""
    ranked = sorted(steps, key=lambda one: one.total)
    quarter = len(ranked) // 4
    kept = ranked[quarter : len(ranked) - quarter]
    keys = sorted({key for one in kept for key in one.parts})
    parts = {key: sum(one.parts.get(key, 0.0) for one in kept) / len(kept) for key in keys}
    return StepTimes(parts, sum(one.rays for one in kept) / len(kept))


def measure(bench: Workbench, repeats: int, warmup: int, say: Say) -> list[Figure]:
    """Return the milliseconds of the preset's step by part at each of its resolutions."""
    config = bench.preset.texturing
    figures: list[Figure] = []
    total = len(config.resolutions) * (repeats + warmup)
    for index, resolution in enumerate(config.resolutions):
        run = bench.texturing()
        detailed, plain = (StepMeter(run, bench.clock, detailed=detailed) for detailed in (True, False))
        numbers = middle_steps(config, resolution, repeats)
        taken: list[tuple[StepTimes, StepTimes]] = []
        for number in [numbers[0]] * warmup + list(numbers):
            say(index * (repeats + warmup) + len(taken), total, f"steps at {resolution} px")
            taken.append((detailed.step(number), plain.step(number)))
        probed, unprobed = (typical(times) for times in zip(*taken[warmup:]))
        figures += _figures(probed, unprobed, f"{resolution} px")
    return figures


def _figures(detailed: StepTimes, plain: StepTimes, setting: str) -> list[Figure]:
    def figure(name: str, value: float, unit: str = "ms") -> Figure:
        return Figure("steps", name, value, unit, setting)

    figures = [figure("rays a step", detailed.rays, "rays")]
    for part in PARTS:
        figures.append(figure(part, 1e3 * detailed.part(part)))
        inside = {detail: seconds for (of, detail), seconds in detailed.parts.items() if of == part and detail}
        figures += [figure(f"{part}: {detail}", 1e3 * seconds) for detail, seconds in sorted(inside.items())]
    figures.append(figure("total", 1e3 * detailed.total))
    figures.append(figure("total without these probes", 1e3 * plain.total))
    return figures
