"""Flat-coloured views of a body whose region colours vary: geometry and light once, colours as often as needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
from avatar_core.transfers import sent

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


@dataclass(frozen=True, eq=False)
class _Chosen:
    """Some of the views: their n rays that hit the body, and how they become pixels."""

    shares: Tensor
    """(n, K) how much of what each ray sees every wearable covers."""
    light: Tensor
    """(n, 1) that falls on them, times a ray's part of its pixel."""
    pixels: Tensor
    """(P,) int64 among B * H * W: those that have rays."""
    of_pixel: tuple[Tensor, ...]
    """SUPERSAMPLING² times (P,) int64: each pixel's first ray, its second, and so on; n where it has no more."""
    backdrop: Tensor
    """(B, H, W, 4) what is seen beside the body, and nothing in the fourth channel."""

    def add(self, values: Tensor) -> Tensor:
        """Add values (n, 4) of rays to the pixels of the backdrop: (B, 4, H, W). Always in one order, on any device."""
        padded = torch.cat([values, torch.zeros_like(values[:1])])
        total = padded[self.of_pixel[0]]
        for rays in self.of_pixel[1:]:
            total = total + padded[rays]
        flat = self.backdrop.view(-1, 4)
        image = flat.index_copy(0, self.pixels, flat[self.pixels] + total)
        return image.view(self.backdrop.shape).permute(0, 3, 1, 2)


class OutfitViews:
    """Fixed views of one body, ready to be dressed.

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3).
        coverage: how much of each vertex every wearable covers.
        subject: framing.
        size: edge of the views, pixels.
        generator: of lights and backgrounds.
        device: where views are painted; what they see of the body is found on the CPU, the same for every device.
    """

    def __init__(
        self,
        vertices: Tensor,
        faces: Tensor,
        coverage: Coverage,
        subject: Subject,
        size: int,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> None:
        vertices, faces = vertices.cpu(), faces.cpu()
        wide = size * SUPERSAMPLING
        cameras = framed_cameras(
            [(kind == "face", azimuth, fill) for kind, azimuth, fill in PLAN], subject, wide
        )
        cameras = cameras.to("cpu")
        self.prompt = torch.tensor([PROMPT_KINDS.index(kind) for kind, _, _ in PLAN])
        self.size = size
        self.device = torch.device(device)
        self._background = make_backgrounds(BACKGROUNDS, size, size, generator)
        lights = random_camera_lights(generator, cameras)
        raster = MeshRays(vertices, faces).rasterize(cameras)
        hit = (raster.face.reshape(-1) >= 0).nonzero().squeeze(1)
        corners, bary = faces[raster.face.reshape(-1)[hit]], raster.bary.reshape(-1, 3)[hit]
        self._view, row, column = hit // (wide * wide), hit // wide % wide, hit % wide
        self._cell = row // SUPERSAMPLING * size + column // SUPERSAMPLING
        normals = torch.nn.functional.normalize(
            _interpolated(smooth_normals(vertices, faces), corners, bary), dim=1
        )
        self._light = shade(torch.ones(len(hit), 1), normals, lights, self._view) / SUPERSAMPLING**2
        self._shares = _interpolated(coverage.shares, corners, bary)
        self._choices: dict[tuple[int, ...], _Chosen] = {}

    def _choice(self, views: Sequence[int]) -> _Chosen:
        """Return some of the views, found once."""
        key = tuple(views)
        if key not in self._choices:
            self._choices[key] = self._choose(key)
        return self._choices[key]

    def _choose(self, views: tuple[int, ...]) -> _Chosen:
        rays = torch.cat([(self._view == view).nonzero().squeeze(1) for view in views])
        place = torch.zeros(len(PLAN), dtype=torch.int64)
        place[list(views)] = torch.arange(len(views))
        pixel = place[self._view[rays]] * self.size**2 + self._cell[rays]
        order = pixel.argsort(stable=True)
        counts = torch.bincount(pixel, minlength=len(views) * self.size**2)
        pixels = counts.nonzero().squeeze(1)
        number = torch.arange(len(rays)) - (counts.cumsum(0) - counts)[pixel[order]]  # of a ray within its pixel
        table = torch.full((SUPERSAMPLING**2, len(counts)), len(rays))
        table[number, pixel[order]] = order
        covered = counts.view(len(views), 1, self.size, self.size) / SUPERSAMPLING**2
        backdrop = (self._background[list(views)] * (1.0 - covered)).permute(0, 2, 3, 1)
        backdrop = torch.cat([backdrop, torch.zeros_like(backdrop[..., :1])], dim=3)
        chosen = self._shares[rays], self._light[rays], pixels, *table[:, pixels], backdrop
        shares, light, pixels, *of_pixel, backdrop = (sent(one, self.device) for one in chosen)
        return _Chosen(shares, light, pixels, tuple(of_pixel), backdrop)

    def paint(self, layers: list[Layer], views: list[int] | None = None) -> Tensor:
        """Return views (B, 3, H, W) of `layers` (see `Outfit.layers`); all views where none are named."""
        return self.paint_linear(layers, None, views)[0]

    def paint_linear(
        self, layers: list[Layer], varied: int | None, views: list[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return views as a function of one layer's colour: base (B, 3, H, W) + slope (B, 1, H, W) * colour.

        varied: number of that layer in `layers`; without one the slope is zero.
        """
        chosen = self._choice(range(len(PLAN)) if views is None else views)
        columns = sent(torch.tensor([index for index, _ in layers]), self.device)
        colors = torch.tensor([rgb for _, rgb in layers])
        if varied is not None:
            colors[varied] = 0.0
        shares = sharpened(put_on(chosen.shares[:, columns]))
        own = torch.zeros_like(shares[:, :1]) if varied is None else shares[:, varied : varied + 1]
        seen = torch.cat([shares @ sent(colors, self.device), own], dim=1)
        return chosen.add(seen * chosen.light).split([3, 1], dim=1)


def _interpolated(values: Tensor, corners: Tensor, bary: Tensor) -> Tensor:
    """Interpolate values (V, C) at barycentric weights (N, 3) of corners (N, 3)."""
    total = values[corners[:, 0]] * bary[:, :1]
    for corner in (1, 2):
        total = total + values[corners[:, corner]] * bary[:, corner : corner + 1]
    return total
