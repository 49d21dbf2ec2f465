"""What the ways to make a motion have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.perception.prompts import motion_prompt
from avatar_core.priors.choices import EMBEDDED, load_motion_model, load_pose_model
from avatar_core.priors.features import KEY_FRAMES
from avatar_core.priors.motion_objective import FrameJudge, pose_vectors
from avatar_core.priors.motion_prior import MotionModel
from avatar_core.priors.pose_prior import PoseModel
from avatar_core.priors.view_encoders import ViewEncoder, load_view_encoder
from avatar_core.stages.base import StageContext


@dataclass(frozen=True, eq=False)
class Problem:
    """One action to be made: its poses and its words."""

    poses: Tensor
    """(K, 22, 3) axis-angle candidate poses, best first."""
    prompt: str
    """The action's words."""
    context: StageContext
    prior: str = EMBEDDED
    """Whose motions (see `priors.choices`)."""
    pose_prior: str = EMBEDDED
    """Whose poses the candidates are."""

    @cached_property
    def vae(self) -> MotionModel:
        """The motion prior."""
        return load_motion_model(self.prior, self.context.device)

    @cached_property
    def pose_model(self) -> PoseModel:
        """The prior that the candidate poses come from."""
        return load_pose_model(self.pose_prior, self.context.device)

    @cached_property
    def rotations(self) -> Tensor:
        """The candidate poses as (K, 22, 3, 3) local rotations."""
        return axis_angle_to_matrix(self.poses.to(self.context.device))

    @cached_property
    def vectors(self) -> Tensor:
        """The candidate poses as (K, 132) numbers that know no heading."""
        return pose_vectors(self.rotations)

    @cached_property
    def target(self) -> Tensor:
        """(D,) text feature of the prompt."""
        return self.context.encoder.encode_texts([motion_prompt(self.prompt)])[0].to(self.context.device).float()

    @cached_property
    def view(self) -> ViewEncoder:
        """How pictures of bodies get into the text space."""
        return load_view_encoder("motion", self.context.encoder, self.context.body, self.context.renderer)

    @cached_property
    def judge(self) -> FrameJudge:
        """Compares frames with the prompt."""
        return FrameJudge(self.context.body, self.view, self.target, self.context.renderer)

    @torch.no_grad()
    def score(self, rotations: Tensor) -> Tensor:
        """Mean score (n,) of the key frames of motions (n, T, 22, 3, 3) for the prompt."""
        scale = rotations.shape[1] / self.vae.frames
        keys = [int(frame * scale) for frame in KEY_FRAMES]
        return self.judge.scores(rotations[:, keys].flatten(0, 1)).unflatten(0, (-1, len(keys))).mean(1)


@dataclass(frozen=True, eq=False)
class Draft:
    """A motion as a generator leaves it: neither grounded nor facing anywhere in particular."""

    rotations: Tensor
    """(T, 22, 3, 3) local."""
    translation: Tensor
    """(T, 3) pelvis, metres."""
    standing: Tensor
    """(T, 2) bool, whether the left and the right foot stand."""
    score_before: float
    """Mean score of the key frames for the prompt, -1 to 1, of where it started."""
    score: float
    """The same of the result."""
    start: int
    """Place of the codebook entry that it started from; -1 where there was none."""
    diversity: float = 0.0
    """Mean distance of joints in metres between the motions that several seeds start from."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Each step's number, loss and parts of the loss before weighting."""


class MotionGenerator(Protocol):
    """Makes a motion of one action step by step, so that it can be interrupted."""

    step: int
    """Steps taken."""

    @property
    def steps(self) -> int:
        """Steps in all."""
        ...

    def begin(self) -> None:
        """Find where to start."""
        ...

    def advance(self) -> float:
        """Take one step and return its loss; raises DivergenceError when that is not finite."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to go on."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state` instead of beginning."""
        ...

    def result(self) -> Draft:
        """Return the motion."""
        ...
