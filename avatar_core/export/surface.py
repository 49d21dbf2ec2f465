"""What export needs of an avatar's surface, and its evaluation on a grid only where the surface runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

COARSEST_CELLS = 8
"""Edge of the coarsest block in voxels; each level halves it until blocks are one voxel wide."""
LIPSCHITZ_MARGIN = 1.25
"""A learned distance may grow a little faster than one metre a metre; blocks are kept with this margin."""

_UNIT_CORNERS = np.stack(np.unravel_index(np.arange(8), (2, 2, 2)), axis=-1)


class Surface(Protocol):
    """A coloured solid: negative signed distance inside, albedo everywhere near the surface."""

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest corner (3,) of a box around the surface, metres."""
        ...

    def sdf(self, points: Tensor) -> Tensor:
        """Signed distance (N,) in metres at points (N, 3), negative inside."""
        ...

    def color(self, points: Tensor) -> Tensor:
        """Albedo (N, 3) in [0, 1] (sRGB) at points (N, 3)."""
        ...


class SmoothSurface(Surface, Protocol):
    """A surface that knows its own normals, finer than a mesh of it can show."""

    def normal(self, points: Tensor) -> Tensor:
        """Unit outward normals (N, 3) of the surface nearest to points (N, 3)."""
        ...


@dataclass(frozen=True)
class DistanceGrid:
    """Signed distances at the corners of a regular grid; exact near the surface, its sign elsewhere."""

    values: NDArray[np.float32]
    """(X, Y, Z) metres."""
    origin: NDArray[np.float64]
    """(3,) position of values[0, 0, 0], metres."""
    voxel: float
    """Distance of neighbouring corners, metres."""
    evaluations: int
    """Points at which the field was asked."""


def evaluate(surface: Surface, points: NDArray[np.floating], *, batch: int, what: str) -> NDArray[np.float32]:
    """Return `surface.sdf`, `color` or `normal` at points (N, 3), asked in batches without gradients."""
    low = torch.as_tensor(surface.bounds[0])
    function = getattr(surface, what)
    parts = []
    with torch.no_grad():
        for start in range(0, len(points), batch):
            chunk = torch.as_tensor(points[start : start + batch], dtype=torch.float32, device=low.device)
            parts.append(function(chunk).detach().float().cpu().numpy())
    shape = (0,) if what == "sdf" else (0, 3)
    return np.concatenate(parts) if parts else np.zeros(shape, np.float32)


def distance_grid(surface: Surface, voxel: float, *, batch: int = 65536) -> DistanceGrid:
    """Evaluate the signed distance coarse to fine, refining only the blocks that the surface may cross.

    A block whose distance at its corners exceeds its own diagonal cannot hold the surface; it is filled
    with that distance, so the grid is complete and marching cubes over it is closed.

    Args:
        surface: the field.
        voxel: edge of the finest cells, metres.
        batch: points asked at once.
    Returns:
        a grid whose border lies outside the surface.
    """
    low, high = (np.asarray(torch.as_tensor(corner).cpu(), dtype=np.float64) for corner in surface.bounds)
    block = COARSEST_CELLS
    origin = low - voxel
    blocks = np.ceil((high - low + 2 * voxel) / (voxel * block)).astype(int)
    shape = tuple(blocks * block + 1)
    values = np.full(shape, np.nan, np.float32)
    # The value that a block too far from the surface gives to its corners, at the resolution of the level.
    filler = np.zeros(blocks, np.float32)
    cells = np.stack(np.unravel_index(np.arange(blocks.prod()), blocks), axis=-1)
    asked = 0
    while True:
        corners = _corners(cells * block, block, shape)
        wanted = np.zeros(values.size, bool)
        wanted[corners] = True
        index = np.flatnonzero(wanted & np.isnan(values.ravel()))
        points = origin + np.stack(np.unravel_index(index, shape), axis=-1) * voxel
        values.ravel()[index] = evaluate(surface, points, batch=batch, what="sdf")
        asked += len(index)
        if block == 1:
            break
        at_corners = values.ravel()[corners]
        distance = np.abs(at_corners)
        crossing = (at_corners.min(axis=1) < 0) & (at_corners.max(axis=1) >= 0)
        # No point of a block is farther from its nearest corner than half the diagonal.
        near = crossing | (distance.min(axis=1) < LIPSCHITZ_MARGIN * 0.5 * np.sqrt(3) * block * voxel)
        far = np.take_along_axis(at_corners, distance.argmin(axis=1)[:, None], axis=1)[:, 0]
        filler[tuple(cells.T)] = far
        filler = filler.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
        cells = (2 * cells[near][:, None] + _UNIT_CORNERS).reshape(-1, 3)
        block //= 2
    unknown = np.isnan(values)
    values[unknown] = np.pad(filler, (0, 1), mode="edge")[unknown]
    _close_border(values, voxel)
    return DistanceGrid(values, origin, voxel, asked)


def _corners(lowest: NDArray[np.int64], block: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Flat indices (C, 8) of the corners of blocks whose lowest corners are (C, 3)."""
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    return (lowest @ strides)[:, None] + block * (_UNIT_CORNERS @ strides)


def _close_border(values: NDArray[np.float32], voxel: float) -> None:
    """Make the outermost layer of the grid lie outside, so that the mesh is closed at the bounds."""
    for axis in range(3):
        for side in (0, -1):
            layer = np.moveaxis(values, axis, 0)[side]
            np.maximum(layer, 0.5 * voxel, out=layer)
