"""The body's own signed distance, sampled once on a grid: fast inside loops, differentiable in the point."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from avatar_core.errors import BodyError
from avatar_core.fields.body_surface import BodySurface
from avatar_core.fields.garment_volume import joined, volume_box

NEAR_CELLS = 1.8
"""Grid points closer to the surface than this many cells get their sign from a winding number each."""
COARSE_STEP = 4
"""Fine cells a coarse cell spans in the pass that skips space far from the body."""


@dataclass(frozen=True, eq=False)
class BodySdf:
    """Signed distances at the corners of a regular grid, clamped to ±band; negative inside."""

    values: Tensor
    """(Z, Y, X) float32, metres."""
    lower: tuple[float, float, float]
    """Position of the first corner (x, y, z), metres."""
    cell: float
    """Distance of neighbouring corners, metres."""
    band: float
    """Largest distance held, metres."""

    @property
    def upper(self) -> tuple[float, float, float]:
        """Position of the last corner (x, y, z), metres."""
        z, y, x = (self.cell * (size - 1) for size in self.values.shape)
        return self.lower[0] + x, self.lower[1] + y, self.lower[2] + z

    def distance(self, points: Tensor) -> Tensor:
        """Interpolate trilinearly at `points` (N, 3): (N,) metres; beyond the grid, its border's value."""
        lower, extent = self._frame
        unit = (points - lower) / extent * 2.0 - 1.0
        sampled = torch.nn.functional.grid_sample(
            self.values[None, None], unit[None, None, None], padding_mode="border", align_corners=True
        )
        return sampled.reshape(-1)

    @cached_property
    def _frame(self) -> tuple[Tensor, Tensor]:
        """First corner (3,) and extent (3,), metres: kept on the device, which waits for what is sent to it."""
        sizes = torch.tensor(self.values.shape[::-1], dtype=torch.float32, device=self.values.device)
        return self.values.new_tensor(self.lower), self.cell * (sizes - 1)

    def offset(self, thickness: Callable[[Tensor], Tensor], reach: float) -> "BodySdf":
        """Return the grid less `thickness` (N,) at points (N, 3), in metres, within `reach` metres of the body.

        Thickness is asked at every other corner along each axis and interpolated: it varies slowly.
        """
        every_other = self.values[::2, ::2, ::2]
        near = every_other.abs() < reach + 4.0 * self.cell
        points = near.nonzero().flip(1).to(torch.float32) * (2.0 * self.cell) + self.values.new_tensor(self.lower)
        offsets = torch.zeros_like(every_other)
        offsets[near] = thickness(points)
        fine = torch.nn.functional.interpolate(
            offsets[None, None], self.values.shape, mode="trilinear", align_corners=True
        )
        return BodySdf(self.values - fine[0, 0], self.lower, self.cell, self.band)

    def joined(self, volumes: Tensor) -> "BodySdf":
        """Return the grid of the union with garment volumes (M, 12), see `garment_volume`; larger where needed."""
        if not len(volumes):
            return self
        low, high = (corner.cpu() for corner in volume_box(volumes))
        grid = self._holding(low.amin(0) - self.band, high.amax(0) + self.band)
        # A volume changes nothing farther from it than the distances that the grid holds.
        for index in range(len(volumes)):
            grid._join(volumes[index : index + 1], low[index] - self.band, high[index] + self.band)
        return grid

    def _holding(self, low: Tensor, high: Tensor) -> "BodySdf":
        """A copy that reaches at least from `low` to `high` (3,), by whole cells in which nothing is near."""
        before = [max(0, math.ceil((own - float(new)) / self.cell)) for own, new in zip(self.lower, low)]
        after = [max(0, math.ceil((float(new) - own) / self.cell)) for own, new in zip(self.upper, high)]
        pads = [count for pair in zip(before, after) for count in pair]
        values = torch.nn.functional.pad(self.values, pads, value=self.band)
        x, y, z = (own - count * self.cell for own, count in zip(self.lower, before))
        return BodySdf(values, (x, y, z), self.cell, self.band)

    def _join(self, volumes: Tensor, low: Tensor, high: Tensor) -> None:
        """Join volumes in place, within the box from `low` to `high` (3,)."""
        axes, slices = [], []
        for axis, size in enumerate(reversed(self.values.shape)):
            first = max(0, math.floor((float(low[axis]) - self.lower[axis]) / self.cell))
            last = min(size, math.ceil((float(high[axis]) - self.lower[axis]) / self.cell) + 1)
            slices.append(slice(first, last))
            axes.append(self.lower[axis] + self.cell * torch.arange(first, last, device=self.values.device))
        part = self.values[tuple(reversed(slices))]
        z, y, x = torch.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
        points = torch.stack([x, y, z], dim=-1).reshape(-1, 3)
        part.copy_(joined(part.reshape(-1), points, volumes).view_as(part))

    def half_precision(self) -> "BodySdf":
        """Round to what an artifact holds, so that a sampled and a loaded field are the same field."""
        return BodySdf(self.values.half().float(), self.lower, self.cell, self.band)

    def tensors(self) -> dict[str, Tensor]:
        """Return the grid as tensors named `body_sdf.*` for an artifact, values in half precision."""
        frame = torch.tensor([*self.lower, self.cell, self.band], dtype=torch.float64)
        return {"body_sdf.values": self.values.half().cpu(), "body_sdf.frame": frame}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "BodySdf | None":
        """Rebuild a grid from `tensors()`, or None where they hold none."""
        if "body_sdf.values" not in tensors:
            return None
        x, y, z, cell, band = tensors["body_sdf.frame"].tolist()
        return cls(tensors["body_sdf.values"].float(), (x, y, z), cell, band)

    def to(self, device: torch.device | str) -> "BodySdf":
        """Return the same grid on another device."""
        return BodySdf(self.values.to(device), self.lower, self.cell, self.band)


