"""A magnified ball of space, so that grids and decimation spend more on a face than on a back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avatar_core.export.surface import Surface


@dataclass(frozen=True)
class Lens:
    """Enlarges the ball of `radius` about `center` by `power` and pushes the rest outward by as much.

    Radially nothing but the ball is stretched, and nothing is shrunk: distances never become smaller.
    """

    center: tuple[float, float, float]
    """Metres."""
    radius: float
    """Metres."""
    power: float
    """At least 1; 1 changes nothing."""

    def enlarge(self, points: Tensor) -> Tensor:
        """Move points (N, 3) from the world into the enlarged space."""
        offset, distance = self._polar(points)
        inside = distance * self.power
        outside = distance + (self.power - 1) * self.radius
        return self._place(points, offset, torch.where(distance < self.radius, inside, outside) / distance)

    def reduce(self, points: Tensor) -> Tensor:
        """Move points (N, 3) from the enlarged space back into the world."""
        offset, distance = self._polar(points)
        inside = distance / self.power
        outside = distance - (self.power - 1) * self.radius
        return self._place(points, offset, torch.where(distance < self.power * self.radius, inside, outside) / distance)

    def _polar(self, points: Tensor) -> tuple[Tensor, Tensor]:
        offset = points - points.new_tensor(self.center)
        return offset, offset.norm(dim=-1, keepdim=True).clamp_min(1e-9)

    def _place(self, points: Tensor, offset: Tensor, factor: Tensor) -> Tensor:
        return points.new_tensor(self.center) + offset * factor


@dataclass(frozen=True)
class MagnifiedSurface:
    """A surface seen through a lens; its distances stay those of the world, so they are never too long."""

    surface: Surface
    lens: Lens

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Box (3,), (3,) around the enlarged surface, metres."""
        low, high = self.surface.bounds
        push = (self.lens.power - 1) * self.lens.radius
        return low - push, high + push

    def sdf(self, points: Tensor) -> Tensor:
        """World distance (N,) of the world points behind (N, 3)."""
        return self.surface.sdf(self.lens.reduce(points))

    def color(self, points: Tensor) -> Tensor:
        """Albedo (N, 3) of the world points behind (N, 3)."""
        return self.surface.color(self.lens.reduce(points))
