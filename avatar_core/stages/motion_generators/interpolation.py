"""From candidate pose to candidate pose through the pose prior's latent space (AvatarCLIP's first generator)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from avatar_core.errors import DivergenceError
from avatar_core.priors.foot_contacts import find_contacts
from avatar_core.priors.kinematics import forward_kinematics, without_heading
from avatar_core.priors.motion_data import FPS
from avatar_core.priors.motion_editing import between
from avatar_core.priors.motion_objective import pose_vectors
from avatar_core.priors.pose_prior import PoseModel
from avatar_core.stages.motion_generators.base import Draft, Problem
from avatar_core.stages.motion_generators.config import Config


class Interpolation:
    """Visits every candidate pose once, on the shortest round trip, and comes back to the first.

    Each pose is a pause: the way between two is taken at a speed that rises and falls by a cosine. Nothing is random.
    """

    steps = 0

    def __init__(self, problem: Problem, config: Config, seed: int) -> None:
        self._problem, self._frames, self.step = problem, config.frames, 0

    def begin(self) -> None:
        """Nothing to find."""

    def advance(self) -> float:
        """There are no steps."""
        raise IndexError("interpolation has no steps")

    def state(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to take over."""

    @torch.no_grad()
    def result(self) -> Draft:
        """Interpolate."""
        problem = self._problem
        if not torch.isfinite(problem.rotations).all():
            raise DivergenceError("the candidate poses are not finite: run candidate_poses again with another seed")
        poses = without_heading(problem.rotations)
        order = round_trip(pose_vectors(poses))
        stops = poses[[*order, order[0]]]
        rest_joints = problem.vae.rest_joints
        rotations = travel(stops, problem.pose_model, self._frames)
        still = torch.zeros(self._frames, 3, device=poses.device)
        joints = forward_kinematics(rotations, still, rest_joints)
        still[:, 1] = -joints[..., 1].amin(-1)  # every frame stands on the ground
        standing = find_contacts(joints + still[:, None], rest_joints, FPS).standing
        score = float(problem.score(rotations[None])[0])
        return Draft(rotations, still, standing, score, score, -1)


def round_trip(vectors: Tensor) -> list[int]:
    """Order of poses (K, 132), the first one first, in which each next one is the nearest that is left."""
    away = torch.cdist(vectors, vectors)
    order, left = [0], set(range(1, len(vectors)))
    while left:
        nearest = min(left, key=lambda index: (float(away[order[-1], index]), index))
        order.append(nearest)
        left.remove(nearest)
    return order


def travel(stops: Tensor, prior: PoseModel, frames: int) -> Tensor:
    """Return `frames` frames (T, 22, 3, 3) through poses (S, 22, 3, 3): joints by latents, the pelvis by rotations.

    What the prior cannot say of a pose (the difference to its own reconstruction) is carried over, so that the stops
    are met exactly.
    """
    latents = prior.encode_rotations(stops[:, 1:])
    kept = prior.decode(latents).mT @ stops[:, 1:]
    place = torch.linspace(0, len(stops) - 1, frames + 1)[:frames]
    leg = place.long()
    weight = 0.5 - 0.5 * torch.cos((place - leg) * torch.pi)
    after = (leg + 1).clamp(max=len(stops) - 1)
    joints = prior.decode(torch.lerp(latents[leg], latents[after], weight[:, None].to(latents)))
    rest = between(kept[leg], kept[after], weight[:, None].expand(-1, joints.shape[1]).to(latents))
    root = between(stops[leg, 0], stops[after, 0], weight.to(latents))
    return torch.cat([root[:, None], joints @ rest], 1)
