"""A smooth change of a mesh's colours, known by its place in space and so alike on both sides of a seam."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from avatar_core.fields.hash_encoding import HashEncoding
from avatar_core.fields.hash_layout import HashConfig
from avatar_core.fields.hash_network import zero_head

EDGE = 0.01
"""Colours this close to 0 or 1 are moved as if they were this far, where a logit still has a slope."""


class ResidualConfig(BaseModel):
    """Resolution and reach of the change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    grid: HashConfig = HashConfig(levels=6, coarsest_cell=0.12, finest_cell=0.008, log2_table_size=16)
    """Grids under the change; their finest cell is the smallest thing that it can paint."""
    hidden: int = Field(32, ge=4, le=256)
    """Width of the hidden layer."""
    limit: float = Field(0.5, gt=0, le=8)
    """Largest change of an albedo's logit."""
    chroma: float = Field(0.0, ge=0, le=1)
    """Part of the change in hue and saturation that is painted; of the change in lightness, all is. Small encoders are
    pleased by tints that people take for stains, hence none."""


class ColorResidual(nn.Module):
    """Changes albedos by their points; exactly nothing at the start.

    Args:
        config: sizes.
        lower: lowest corner of the box that holds the mesh, metres.
        upper: its highest corner, metres.
        generator: of the first features and weights.
    """

    def __init__(
        self,
        config: ResidualConfig,
        lower: tuple[float, float, float],
        upper: tuple[float, float, float],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.limit, self.chroma = config.limit, config.chroma
        self.encoding = HashEncoding(config.grid, lower, upper, generator)
        self.head = zero_head(self.encoding.width, config.hidden, 3, generator)

    def change(self, points: Tensor) -> Tensor:
        """Return the change (N, 3) of the albedo's logits at `points` (N, 3), metres, within ±limit."""
        raw = self.head(self.encoding(points))
        grey = raw.mean(1, keepdim=True)
        return self.limit * torch.tanh(torch.lerp(grey.expand_as(raw), raw, self.chroma) / self.limit)

    def forward(self, points: Tensor, albedo: Tensor) -> Tensor:
        """Return the changed albedo (N, 3) in [0, 1] of `points` (N, 3) that so far have `albedo` (N, 3)."""
        return recolored(albedo, self.change(points))


def recolored(albedo: Tensor, change: Tensor) -> Tensor:
    """Return albedo (N, 3) in [0, 1] with its logits changed by `change` (N, 3); no change gives it back exactly."""
    inner = albedo.clamp(EDGE, 1.0 - EDGE)
    return (albedo + (torch.sigmoid(torch.logit(inner) + change) - inner)).clamp(0.0, 1.0)