def sample_body_sdf(surface: BodySurface, *, cell: float, band: float) -> BodySdf:
    """Sample exact distances to `surface` on a grid that reaches `band` metres beyond it.

    Distances come from closest-point queries; signs near the surface from winding numbers, elsewhere from
    the connected region a corner lies in. Hollows that no path joins to the outside (eye sockets, a closed
    mouth) count as inside.

    Raises BodyError when the mesh encloses no grid point.
    """
    lower = (surface.vertices.amin(0) - band).tolist()
    upper = (surface.vertices.amax(0) + band).tolist()
    coarse = COARSE_STEP * cell
    sizes = [COARSE_STEP * math.ceil((high - low) / coarse) + 1 for low, high in zip(lower, upper)]
    values = surface.vertices.new_full(sizes[::-1], band)
    near = _near_mask(surface, lower, sizes, cell, band)
    index = near.nonzero()
    points = index.flip(1).to(torch.float32) * cell + values.new_tensor(lower)
    values[near] = surface.closest(points, band).distance
    inside = torch.from_numpy(_inside_mask(surface, values, lower, cell)).to(values.device)
    if not inside.any():
        raise BodyError("the body's mesh encloses no space: its faces must be closed and face outward")
    return BodySdf(torch.where(inside, -values, values), tuple(lower), cell, band)


def _near_mask(surface: BodySurface, lower: list[float], sizes: list[int], cell: float, band: float) -> Tensor:
    """(Z, Y, X) bool: corners that can lie within `band` of the surface, by distances on a coarser grid."""
    steps = [(size - 1) // COARSE_STEP for size in sizes]
    axes = [
        (torch.arange(count, device=surface.vertices.device) + 0.5) * COARSE_STEP * cell + low
        for count, low in zip(steps, lower)
    ]
    z, y, x = torch.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    centres = torch.stack([x, y, z], dim=-1).reshape(-1, 3)
    reach = band + 0.5 * math.sqrt(3.0) * COARSE_STEP * cell
    block = (surface.closest(centres, reach).distance < reach).reshape(z.shape)
    for axis in range(3):
        block = block.repeat_interleave(COARSE_STEP, dim=axis)
    return torch.nn.functional.pad(block, (0, 1, 0, 1, 0, 1), value=False)


def _inside_mask(surface: BodySurface, distance: Tensor, lower: list[float], cell: float) -> np.ndarray:
    origin = distance.new_tensor(lower)

    def ask(index: np.ndarray) -> np.ndarray:
        points = torch.from_numpy(index[:, ::-1].astype(np.float32)).to(distance.device) * cell + origin
        return surface.inside(points).cpu().numpy()

    close = (distance < NEAR_CELLS * cell).cpu().numpy()
    regions, count = ndimage.label(~close)
    inside = np.zeros(close.shape, bool)
    inside[close] = ask(np.argwhere(close))
    firsts = np.unique(regions, return_index=True)[1][-count:]
    seeds = np.stack(np.unravel_index(firsts, regions.shape), axis=1)
    inside |= np.concatenate([[False], ask(seeds)])[regions]
    outside, _ = ndimage.label(~inside)
    return outside != outside[0, 0, 0]
