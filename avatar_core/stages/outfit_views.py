"""Flat-coloured views of a body whose region colours vary: geometry and light once, colours as often as needed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from avatar_core.fields.base_layer import sharpened
from avatar_core.fields.body_surface import smooth_normals
from avatar_core.rendering.backgrounds import make_backgrounds
from avatar_core.rendering.lights import random_camera_lights, shade
from avatar_core.rendering.rasterizer import MeshRays
from avatar_core.stages.outfit import Layer, put_on
from avatar_core.stages.texturing_views import PROMPT_KINDS, Subject, framed_cameras
from avatar_core.stages.wearables import Coverage

PLAN: tuple[tuple[str, float, float], ...] = (
    ("body", 0.0, 0.85),
    ("body", 0.55, 0.75),
    ("body", -0.9, 0.9),
    ("back", math.pi - 0.25, 0.85),
    ("face", 0.12, 0.75),
)
"""Prompt, azimuth in radians, and part of the image's height that the subject fills, of each view."""
BACKGROUNDS = ("white", "chessboard", "noise", "white", "black")
"""What is behind the body in each view."""
SUPERSAMPLING = 2
"""Rays along each edge of a pixel."""


class OutfitViews:
    """Fixed views of one body, ready to be dressed.

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3).
        coverage: how much of each vertex every wearable covers.
        subject: framing.
        size: edge of the views, pixels.
        generator: of lights and backgrounds.
    """

    def __init__(
        self,
        vertices: Tensor,
        faces: Tensor,
        coverage: Coverage,
        subject: Subject,
        size: int,
        generator: torch.Generator,
    ) -> None:
        vertices, faces = vertices.cpu(), faces.cpu()
        wide = size * SUPERSAMPLING
        cameras = framed_cameras(
            [(kind == "face", azimuth, fill) for kind, azimuth, fill in PLAN], subject, wide
        )
        cameras = cameras.to("cpu")
        self.prompt = torch.tensor([PROMPT_KINDS.index(kind) for kind, _, _ in PLAN])
        self.size = size
        background = make_backgrounds(BACKGROUNDS, size, size, generator)
        lights = random_camera_lights(generator, cameras)
        raster = MeshRays(vertices, faces).rasterize(cameras)
        hit = (raster.face.reshape(-1) >= 0).nonzero().squeeze(1)
        corners, bary = faces[raster.face.reshape(-1)[hit]], raster.bary.reshape(-1, 3)[hit]
        view, row, column = hit // (wide * wide), hit // wide % wide, hit % wide
        self.first = [int((view < index).sum()) for index in range(len(PLAN) + 1)]
        """Where each view's rays begin."""
        self.cell = row // SUPERSAMPLING * size + column // SUPERSAMPLING
        self.shares = _interpolated(coverage.shares, corners, bary)
        """(N, K) how much of what each ray sees every wearable covers."""
        normals = torch.nn.functional.normalize(
            _interpolated(smooth_normals(vertices, faces), corners, bary), dim=1
        )
        self.light = shade(torch.ones(len(hit), 1), normals, lights, view) / SUPERSAMPLING**2
        part = torch.full((len(hit), 1), 1.0 / SUPERSAMPLING**2)
        covered = torch.stack([self._pooled(index, part[self._rays(index)]) for index in range(len(PLAN))])
        self.backdrop = background * (1.0 - covered)

    def _rays(self, view: int) -> slice:
        return slice(self.first[view], self.first[view + 1])

    def _pooled(self, view: int, values: Tensor) -> Tensor:
        """Sum values (N, C) of one view's rays into its pixels: (C, H, W)."""
        cell = self.cell[self._rays(view)]
        total = torch.zeros(self.size * self.size, values.shape[1]).index_add_(0, cell, values)
        return total.view(self.size, self.size, -1).permute(2, 0, 1)

    def paint(self, layers: list[Layer], views: list[int] | None = None) -> Tensor:
        """Return views (B, 3, H, W) of `layers` (see `Outfit.layers`); all views where none are named."""
        return self.paint_linear(layers, None, views)[0]

    def paint_linear(
        self, layers: list[Layer], varied: int | None, views: list[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return views as a function of one layer's colour: base (B, 3, H, W) + slope (B, 1, H, W) * colour.

        varied: number of that layer in `layers`; without one the slope is zero.
        """
        columns = [index for index, _ in layers]
        colors = torch.tensor([rgb for _, rgb in layers])
        if varied is not None:
            colors[varied] = 0.0
        bases, slopes = [], []
        for view in range(len(PLAN)) if views is None else views:
            rays = self._rays(view)
            light = self.light[rays]
            shares = sharpened(put_on(self.shares[rays][:, columns]))
            bases.append(self.backdrop[view] + self._pooled(view, (shares @ colors) * light))
            seen = torch.zeros_like(light) if varied is None else shares[:, varied : varied + 1] * light
            slopes.append(self._pooled(view, seen))
        return torch.stack(bases), torch.stack(slopes)


def _interpolated(values: Tensor, corners: Tensor, bary: Tensor) -> Tensor:
    """Interpolate values (V, C) at barycentric weights (N, 3) of corners (N, 3)."""
    total = values[corners[:, 0]] * bary[:, :1]
    for corner in (1, 2):
        total = total + values[corners[:, corner]] * bary[:, corner : corner + 1]
    return total
