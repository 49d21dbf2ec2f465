"""The 137 numbers by which the motion prior describes a frame, and the way back.

Columns: 22 joint rotations in 6D (132; the pelvis's relative to the heading of the window's first frame, so that it
holds the heading of every frame), the pelvis's horizontal velocity in metres a second (2: x, z, to the next frame),
its height in metres (1), and whether the left and the right foot stand (2: from 0 to 1).
"""

import torch
from torch import Tensor

from avatar_core.bodies.rotations import matrix_to_6d, sixd_to_matrix
from avatar_core.bodies.skeleton import PARENTS
from avatar_core.priors.motion_data import FPS

JOINTS = 22
ROTATIONS, VELOCITY, HEIGHT, CONTACTS = slice(0, 132), slice(132, 134), slice(134, 135), slice(135, 137)
"""Columns of a frame's numbers."""
FEATURES = CONTACTS.stop


def motion_features(rotations: Tensor, translation: Tensor, standing: Tensor) -> Tensor:
    """Describe sequences that start at x = z = 0 and face +Z, as (B, T, 137).

    rotations: (B, T, 22, 3, 3) local; translation: (B, T, 3) pelvis, metres; standing: (B, T, 2) of
    `foot_contacts.find_contacts`.
    """
    steps = (translation[:, 1:, ::2] - translation[:, :-1, ::2]) * FPS
    steps = torch.cat([steps, steps[:, -1:]], dim=1)
    turned = matrix_to_6d(rotations).flatten(-2)
    return torch.cat([turned, steps, translation[..., 1:2], standing.to(turned)], dim=-1)


def features_to_motion(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return rotations (B, T, 22, 3, 3) and pelvis positions (B, T, 3) of features (B, T, 137)."""
    rotations = sixd_to_matrix(features[..., ROTATIONS].unflatten(-1, (JOINTS, 6)))
    moved = features[:, :-1, VELOCITY].cumsum(1) / FPS
    path = torch.cat([torch.zeros_like(moved[:, :1]), moved], dim=1)
    translation = torch.stack([path[..., 0], features[..., HEIGHT].squeeze(-1), path[..., 1]], dim=-1)
    return rotations, translation


def lever_weights(rest_joints: Tensor) -> Tensor:
    """Weight of each feature (137,): how far, in decimetres, a turn of the joint moves what hangs on it.

    rest_joints: (22, 3) joints of the T-pose, metres. Ends of limbs count as 5 cm.
    A decimetre a foot that stands or does not.
    """
    below: list[list[int]] = [[joint] for joint in range(JOINTS)]
    for joint in range(JOINTS - 1, 0, -1):
        below[PARENTS[joint]] += below[joint]
    lever = torch.stack([(rest_joints[below[j]] - rest_joints[j]).norm(dim=-1).mean() for j in range(JOINTS)])
    root_and_feet = torch.tensor([3.0, 3.0, 10.0, 1.0, 1.0])
    return torch.cat([(lever.clamp_min(0.05) * 10).repeat_interleave(6), root_and_feet])


def cosine_basis(kept: int, frames: int) -> Tensor:
    """Orthonormal DCT-II basis (kept, frames): the `kept` slowest cosines over `frames` frames."""
    time = (torch.arange(frames, dtype=torch.float64) + 0.5) * torch.pi / frames
    basis = torch.cos(torch.arange(kept, dtype=torch.float64)[:, None] * time) * (2 / frames) ** 0.5
    basis[0] /= 2**0.5
    return basis.float()
