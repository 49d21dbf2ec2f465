"""NeuS compositing in plain torch: slow, obvious, and what the Warp kernels are tested against.

Source: Wang et al., "NeuS: Learning Neural Implicit Surfaces by Volume Rendering for Multi-view
Reconstruction", NeurIPS 2021, equations 8 to 13.
"""

import torch
from torch import Tensor, nn

from avatar_core.fields.neus import Composite


def interval_opacities(distances: Tensor, sharpness: Tensor) -> Tensor:
    """Return the opacity (R, S) of the intervals between signed distances (R, S + 1) in metres (equation 13).

    sharpness: s, per metre.
    """
    scaled = distances * sharpness
    # The ratio of sigmoids through their logarithms: far inside, both underflow.
    ratio = torch.exp(nn.functional.logsigmoid(scaled[:, 1:]) - nn.functional.logsigmoid(scaled[:, :-1]))
    return (1.0 - ratio).clamp(0.0, 1.0)


def composite_reference(distances: Tensor, depths: Tensor, sharpness: Tensor) -> Composite:
    """Composite rays front to back.

    distances: (R, S + 1) signed distances in metres at depths (R, S + 1), metres along the ray and rising;
    sharpness: s, per metre.
    """
    alpha = interval_opacities(distances, sharpness)
    clear = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1.0 - alpha + 1e-7], dim=1), dim=1)
    weights = alpha * clear[:, :-1]
    opacity = weights.sum(1)
    # The crossing lies inside an interval; between its ends it is where the distance falls to zero.
    near, far = distances[:, :-1], distances[:, 1:]
    share = (near / (near - far).clamp_min(1e-6)).clamp(0.0, 1.0)
    crossing = depths[:, :-1] + share * (depths[:, 1:] - depths[:, :-1])
    total = opacity.clamp_min(1e-4)
    depth = torch.where(opacity > 1e-4, (weights * crossing).sum(1) / total, depths[:, 0])
    return Composite(weights, opacity, depth)
