"""Adam on several poses side by side, towards pictures that fit the prompt."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from avatar_core.errors import DivergenceError
from avatar_core.priors.kinematics import without_heading
from avatar_core.seeds import torch_generator
from avatar_core.stages.base import StageContext
from avatar_core.stages.pose_generators.base import PosePrior

SPREAD = 0.5
"""Standard deviation of a step's turns of the views, where the view encoder allows any azimuth, radians."""


class AscentConfig(BaseModel):
    """Settings that both optimising methods have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    draws: int = Field(1024, ge=1)
    """Codebook entries drawn at random, whose best by their stored features are the starts."""
    starts: int = Field(6, ge=1)
    """Poses that are optimised side by side."""
    steps: int = Field(40, ge=0)
    """Steps of Adam, whose learning rate falls linearly to nothing; AvatarCLIP takes 500."""
    attitude_weight: float = Field(0.5, ge=0)
    """Of the pelvis's mean squared 6D difference from the start's."""


def ascend(
    parameters: list[Tensor],
    poses: Callable[[], Tensor],
    penalty: Callable[[Tensor], Tensor],
    *,
    prior: PosePrior,
    config: AscentConfig,
    learning_rate: float,
    seed: int,
    name: str,
    context: StageContext,
) -> Tensor:
    """Optimise `parameters` and return each start's best pose on the way, (n, 22, 3, 3) without heading.

    poses: makes rotations (n, 22, 3, 3) of the parameters; penalty: what is added to one minus the score of each of
    them, (n,); name: of the method, for messages and draws.

    Raises DivergenceError when a pose or the loss is not finite.
    """
    steps = config.steps
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    best, least = poses().detach(), torch.full((), torch.inf)
    for step in range(steps + 1):
        generator = torch_generator(seed, name, "step", str(step))
        rotations = poses()
        _check(_are_rotations(rotations), step, name)
        turns = torch.randn(len(rotations), generator=generator) * SPREAD
        loss = 1 - prior.judge.scores(rotations, turns) + penalty(rotations)
        value = float(loss.detach().mean())
        _check(math.isfinite(value), step, name)
        better = loss.detach() < least
        best = torch.where(better[:, None, None, None], rotations.detach(), best)
        least = torch.where(better, loss.detach(), least)
        if step == steps:
            break
        for group in optimizer.param_groups:  # falls linearly, so that the last steps settle
            group["lr"] = learning_rate * (1 - step / steps)
        optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        optimizer.step()
        context.progress(step + 1, steps, f"loss {value:.3f}")
    return without_heading(best)


@torch.no_grad()
def _are_rotations(matrices: Tensor) -> bool:
    """Tell whether all determinants are about one; 6D numbers that overflow make matrices of zeros."""
    return bool((torch.linalg.det(matrices) - 1).abs().max() < 0.01)


def _check(well: bool, step: int, name: str) -> None:
    if not well:
        raise DivergenceError(
            f"candidate_poses: the numbers of {name} are not finite any more at step {step}: run it again with another "
            f"seed, or lower candidate_poses.{name}.learning_rate (half is a good first try)"
        )
