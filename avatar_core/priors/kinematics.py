"""Forward kinematics of the 22-joint skeleton, and headings of the pelvis."""

import torch
from torch import Tensor

from avatar_core.bodies.skeleton import global_rotations, joint_positions


def forward_kinematics(rotations: Tensor, translation: Tensor, rest_joints: Tensor) -> Tensor:
    """Return joint positions (..., 22, 3) in metres.

    rotations: (..., 22, 3, 3) local rotations relative to the T-pose.
    translation: (..., 3) pelvis position in metres.
    rest_joints: (22, 3) joints of the T-pose in metres; only their differences count.
    """
    return joint_positions(global_rotations(rotations), rest_joints, translation)


def heading_angle(rotation: Tensor) -> Tensor:
    """Angle in radians (...) of the turn about +Y in (..., 3, 3): the twist of its swing-twist decomposition.

    Defined for every attitude but the upside-down ones, where it is taken as finite but arbitrary.
    """
    return torch.atan2(
        rotation[..., 0, 2] - rotation[..., 2, 0], rotation[..., 0, 0] + rotation[..., 2, 2] + 1e-9
    )


def heading_matrix(angle: Tensor) -> Tensor:
    """Rotations (..., 3, 3) about +Y by `angle` (...) radians; positive turns +Z towards +X."""
    cosine, sine, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    rows = [cosine, zero, sine, zero, one, zero, -sine, zero, cosine]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def without_heading(rotations: Tensor) -> Tensor:
    """Take the heading out of the pelvis of poses (..., 22, 3, 3), so that they face +Z."""
    root = rotations[..., 0, :, :]
    root = heading_matrix(-heading_angle(root)) @ root
    return torch.cat([root[..., None, :, :], rotations[..., 1:, :, :]], dim=-3)


def face_forward(rotations: Tensor, translation: Tensor) -> tuple[Tensor, Tensor]:
    """Turn and move whole sequences so that frame 0 faces +Z at x = z = 0; heights are kept.

    rotations: (..., T, 22, 3, 3); translation: (..., T, 3) metres.
    """
    turn = heading_matrix(-heading_angle(rotations[..., 0, 0, :, :]))
    root = turn[..., None, :, :] @ rotations[..., 0, :, :]
    start = translation[..., :1, :] * torch.tensor([1.0, 0.0, 1.0], device=translation.device)
    moved = (turn[..., None, :, :] @ (translation - start)[..., None]).squeeze(-1)
    return torch.cat([root[..., None, :, :], rotations[..., 1:, :, :]], dim=-3), moved


def stand(rotations: Tensor, translation: Tensor, rest_joints: Tensor) -> Tensor:
    """Move a sequence up or down so that its lowest joint touches y = 0; returns the translation (T, 3).

    rotations: (T, 22, 3, 3); translation: (T, 3) metres; rest_joints: (22, 3) of the T-pose, metres.
    """
    lowest = forward_kinematics(rotations, translation, rest_joints)[..., 1].min()
    return translation - lowest * torch.tensor([0.0, 1.0, 0.0], device=translation.device)
