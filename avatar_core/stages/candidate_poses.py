"""Stage candidate_poses: the codebook's poses that look most like a motion prompt, near-duplicates left out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from avatar_core.bodies.rotations import matrix_to_axis_angle
from avatar_core.errors import ArtifactError
from avatar_core.perception.prompts import motion_prompt, split_actions
from avatar_core.priors.features import codebook_features
from avatar_core.priors.pose_vae import PoseCodebook, PoseVAE
from avatar_core.priors.view_encoders import load_view_encoder
from avatar_core.stages.base import StageContext

NAME = "candidate_poses"
VERSION = 1


class Config(BaseModel):
    """Settings of the stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(5, ge=1)
    """Poses that are kept."""
    top: int = Field(40, ge=1)
    """Best entries of the codebook that are considered."""
    least_difference: float = Field(0.07, ge=0)
    """A pose whose mean absolute axis-angle difference from a kept one is no larger is a duplicate, radians."""


@dataclass(frozen=True, eq=False)
class CandidatePoses:
    """Poses that fit a motion prompt, best first."""

    poses: Tensor
    """(K, 22, 3) axis-angle relative to the parent joint and the T-pose, radians; the pelvis has no heading."""
    scores: Tensor
    """(K,) scores by which they were ranked."""
    entries: tuple[int, ...]
    """Their places in the pose codebook."""
    actions: tuple[int, ...]
    """Which of the prompt's actions each shows."""

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
        facts = {"entries": self.entries, "actions": self.actions}
        (folder / "poses.json").write_text(json.dumps(facts), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> CandidatePoses:
        """Read what `save` wrote; raises ArtifactError when it is missing or damaged."""
        try:
            tensors = load_file(folder / "poses.safetensors")
            facts = json.loads((folder / "poses.json").read_text(encoding="utf-8"))
            return cls(tensors["poses"], tensors["scores"], tuple(facts["entries"]), tuple(facts["actions"]))
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ArtifactError(f"{folder} holds no candidate poses ({error}); run candidate_poses again") from error


def run(prompt: str, *, config: Config, seed: int, context: StageContext) -> CandidatePoses:
    """Return the poses of the codebook that fit `prompt`, as "a person is running", or each of its actions in turn.

    The search is exact, so that `seed` decides nothing.
    """
    vae, book = PoseVAE.load(), PoseCodebook.load()
    features = codebook_features("pose", context.encoder, context.body, progress=context.progress)
    view = load_view_encoder("pose", context.encoder, context.body)
    kept: list[tuple[Tensor, Tensor, list[int], list[int]]] = []
    actions = split_actions(prompt)
    for number, action in enumerate(actions):
        target = context.encoder.encode_texts([motion_prompt(action)])[0].to(features)
        scores = view.search(features, target).cpu()
        best = scores.topk(min(config.top, len(scores)))
        poses = matrix_to_axis_angle(book.rotations(vae, best.indices))
        chosen = distinct(poses, config.least_difference, config.count)
        kept.append((poses[chosen], best.values[chosen], best.indices[chosen].tolist(), [number] * len(chosen)))
        context.progress(number + 1, len(actions), f"{len(chosen)} poses, best score {float(best.values[0]):.3f}")
    poses, scores = torch.cat([one[0] for one in kept]), torch.cat([one[1] for one in kept])
    entries, groups = (tuple(value for one in kept for value in one[part]) for part in (2, 3))
    return CandidatePoses(poses, scores, entries, groups)


def distinct(poses: Tensor, least_difference: float, count: int) -> list[int]:
    """Return the first `count` indices whose poses (n, 22, 3) differ from those before by more than the limit.

    least_difference: mean absolute axis-angle difference in radians.
    """
    chosen: list[int] = []
    for index in range(len(poses)):
        if all(float((poses[index] - poses[other]).abs().mean()) > least_difference for other in chosen):
            chosen.append(index)
        if len(chosen) == count:
            break
    return chosen
