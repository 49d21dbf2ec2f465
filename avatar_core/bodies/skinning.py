"""Linear blend skinning from the bind pose, with poses given relative to the T-pose."""

import torch
from torch import Tensor

from avatar_core.bodies.skeleton import global_rotations, joint_positions, local_rotations


def joint_transforms(joints: Tensor, to_tpose: Tensor, rotations: Tensor, translation: Tensor | None) -> Tensor:
    """Return the (B, 22, 4, 4) transforms that take bind space to posed space.

    A joint turns the bind pose onto the T-pose first and then by its pose, so that each vertex is blended
    once. T-pose joint positions follow from the bind pose's by the same chain.

    Args:
        joints: (22, 3) bind-pose joint positions, metres.
        to_tpose: (22, 3, 3) world rotations from the bind pose to the T-pose.
        rotations: (B, 22, 3, 3) local rotations relative to the T-pose.
        translation: (B, 3) pelvis positions, metres; None keeps the bind pelvis.
    """
    world = global_rotations(rotations) @ to_tpose
    if translation is None:
        translation = joints[0].expand(len(rotations), 3)
    placed = joint_positions(world, joints, translation)
    offset = placed - (world @ joints.unsqueeze(-1)).squeeze(-1)
    top = torch.cat([world, offset.unsqueeze(-1)], dim=-1)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], dim=-2)


def blend(vertices: Tensor, weights: Tensor, transforms: Tensor) -> Tensor:
    """Skin (V, 3) bind vertices with (V, J) weights by (B, J, 4, 4) transforms to (B, V, 3)."""
    count = len(transforms)
    rows = transforms[:, :, :3, :].permute(1, 0, 2, 3).reshape(weights.shape[1], -1)
    mixed = (weights @ rows).reshape(len(vertices), count, 3, 4)
    posed = (mixed[..., :3] * vertices[:, None, None, :]).sum(-1) + mixed[..., 3]
    return posed.transpose(0, 1)


def bind_pose_rotations(to_tpose: Tensor) -> Tensor:
    """Return the (22, 3, 3) local rotations from the T-pose that undo `to_tpose` (22, 3, 3)."""
    return local_rotations(to_tpose.mT)
