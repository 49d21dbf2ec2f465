"""How a step's time grows with resolution, samples a ray and views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from avatar_core.stages.texturing import Config

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
"""What is varied. A setting of several avatars a step would be one more axis."""
QUICK_AXES = (
    Axis("resolutions", (16, 24), "px"),
    Axis("intervals", (2, 4), "samples a ray"),
    Axis("views_per_step", (1, 2), "views"),
)


def measure(bench: Workbench, axes: tuple[Axis, ...], repeats: int, warmup: int, say: Say) -> list[Figure]:
    """Return milliseconds and rays of a step along each of `axes`, at the preset's last resolution otherwise."""
    last = bench.preset.texturing.resolutions[-1]
    base = Config.model_validate(bench.preset.texturing.model_dump() | {"resolutions": (last,)})
    figures: list[Figure] = []
    total, done = sum(len(axis.values) for axis in axes), 0
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
    return figures


def _step(bench: Workbench, config: Config, repeats: int, warmup: int) -> Mapping[str, float]:
    run = bench.texturing(config)
    meter = StepMeter(run, bench.clock, detailed=False)
    numbers = middle_steps(config, config.resolutions[-1], repeats)
    times = [meter.step(number) for number in [numbers[0]] * warmup + list(numbers)]
    step = typical(times[warmup:])
    return {"ms": 1e3 * step.total, "ms without CLIP": 1e3 * (step.total - step.clip), "rays": step.rays}
