"""What every generator of candidate poses is given, what it returns, and how poses are scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from avatar_core.bodies.rotations import geodesic_angle
from avatar_core.priors.choices import EMBEDDED, load_pose_codebook, load_pose_model
from avatar_core.priors.features import codebook_features
from avatar_core.priors.motion_objective import FrameJudge
from avatar_core.priors.view_encoders import ViewEncoder, load_view_encoder
from avatar_core.seeds import torch_generator
from avatar_core.stages.base import StageContext

TURNS: tuple[float, ...] = (0.0, 0.7, -0.7)
"""By how much the views of a final score are turned, where the view encoder allows any azimuth, radians."""
START_ANGLE = 0.25
"""By how much starts of an optimisation differ at least: mean angle over the joints, radians."""


@dataclass(frozen=True, eq=False)
class ScoredPoses:
    """Many poses with their scores, in any order."""

    rotations: Tensor
    """(n, 22, 3, 3) local rotations relative to the T-pose; the pelvis's attitude is without heading."""
    scores: Tensor
    """(n,) mean over several views of how well each fits the prompt, -1 to 1."""
    entries: Tensor
    """(n,) the codebook entry that each is, began at, or has its pelvis's attitude from."""

    def best(self, count: int, least_angle: float, least_share: float = 0.0) -> ScoredPoses:
        """Return up to `count` of the best, best first, each more than `least_angle` radians from those before it.

        least_share: poses whose scores fall short of the best one's by more than the rest of it are left out.
        """
        order = self.scores.argsort(descending=True, stable=True)
        best = self.scores[order[0]]
        order = order[self.scores[order] >= best - (1 - least_share) * best.abs()] if least_share else order
        chosen = order[distinct(self.rotations[order], least_angle, count)]
        return ScoredPoses(self.rotations[chosen], self.scores[chosen], self.entries[chosen])


class PoseGenerator(Protocol):
    """One method; its settings are given when it is made."""

    def generate(self, prompt: str, *, seed: int, context: StageContext) -> ScoredPoses:
        """Return poses that fit a prompt.

        prompt: as `perception.prompts.motion_prompt` makes it; seed: decides every draw.
        """
        ...


class PosePrior:
    """The pose VAE, its codebook and the judge of a prompt, which all methods share."""

    def __init__(self, prompt: str, context: StageContext, prior: str = EMBEDDED) -> None:
        """prompt: as the encoder gets it; prior: whose model and codebook (see `priors.choices`)."""
        self.device, self.name = context.device, prior
        self.target = context.encoder.encode_texts([prompt])[0].to(self.device).float()
        self.vae, self.book = load_pose_model(prior, self.device), load_pose_codebook(prior)
        self.view: ViewEncoder = load_view_encoder(
            "pose", context.encoder, context.body, context.renderer
        )
        self.judge = FrameJudge(context.body, self.view, self.target, context.renderer)

    def rotations(self, index: Tensor | None = None) -> Tensor:
        """Return local rotations (n, 22, 3, 3), pelvis included, of codebook entries `index` (n,) (by default all)."""
        return self.book.rotations(self.vae, index, self.device)

    @torch.no_grad()
    def score(self, rotations: Tensor) -> Tensor:
        """Mean score (n,) over the views of poses (n, 22, 3, 3)."""
        turns: Sequence[float] = TURNS if self.view.free_azimuth else (0.0,)
        scores = [self.judge.scores(rotations, torch.full((len(rotations),), turn)) for turn in turns]
        return torch.stack(scores).mean(0)

    def looks(self, context: StageContext) -> Tensor:
        """Return what every codebook entry scores by its stored features (N,), on the CPU: one matrix product."""
        features = codebook_features(
            "pose", context.encoder, context.body, prior=self.name, renderer=context.renderer, progress=context.progress
        )
        return self.view.search(features, self.target.to(features)).cpu()

    def starts(self, draws: int, count: int, seed: int, name: str, context: StageContext) -> Tensor:
        """Return the `count` best (n,) of `draws` codebook entries drawn at random, best first, none like another.

        name: of the method, for its draws. Near-duplicates are used only where there are too few others.
        """
        generator = torch_generator(seed, name, "starts")
        drawn = torch.randperm(len(self.book), generator=generator)[: max(draws, count)]
        drawn = drawn[self.looks(context)[drawn].argsort(descending=True, stable=True)]
        chosen = distinct(self.rotations(drawn), START_ANGLE, count)
        rest = [index for index in range(len(drawn)) if index not in chosen]
        return drawn[chosen + rest[: count - len(chosen)]]


def distinct(rotations: Tensor, least_angle: float, count: int) -> list[int]:
    """Return the first `count` indices whose poses (n, 22, 3, 3) differ from those before by more than the limit.

    least_angle: mean over the joints of the angle between the local rotations, radians.
    """
    chosen: list[int] = []
    for index in range(len(rotations)):
        angles = geodesic_angle(rotations[index], rotations[chosen]).mean(-1)
        if bool((angles > least_angle).all()):
            chosen.append(index)
        if len(chosen) == count:
            break
    return chosen
