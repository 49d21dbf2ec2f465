"""SMPL's 22-joint body skeleton: names, tree and forward kinematics shared by every body and prior."""

import torch
from torch import Tensor

JOINT_NAMES: tuple[str, ...] = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle",
    "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
)  # fmt: skip
PARENTS: tuple[int, ...] = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
NUM_JOINTS = len(JOINT_NAMES)
JOINT_INDEX: dict[str, int] = {name: index for index, name in enumerate(JOINT_NAMES)}


def global_rotations(local: Tensor) -> Tensor:
    """Chain local joint rotations down the tree.

    Args:
        local: (..., 22, 3, 3) rotations relative to the parent joint.
    Returns:
        (..., 22, 3, 3) rotations relative to the world.
    """
    chained: list[Tensor] = []
    for joint, parent in enumerate(PARENTS):
        rotation = local[..., joint, :, :]
        chained.append(rotation if parent < 0 else chained[parent] @ rotation)
    return torch.stack(chained, dim=-3)


def local_rotations(world: Tensor) -> Tensor:
    """Invert `global_rotations`: (..., 22, 3, 3) world rotations to rotations relative to the parent."""
    relative = [
        world[..., joint, :, :] if parent < 0 else world[..., parent, :, :].mT @ world[..., joint, :, :]
        for joint, parent in enumerate(PARENTS)
    ]
    return torch.stack(relative, dim=-3)


def joint_positions(world: Tensor, rest_joints: Tensor, translation: Tensor) -> Tensor:
    """Place the joints of a posed skeleton.

    Args:
        world: (..., 22, 3, 3) world rotations of the joints relative to the pose of `rest_joints`.
        rest_joints: (..., 22, 3) joint positions at rest, metres.
        translation: (..., 3) world position of the pelvis, metres.
    Returns:
        (..., 22, 3) joint positions, metres.
    """
    placed: list[Tensor] = []
    for joint, parent in enumerate(PARENTS):
        if parent < 0:
            placed.append(translation)
            continue
        bone = (rest_joints[..., joint, :] - rest_joints[..., parent, :]).unsqueeze(-1)
        placed.append(placed[parent] + (world[..., parent, :, :] @ bone).squeeze(-1))
    return torch.stack(placed, dim=-2)
