"""SMPL's function from shape and pose to vertices: linear blend skinning with corrections by shape and by pose.

Source: Loper, Mahmood, Romero, Pons-Moll and Black, "SMPL: A Skinned Multi-Person Linear Model" (2015), equations 2 to
10; SMPL-H and SMPL-X are the same function with more joints.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avatar_core.bodies.smpl_format import SmplArrays


@dataclass(frozen=True, eq=False)
class SmplTensors:
    """A model on a device, laid out for the products below: V vertices, J joints, S shape components."""

    template: Tensor  # (V, 3) metres
    shape_directions: Tensor  # (S, V * 3)
    pose_directions: Tensor  # (9 (J - 1), V * 3)
    regressor: Tensor  # (J, V)
    weights: Tensor  # (V, J)
    parents: tuple[int, ...]  # of the joints; -1 for the pelvis

    @classmethod
    def of(cls, arrays: SmplArrays, device: torch.device | str = "cpu") -> SmplTensors:
        """Put a model on a device."""
        template, regressor, weights, shapes, poses = (
            torch.from_numpy(values).to(device)
            for values in (
                arrays.template, arrays.regressor, arrays.weights, arrays.shape_directions, arrays.pose_directions,
            )
        )  # fmt: skip
        shapes, poses = (values.flatten(0, 1).mT.contiguous() for values in (shapes, poses))
        return cls(template, shapes, poses, regressor, weights, arrays.kind.parents)


@dataclass(frozen=True, eq=False)
class SmplPosed:
    """B bodies."""

    vertices: Tensor  # (B, V, 3) metres
    joints: Tensor  # (B, J, 3) metres
    turns: Tensor  # (B, J, 3, 3) rotations of the joints in the world


def rest(model: SmplTensors, betas: Tensor) -> tuple[Tensor, Tensor]:
    """Return vertices (B, V, 3) and joints (B, J, 3) of shapes (B, S) at rest, metres."""
    vertices = model.template + (betas @ model.shape_directions).unflatten(1, (-1, 3))
    return vertices, model.regressor @ vertices


def smpl_forward(model: SmplTensors, betas: Tensor, rotations: Tensor, translation: Tensor) -> SmplPosed:
    """Pose bodies.

    Args:
        model: the weights.
        betas: (B, S) shape components.
        rotations: (B, R, 3, 3) local rotations of the first R joints, 1 <= R <= J; the others stay as at rest.
        translation: (B, 3) added to everything, metres; the pelvis turns about itself.
    """
    vertices, joints = rest(model, betas)
    # Equation 9: corrections are linear in how far the rotations are from rest; those at rest add nothing.
    bent = (rotations[:, 1:] - torch.eye(3).to(rotations)).flatten(1)
    vertices = vertices + (bent @ model.pose_directions[: bent.shape[1]]).unflatten(1, (-1, 3))
    turns, placed = _chained(model, rotations, joints)
    offsets = placed - (turns @ joints[..., None]).squeeze(-1)
    bones = torch.cat([turns, offsets[..., None]], -1).flatten(2)
    blended = (model.weights @ bones).unflatten(2, (3, 4))
    posed = (blended[..., :3] @ vertices[..., None]).squeeze(-1) + blended[..., 3]
    return SmplPosed(posed + translation[:, None], placed + translation[:, None], turns)


def _chained(model: SmplTensors, rotations: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """World rotations (B, J, 3, 3) and places (B, J, 3) of the joints, along the tree from the pelvis."""
    turns, placed = [rotations[:, 0]], [joints[:, 0]]
    for joint, parent in enumerate(model.parents[1:], start=1):
        turned = turns[parent]
        reach = joints[:, joint] - joints[:, parent]
        placed.append(placed[parent] + (turned @ reach[..., None]).squeeze(-1))
        turns.append(turned @ rotations[:, joint] if joint < rotations.shape[1] else turned)
    return torch.stack(turns, 1), torch.stack(placed, 1)
