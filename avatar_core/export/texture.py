"""UV texture of a mesh: charts by xatlas, albedo baked from the field, one texel at a time."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import xatlas
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from avatar_core.errors import DivergenceError
from avatar_core.export.color_space import to_linear, to_srgb
from avatar_core.rendering.rasterizer import MeshRays

Coloring = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Albedo (N, 3), sRGB in [0, 1], of points (N, 3)."""

EDGE = 0.03
"""Texels that differ more than this from a neighbour, in any channel, are averaged over `FINE` samples a side."""
FINE = 3
PADDING = 4
"""Texels between charts, so that no bilinear sample or first mip level mixes two of them."""
MAX_COST = 8.0
"""Of xatlas: how much a chart may be bent before it is cut. Fewer cuts are fewer seams; stretch stays below a half."""


@dataclass(frozen=True)
class Charts:
    """Where the corners of a mesh's faces lie in the unit square, (0, 0) at its top left as in glTF."""

    uvs: NDArray[np.float32]
    """(N, 2)"""
    face_uvs: NDArray[np.int32]
    """(F, 3) into uvs."""
    vertex: NDArray[np.int32]
    """(N,) vertex of the mesh that each UV belongs to; vertices on seams have several."""


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
        buffer = io.BytesIO()
        Image.fromarray(self.image).save(buffer, format="PNG", compress_level=6)
        return buffer.getvalue()


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
    flat = np.pad(charts.uvs, ((0, 0), (0, 1)))
    rays = MeshRays(torch.from_numpy(flat), torch.from_numpy(charts.face_uvs.astype(np.int64)))
    corners = vertices.astype(np.float32)[faces]
    row, column = (part.ravel() for part in np.mgrid[:size, :size])
    seen, points = _surface(rays, corners, (column + 0.5) / size, (row + 0.5) / size)
    image = np.zeros((size * size, 3), np.float32)
    image[seen] = color(points)
    covered = seen.reshape(size, size)
    image = _dilate(image.reshape(size, size, 3), covered)
    edge = np.flatnonzero((_contrast(image) > EDGE) & covered)
    if len(edge):
        image.reshape(-1, 3)[edge] = _averaged(color, rays, corners, row[edge], column[edge], size, image)
        image = _dilate(image, covered)
    return Texture(charts, np.round(np.clip(image, 0, 1) * 255).astype(np.uint8))


def _averaged(
    color: Coloring,
    rays: MeshRays,
    corners: NDArray[np.float32],
    row: NDArray[np.integer],
    column: NDArray[np.integer],
    size: int,
    image: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Albedo (E, 3) of texels at `row` and `column` (E,) as the mean of their samples that lie on the mesh."""
    total, count = np.zeros((len(row), 3), np.float32), np.zeros((len(row), 1), np.float32)
    for part in range(FINE * FINE):
        down, right = (part // FINE + 0.5) / FINE, (part % FINE + 0.5) / FINE
        seen, points = _surface(rays, corners, (column + right) / size, (row + down) / size)
        total[seen] += to_linear(torch.from_numpy(color(points))).numpy()
        count[seen] += 1
    mean = to_srgb(torch.from_numpy(total / np.maximum(count, 1))).numpy()
    return np.where(count > 0, mean, image[row, column])


def _surface(
    rays: MeshRays, corners: NDArray[np.float32], u: NDArray[np.floating], v: NDArray[np.floating]
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Which of the places (N,) in the unit square lie on a chart, and the points (M, 3) of the mesh at those."""
    starts = torch.from_numpy(np.stack([u, v, np.ones_like(u)], axis=1).astype(np.float32))
    face, weights, _ = rays.cast(starts, torch.tensor([0.0, 0.0, -1.0]).expand_as(starts), 2.0)
    seen = (face >= 0).numpy()
    hit = face.numpy()[seen]
    return seen, (corners[hit] * weights.numpy()[seen][..., None]).sum(axis=1)


def _dilate(image: NDArray[np.float32], covered: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Give texels outside of all charts the colour of the nearest one inside."""
    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return image[tuple(nearest)]


def _contrast(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest difference (H, W) of each texel of (H, W, 3) to one of its four neighbours in a channel."""
    largest = np.zeros(image.shape[:2], np.float32)
    for axis in (0, 1):
        step = np.abs(np.diff(image, axis=axis)).max(axis=-1)
        first, second = (slice(None),) * axis + (slice(1, None),), (slice(None),) * axis + (slice(None, -1),)
        np.maximum(largest[first], step, out=largest[first])
        np.maximum(largest[second], step, out=largest[second])
    return largest
