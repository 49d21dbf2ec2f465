"""How texturing survives steps that fail: what counts as failed, and how much smaller the steps become then."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

SMALLEST_EDGE = 16
"""Views are not halved below this, pixels."""
GPU_CHECK_EVERY = 10
"""Steps on a GPU that are looked at together."""
SMALL_LOSS = 0.1
"""Losses below this are as good as this: they may multiply."""
Kind = Literal["divergence", "memory", "plateau"]
_NO_MEMORY = ("can't allocate memory", "not enough memory", "failed to allocate", "out of memory")
"""What torch's CPU allocator, Warp and CUDA say, in lower case, in errors that have no class of their own."""


class RecoveryConfig(BaseModel):
    """When a run goes back to its last good state, and how often."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rollbacks: int = Field(3, ge=0)
    """Times that a run which diverges goes back; the next time it fails."""
    rate_factor: float = Field(0.5, gt=0, lt=1)
    """What the learning rates are multiplied by each time."""
    explosion: float = Field(3.0, gt=1)
    """A loss of so many times the median of the last steps' counts as divergence."""
    explosion_window: int = Field(20, ge=1)
    """How many steps those are."""
    check_every: int | None = Field(None, ge=1)
    """Steps that are looked at together, checkpoints in between apart; by default each one at once on a CPU, and ten on
    a GPU, which has to be waited for."""

    def looked_at_together(self, device: torch.device) -> int:
        """Return how many steps are taken before anyone looks at their numbers."""
        return self.check_every or (GPU_CHECK_EVERY if device.type == "cuda" else 1)


@dataclass(frozen=True)
class Effort:
    """How large the steps of a run still are."""

    rate_factor: float = 1.0
    """Factor on all learning rates."""
    halvings: int = 0
    """How often a step's pixels were halved for want of memory."""

    def step_size(self, views: int, edge: int) -> tuple[int, int]:
        """Return what is left of a step's views and of their edge in pixels: views are halved first, to one."""
        for _ in range(self.halvings):
            if views > 1:
                views //= 2
            else:
                edge = max(edge // 2, min(edge, SMALLEST_EDGE))
        return views, edge

    def can_halve(self, views: int, edge: int) -> bool:
        """Tell whether a step of so many views of that edge can be made smaller yet."""
        left, pixels = self.step_size(views, edge)
        return left > 1 or pixels // 2 >= SMALLEST_EDGE

    def slower(self, factor: float) -> Effort:
        """Return the effort with the learning rates multiplied by `factor`."""
        return replace(self, rate_factor=self.rate_factor * factor)

    def halved(self) -> Effort:
        """Return the effort with steps of half the size."""
        return replace(self, halvings=self.halvings + 1)


@dataclass(frozen=True)
class Setback:
    """A step that failed, and how the run can go on."""

    step: int
    kind: Kind
    reason: str
    effort: Effort
    """What to go on with."""


@dataclass(frozen=True)
class Event:
    """Something out of the ordinary in the course of a run, as the report tells it."""

    step: int
    """The step that failed, or after which the run ended."""
    kind: Kind
    reason: str
    back_to: int
    """The step after which the run went on; `step` where it did not go back."""
    rate_factor: float
    """What all learning rates are multiplied by from then on."""
    views: int
    """Views of a step from then on."""
    edge: int
    """Edge of that step's views from then on, pixels."""

    def told(self) -> str:
        """Return the event in words."""
        if self.kind == "plateau":
            return f"ended early: {self.reason}"
        smaller = f"{self.views} x {self.edge} x {self.edge} pixels a step"
        slower = f"learning rates x {self.rate_factor:g}"
        return f"{self.reason}; back to step {self.back_to}, {slower if self.kind == 'divergence' else smaller}"


class Diverged(Exception):
    """A step that must not be taken; the message says why. Never leaves texturing."""


def check_loss(loss: float, history: Sequence[Mapping[str, float]], config: RecoveryConfig) -> None:
    """Raise Diverged where a step's loss is not finite, or explodes against those of the steps before."""
    if not math.isfinite(loss):
        raise Diverged(f"the loss is {loss}")
    recent = [entry["loss"] for entry in history[-config.explosion_window :]]
    if recent and loss > config.explosion * max(median(recent), SMALL_LOSS):
        raise Diverged(f"the loss rose from {median(recent):.3g} to {loss:.3g}")


def check_gradient(norm: float) -> None:
    """Raise Diverged where the norm of a step's gradient is not finite, as it is where any of its numbers is not."""
    if not math.isfinite(norm):
        raise Diverged("a gradient is not finite")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error is for want of memory, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)


def setback_of(
    error: Exception, step: int, effort: Effort, views: int, edge: int, config: RecoveryConfig
) -> Setback:
    """Return how a run goes on whose step number `step` failed by `error`.

    Args:
        error: what the step raised.
        step: number of the step.
        effort: what it was taken with.
        views: views of a step, before any effort was spared.
        edge: of that step's views, pixels, likewise.
        config: how much slower a run that diverged goes on.
    Raises:
        MemoryError: the smallest step was too large for the memory.
        Exception: `error` itself, where it tells of neither divergence nor want of memory.
    """
    if isinstance(error, Diverged):
        return Setback(step, "divergence", str(error), effort.slower(config.rate_factor))
    if not is_out_of_memory(error):
        raise error
    if not effort.can_halve(views, edge):
        left, pixels = effort.step_size(views, edge)
        raise MemoryError(
            f"texturing's step {step} runs out of memory even with {left} view of {pixels} pixels; free some memory, "
            "or use a smaller preset"
        ) from error
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return Setback(step, "memory", reason, effort.halved())
