"""How a step's time grows with resolution, samples a ray, views, and avatars at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from avatar_core.stages.texturing import Config
from avatar_core.stages.texturing_batch import advance_together

from .figures import Figure
from .steps import StepMeter, middle_steps, typical
from .workbench import Say, Workbench


@dataclass(frozen=True)
class Axis:
    """One setting that is varied while the others keep the preset's values."""

    name: str
    values: tuple[int, ...]
    unit: str

    def config(self, config: Config, value: int) -> Config:
        """Return `config` with the setting at `value`."""
        given = (value,) if self.name == "resolutions" else value
        return Config.model_validate(config.model_dump() | {self.name: given})


AXES = (
    Axis("resolutions", (32, 48, 64, 96, 128), "px"),
    Axis("intervals", (4, 8, 16, 32), "samples a ray"),
    Axis("views_per_step", (1, 3, 6, 12), "views"),
)
"""What is varied."""
TOGETHER, QUICK_TOGETHER = (1, 2, 4, 8), (1, 2)
"""Avatars of a batch."""
QUICK_AXES = (
    Axis("resolutions", (16, 24), "px"),
    Axis("intervals", (2, 4), "samples a ray"),
    Axis("views_per_step", (1, 2), "views"),
)


def measure(
    bench: Workbench, axes: tuple[Axis, ...], together: tuple[int, ...], repeats: int, warmup: int, say: Say
) -> list[Figure]:
    """Return milliseconds and rays of a step along each of `axes`, at the preset's last resolution otherwise, and
    milliseconds an avatar of steps that so many avatars take together."""
    last = bench.preset.texturing.resolutions[-1]
    base = Config.model_validate(bench.preset.texturing.model_dump() | {"resolutions": (last,)})
    figures: list[Figure] = []
    total, done = sum(len(axis.values) for axis in axes) + len(together), 0
    for axis in axes:
        measured: list[Mapping[str, float]] = []
        for value in axis.values:
            say(done, total, f"{value} {axis.unit}")
            measured.append(_step(bench, axis.config(base, value), repeats, warmup))
            done += 1
        for name, unit in (("ms", "ms"), ("rays", "rays"), ("ms without CLIP", "ms")):
            what = f"step by {axis.name.replace('_', ' ')}: {'rays' if unit == 'rays' else name}"
            figures += [
                Figure("scaling", what, one[name], unit, f"{value} {axis.unit}")
                for value, one in zip(axis.values, measured)
            ]
    for count in together:
        say(done, total, f"{count} avatars")
        seconds = _step_together(bench, base, count, repeats, warmup)
        done += 1
        what = "step by avatars at once: ms an avatar"
        figures.append(Figure("scaling", what, 1e3 * seconds / count, "ms", f"{count} avatars"))
    return figures


def _step_together(bench: Workbench, config: Config, count: int, repeats: int, warmup: int) -> float:
    """Seconds of a step that `count` avatars take together."""
    runs = {number: bench.texturing(config) for number in range(count)}
    times = []
    for number in middle_steps(config, config.resolutions[-1], warmup + repeats):
        for run in runs.values():
            run.step = number
        start = bench.clock()
        advance_together(list(runs), runs, {})
        times.append(bench.clock() - start)
    return median(times[warmup:])


def _step(bench: Workbench, config: Config, repeats: int, warmup: int) -> Mapping[str, float]:
    run = bench.texturing(config)
    meter = StepMeter(run, bench.clock, detailed=False)
    numbers = middle_steps(config, config.resolutions[-1], repeats)
    times = [meter.step(number) for number in [numbers[0]] * warmup + list(numbers)]
    step = typical(times[warmup:])
    return {"ms": 1e3 * step.total, "ms without CLIP": 1e3 * (step.total - step.clip), "rays": step.rays}
