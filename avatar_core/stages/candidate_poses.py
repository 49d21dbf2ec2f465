"""Stage candidate_poses: poses that look most like a motion prompt, near-duplicates left out.

The poses come from one of four methods, each a file in `avatar_core.stages.pose_generators`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from avatar_core.bodies.rotations import matrix_to_axis_angle
from avatar_core.documents import read_json
from avatar_core.errors import ArtifactError
from avatar_core.perception.prompts import motion_prompt, split_actions
from avatar_core.priors.choices import (
    EMBEDDED,
    BroughtFacts,
    PosePriorName,
    brought_facts,
    read_facts,
    without_embedded,
)
from avatar_core.rendering.backends import DEFAULT_RENDERER, RendererName
from avatar_core.stages.base import StageContext
from avatar_core.stages.pose_generators.base import PoseGenerator
from avatar_core.stages.pose_generators.codebook import CodebookSearch
from avatar_core.stages.pose_generators.codebook import Config as CodebookConfig
from avatar_core.stages.pose_generators.latent_optimizer import Config as LatentConfig
from avatar_core.stages.pose_generators.latent_optimizer import LatentOptimizer
from avatar_core.stages.pose_generators.pose_optimizer import Config as PoseConfig
from avatar_core.stages.pose_generators.pose_optimizer import PoseOptimizer
from avatar_core.stages.pose_generators.realnvp import Config as FlowConfig
from avatar_core.stages.pose_generators.realnvp import FlowSampler

NAME = "candidate_poses"
VERSION = 2
METHODS = ("codebook", "pose_optimizer", "latent_optimizer", "realnvp")


class Config(BaseModel):
    """Settings of the stage; those of the methods that are not used are left out when it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["codebook", "pose_optimizer", "latent_optimizer", "realnvp"] = "codebook"
    """Where poses come from: a search of the codebook, optimised joint rotations, optimised latents of the pose VAE,
    or draws from a flow that was trained for the encoder."""
    prior: PosePriorName = EMBEDDED
    """Whose poses: the embedded prior's, the same poses seen through your VPoser, AvatarCLIP's own over VPoser, or
    those of a prior that you trained. All but the first are added with `avatars models add` (docs/priors.md)."""
    renderer: RendererName = DEFAULT_RENDERER
    """Who draws the grey bodies that are compared with the prompt: `warp`, this project's own renderer, or AvatarCLIP's
    `neural_renderer`, which you install and which needs a CUDA device (docs/paper.md)."""
    count: int = Field(5, ge=1)
    """Poses that are kept."""
    least_angle: float = Field(0.15, ge=0)
    """A pose is a duplicate of a better one when the angle between their local rotations, averaged over the joints, is
    no larger, radians. AvatarCLIP's limit, 0.07 of mean absolute axis-angle component, is the same as 0.15: over pairs
    of poses of the codebook whose components differ by 0.07, the mean angle is 0.152 with a deviation of 0.010."""
    least_share: float = Field(0.85, ge=0, le=1)
    """A pose is kept only when its score is at least this part of the best one's: a prompt that one pose fits is not
    filled up with poses that show something else. None is left out with 0, as in AvatarCLIP."""
    codebook: CodebookConfig = CodebookConfig()
    """Settings of the method "codebook"."""
    pose_optimizer: PoseConfig = PoseConfig()
    """Settings of the method "pose_optimizer"."""
    latent_optimizer: LatentConfig = LatentConfig()
    """Settings of the method "latent_optimizer"."""
    realnvp: FlowConfig = FlowConfig()
    """Settings of the method "realnvp"."""

    @model_validator(mode="after")
    def _enough_starts(self) -> Config:
        chosen = getattr(self, self.method)
        starts = getattr(chosen, "starts", None)
        if starts is not None and starts < self.count:
            raise ValueError(f"{self.method}.starts is {starts}, fewer than count, {self.count}; give as many or more")
        return self

    @model_serializer(mode="wrap")
    def _without_unused(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # They decide nothing, and a stage key digests what is written here.
        written = without_embedded(write(self))
        return {name: value for name, value in written.items() if name not in METHODS or name == self.method}


@dataclass(frozen=True, eq=False)
class CandidatePoses:
    """Poses that fit a motion prompt, best first within each of its actions."""

    poses: Tensor
    """(K, 22, 3) axis-angle relative to the parent joint and the T-pose, radians; the pelvis has no heading."""
    scores: Tensor
    """(K,) scores by which they were ranked: means over several views, -1 to 1."""
    entries: tuple[int, ...]
    """The entry of the pose codebook that each is, began at, or has its pelvis's attitude from."""
    actions: tuple[int, ...]
    """Which of the prompt's actions each shows."""
    prior: PosePriorName = EMBEDDED
    """Whose poses they are."""
    brought: BroughtFacts = ()
    """Name, digest and licence of each prior that its user brought."""

    def of_actions(self, count: int) -> list[Tensor]:
        """Return the poses (K, 22, 3) of each of the prompt's `count` actions.

        Raises ArtifactError where an action has none, or a pose no action.
        """
        found = [self.poses[[action == number for action in self.actions]] for number in range(count)]
        if not all(len(poses) for poses in found) or max(self.actions) >= count:
            raise ArtifactError("the candidate poses are not of this motion prompt; run candidate_poses again")
        return found

    def save(self, folder: Path) -> None:
        """Write the poses into an existing folder."""
        tensors = {"poses": self.poses.cpu().contiguous(), "scores": self.scores.cpu().contiguous()}
        save_file(tensors, folder / "poses.safetensors")
        facts: dict[str, Any] = {"entries": self.entries, "actions": self.actions}
        if self.prior != EMBEDDED:
            facts |= {"prior": self.prior, "brought": self.brought}
        (folder / "poses.json").write_text(json.dumps(facts), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> CandidatePoses:
        """Read what `save` wrote; raises ArtifactError when it is missing or damaged."""
        try:
            tensors = load_file(folder / "poses.safetensors")
            facts = read_json((folder / "poses.json").read_text(encoding="utf-8"))
            return cls(
                poses=tensors["poses"],
                scores=tensors["scores"],
                entries=tuple(facts["entries"]),
                actions=tuple(facts["actions"]),
                prior=facts.get("prior", EMBEDDED),
                brought=read_facts(facts),
            )
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ArtifactError(f"{folder} holds no candidate poses ({error}); run candidate_poses again") from error


def run(prompt: str, *, config: Config, seed: int, context: StageContext) -> CandidatePoses:
    """Return poses that fit `prompt`, as "a person is running", or each of its actions in turn.

    Raises DivergenceError when an optimisation's numbers are not finite, WeightsError when the method needs weights
    that are not there for the encoder, and ConfigError when a prior that its user brings is not on this machine.
    """
    context = replace(context, renderer=config.renderer)
    method, kept = generator(config), []
    actions = split_actions(prompt)
    for number, action in enumerate(actions):
        scored = method.generate(motion_prompt(action), seed=seed, context=context)
        found = scored.best(config.count, config.least_angle, config.least_share)
        note = f"{len(found.scores)} poses, best score {float(found.scores[0]):.3f}"
        context.progress(number + 1, len(actions), note)
        kept.append(found)
    return CandidatePoses(
        poses=matrix_to_axis_angle(torch.cat([found.rotations for found in kept])).cpu(),
        scores=torch.cat([found.scores for found in kept]).cpu(),
        entries=tuple(torch.cat([found.entries for found in kept]).tolist()),
        actions=tuple(number for number, found in enumerate(kept) for _ in found.scores),
        prior=config.prior,
        brought=brought_facts(NAME, config.model_dump()),
    )


def generator(config: Config) -> PoseGenerator:
    """Return the generator of the method that is chosen, with its settings."""
    makers: dict[str, Callable[[], PoseGenerator]] = {
        "codebook": lambda: CodebookSearch(config.codebook, config.prior),
        "pose_optimizer": lambda: PoseOptimizer(config.pose_optimizer, config.prior),
        "latent_optimizer": lambda: LatentOptimizer(config.latent_optimizer, config.prior),
        "realnvp": lambda: FlowSampler(config.realnvp, config.prior),
    }
    return makers[config.method]()
