"""NeuS: from signed distances along a ray to opacities and weights.

Source: Wang et al., "NeuS: Learning Neural Implicit Surfaces by Volume Rendering for Multi-view
Reconstruction", NeurIPS 2021, equations 8 to 13.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

VARIANCE_SCALE = 10.0
"""The sharpness is exp(VARIANCE_SCALE * parameter), as in NeuS, so that Adam moves it by useful factors."""
SHARPNESS_RANGE = (20.0, 4000.0)
"""Bounds of the sharpness, per metre: a surface five centimetres to a quarter of a millimetre thick."""


class Sharpness(nn.Module):
    """The learned inverse standard deviation s of NeuS's logistic density, per metre."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(initial) / VARIANCE_SCALE))

    def forward(self) -> Tensor:
        """Return s (scalar tensor), per metre, inside SHARPNESS_RANGE."""
        return torch.exp(self.log_scale * VARIANCE_SCALE).clamp(*SHARPNESS_RANGE)


@dataclass(frozen=True, eq=False)
class Composite:
    """What rays see of a field."""

    weights: Tensor
    """(R, S) part of each interval in the ray's colour."""
    opacity: Tensor
    """(R,) sum of the weights, in [0, 1]."""
    depth: Tensor
    """(R,) expected distance along the ray, metres (the weighted mean; the first sample where nothing is seen)."""


def interval_opacities(distances: Tensor, sharpness: Tensor) -> Tensor:
    """Return the opacity (R, S) of the intervals between signed distances (R, S + 1) in metres (equation 13).

    sharpness: s, per metre.
    """
    scaled = distances * sharpness
    # The ratio of sigmoids through their logarithms: far inside, both underflow.
    ratio = torch.exp(nn.functional.logsigmoid(scaled[:, 1:]) - nn.functional.logsigmoid(scaled[:, :-1]))
    return (1.0 - ratio).clamp(0.0, 1.0)


def composite(distances: Tensor, depths: Tensor, sharpness: Tensor) -> Composite:
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
