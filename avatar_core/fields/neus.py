"""NeuS: from signed distances along a ray to opacities and weights.

Source: Wang et al., "NeuS: Learning Neural Implicit Surfaces by Volume Rendering for Multi-view
Reconstruction", NeurIPS 2021, equations 8 to 13.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from avatar_core.fields.neus_kernels import composite_backward, composite_forward
from avatar_core.rendering.warp_runtime import Rows, launch

VARIANCE_SCALE = 10.0
"""The sharpness is exp(VARIANCE_SCALE * parameter), as in NeuS, so that Adam moves it by useful factors."""
SHARPNESS_RANGE = (20.0, 4000.0)
"""Bounds of the sharpness, per metre: a surface five centimetres to a quarter of a millimetre thick."""

DEEPEST = 80.0
"""Distances count for no more than this over the sharpness: opacity has long been 0 or 1, and floats hold it."""


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


def composite(distances: Tensor, depths: Tensor, sharpness: Tensor) -> Composite:
    """Composite rays front to back; differentiable once in the distances and the sharpness.

    distances: (R, S + 1) float32 signed distances in metres at depths (R, S + 1), metres along the ray and rising;
    sharpness: s, per metre. See `neus_reference` for the same in plain torch.
    """
    return Composite(*_Composite.apply(distances, depths, sharpness))


SHARPNESS = 3
"""Where the sharpness is among what the backward pass is left with."""


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, distances: Tensor, depths: Tensor, sharpness: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        distances, depths = distances.contiguous(), depths.contiguous()
        odds = torch.exp((distances * -sharpness).clamp(-DEEPEST, DEEPEST))
        rays, ends = distances.shape
        outputs = [distances.new_empty(rays, ends - 1), distances.new_empty(rays), distances.new_empty(rays)]
        launch(composite_forward, rays, [Rows(one) for one in (distances, odds, depths, *outputs)], on=distances)
        ctx.save_for_backward(distances, odds, depths, sharpness.reshape(1), *outputs)
        return outputs[0], outputs[1], outputs[2]

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, None, Tensor]:
        saved = ctx.saved_tensors
        distances = saved[0]
        grad_distances, grad_sharpness = torch.empty_like(distances), distances.new_empty(len(distances))
        arrays = [*saved, *(grad.contiguous() for grad in grads), grad_distances, grad_sharpness]
        # All but the sharpness have a row a ray.
        launch(
            composite_backward,
            len(distances),
            [one if one is saved[SHARPNESS] else Rows(one) for one in arrays],
            on=distances,
        )
        return grad_distances, None, grad_sharpness.sum()
