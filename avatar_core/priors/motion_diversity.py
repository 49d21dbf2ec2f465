"""How different motions are from each other."""

import torch
from torch import Tensor

from avatar_core.priors.kinematics import forward_kinematics


@torch.no_grad()
def diversity(rotations: Tensor, rest_joints: Tensor) -> float:
    """Mean distance in metres of the same joint in the same frame, about the pelvis, over all pairs of motions.

    Args:
        rotations: (n, T, 22, 3, 3) local; one motion alone has no diversity.
        rest_joints: (22, 3) of the skeleton, metres.
    """
    still = torch.zeros(rotations.shape[1], 3, dtype=rotations.dtype, device=rotations.device)
    joints = [forward_kinematics(one, still, rest_joints) for one in rotations]
    pairs = [(a - b).norm(dim=-1).mean() for i, a in enumerate(joints) for b in joints[:i]]
    return float(torch.stack(pairs).mean()) if pairs else 0.0
