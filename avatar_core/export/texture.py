"""UV texture of a mesh: charts by xatlas, albedo baked from the field, one texel at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import xatlas
from numpy.typing import NDArray
from torch import Tensor

from avatar_core.errors import DivergenceError
from avatar_core.export.color_space import to_linear, to_srgb
from avatar_core.export.texels import Atlas, Charts, Places, contrast, oversampled, png, spread

Coloring = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Albedo (N, 3), sRGB in [0, 1], of points (N, 3)."""

EDGE = 0.03
"""Texels that differ more than this from a neighbour, in any channel, are averaged over their area."""
PADDING = 4
"""Texels between charts, so that no bilinear sample or first mip level mixes two of them."""
MAX_COST = 8.0
"""Of xatlas: how much a chart may be bent before it is cut. Fewer cuts are fewer seams; stretch stays below a half."""


@dataclass(frozen=True)
class Texture:
    """Albedo of a mesh by its charts."""

    charts: Charts
    image: NDArray[np.uint8]
    """(H, W, 3) sRGB."""

    def on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Return the image (H, W, 3) in [0, 1], sRGB, the UVs (N, 2) and the faces' corners in them (F, 3) int64."""
        image = torch.from_numpy(self.image).to(device).float() / 255
        faces = torch.from_numpy(self.charts.face_uvs.astype(np.int64)).to(device)
        return image, torch.from_numpy(self.charts.uvs).to(device), faces

    def png(self) -> bytes:
        """Return the image as a PNG; equal images give equal bytes."""
        return png(self.image)


def unwrap(vertices: NDArray[np.floating], faces: NDArray[np.integer], size: int) -> Charts:
    """Cut a mesh into charts and pack them into a square of `size` texels.

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3).
        size: texels a side of the texture that the padding between charts is meant for.
    Raises:
        DivergenceError: the mesh has faces that xatlas cannot lay out.
    """
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices.astype(np.float32), faces.astype(np.uint32))
    charting, packing = xatlas.ChartOptions(), xatlas.PackOptions()
    charting.max_cost = MAX_COST
    packing.resolution, packing.padding, packing.bilinear = size, PADDING, True
    atlas.generate(charting, packing)
    vertex, face_uvs, uvs = atlas[0]
    if face_uvs.shape != faces.shape or not np.array_equal(vertex[face_uvs], faces) or not np.isfinite(uvs).all():
        raise DivergenceError(
            f"{len(faces)} triangles could not be laid out as a texture: run texturing again with another seed"
        )
    return Charts(
        np.clip(uvs, 0.0, 1.0).astype(np.float32), face_uvs.astype(np.int32), vertex.astype(np.int32)
    )


def bake(
    color: Coloring, vertices: NDArray[np.floating], faces: NDArray[np.integer], charts: Charts, size: int
) -> Texture:
    """Ask for the albedo of each texel's point on the mesh; texels where colours change are averaged in linear light.

    Args:
        color: albedo of points.
        vertices: (V, 3) metres.
        faces: (F, 3).
        charts: of the mesh.
        size: texels a side.
    """

    def light(places: Places) -> NDArray[np.float32]:
        return to_linear(torch.from_numpy(color(places.interpolate(vertices, faces)))).numpy()

    atlas = Atlas(charts)
    places = atlas.texels(size)
    image = np.zeros((size * size, 3), np.float32)
    image[places.seen] = color(places.interpolate(vertices, faces))
    covered = places.seen.reshape(size, size)
    image = spread(image.reshape(size, size, 3), covered)
    edge = np.flatnonzero((contrast(image) > EDGE) & covered)
    if len(edge):
        mean = oversampled(atlas, light, to_linear(torch.from_numpy(image)).numpy(), edge)
        image.reshape(-1, 3)[edge] = to_srgb(torch.from_numpy(mean)).numpy()
        image = spread(image, covered)
    return Texture(charts, np.round(np.clip(image, 0, 1) * 255).astype(np.uint8))
