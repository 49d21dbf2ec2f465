"""Multi-resolution hash encoding in plain torch: slow, obvious, and what the Warp kernels are tested against.

Source of the method: Müller et al., "Instant Neural Graphics Primitives with a Multiresolution Hash
Encoding", SIGGRAPH 2022, section 3.
"""

import torch
from torch import Tensor

from avatar_core.fields.hash_layout import HashLayout

PRIMES = (1, 2_654_435_761, 805_459_861)


def encode_reference(points: Tensor, table: Tensor, level_weights: Tensor, layout: HashLayout) -> Tensor:
    """Interpolate every level's features at `points`; differentiable in both by torch's own autograd.

    points: (N, 3) metres, clamped into the layout's box; table: (layout.rows, 2); level_weights: (levels,)
    factor of each level's features. Returns (N, levels * 2), coarsest level first.
    """
    lower, upper = points.new_tensor(layout.lower), points.new_tensor(layout.upper)
    inside = torch.minimum(torch.maximum(points, lower), upper)
    features = [
        _level(inside, lower, table, layout, level) * level_weights[level] for level in range(layout.levels)
    ]
    return torch.cat(features, dim=1)


def _level(points: Tensor, lower: Tensor, table: Tensor, layout: HashLayout, level: int) -> Tensor:
    dims = torch.tensor(layout.dims[level], device=points.device)
    position = (points - lower) / layout.cells[level]
    base = torch.minimum(position.detach().floor().long().clamp_min(0), dims - 2)
    fraction = position - base
    total = points.new_zeros(len(points), table.shape[1])
    for corner in range(8):
        step = torch.tensor([corner & 1, (corner >> 1) & 1, (corner >> 2) & 1], device=points.device)
        weight = torch.where(step == 1, fraction, 1.0 - fraction).prod(dim=1)
        total = total + weight[:, None] * table[layout.offsets[level] + _slot(base + step, layout, level)]
    return total


def _slot(corner: Tensor, layout: HashLayout, level: int) -> Tensor:
    if layout.dense[level]:
        width, height, _ = layout.dims[level]
        return corner[:, 0] + width * (corner[:, 1] + height * corner[:, 2])
    mixed = [(corner[:, axis] * prime) & 0xFFFFFFFF for axis, prime in enumerate(PRIMES)]
    return (mixed[0] ^ mixed[1] ^ mixed[2]) & (layout.sizes[level] - 1)
