"""Which point of a mesh each texel of its charts shows, what lies between the charts, and images as files."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt

from avatar_core.rendering.rasterizer import MeshRays

FINE = 3
"""Samples a side of a texel that is averaged."""


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
class Places:
    """The M places of an asked list that lie on a chart."""

    seen: NDArray[np.bool_]
    """(L,) which of the asked places they are."""
    face: NDArray[np.int64]
    """(M,) triangle."""
    weights: NDArray[np.float32]
    """(M, 3) barycentric weights of its corners."""

    def interpolate(self, values: NDArray[np.floating], faces: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return values (V, C) of the corners that faces (F, 3) name, interpolated at the places: (M, C)."""
        hit = faces[self.face]
        total = values[hit[:, 0]] * self.weights[:, :1]
        for corner in (1, 2):
            total = total + values[hit[:, corner]] * self.weights[:, corner : corner + 1]
        return total.astype(np.float32)


class Atlas:
    """Charts that can be asked what lies at a place of the unit square."""

    def __init__(self, charts: Charts) -> None:
        flat = np.pad(charts.uvs, ((0, 0), (0, 1)))
        self._rays = MeshRays(torch.from_numpy(flat), torch.from_numpy(charts.face_uvs.astype(np.int64)))

    def at(self, u: NDArray[np.floating], v: NDArray[np.floating]) -> Places:
        """Find places (L,), (L,) of the unit square on the charts."""
        starts = torch.from_numpy(np.stack([u, v, np.ones_like(u)], axis=1).astype(np.float32))
        face, weights, _ = self._rays.cast(starts, torch.tensor([0.0, 0.0, -1.0]).expand_as(starts), 2.0)
        seen = (face >= 0).numpy()
        return Places(seen, face.numpy()[seen], weights.numpy()[seen])

    def texels(self, size: int) -> Places:
        """Find the centres of all texels of a square of `size` a side, row by row."""
        row, column = (part.ravel() for part in np.mgrid[:size, :size])
        return self.at((column + 0.5) / size, (row + 0.5) / size)


def oversampled(
    atlas: Atlas,
    value: Callable[[Places], NDArray[np.floating]],
    image: NDArray[np.floating],
    texels: NDArray[np.integer],
) -> NDArray[np.float32]:
    """Return the mean value (E, C) of FINE * FINE places in each of the `texels` (E,) of an image (S, S, C).

    Args:
        atlas: of the charts.
        value: what is averaged, (M, C) at M places.
        image: gives the value of a texel of which no place lies on a chart.
        texels: numbered row by row.
    """
    size = len(image)
    row, column = np.divmod(texels, size)
    total, count = np.zeros((len(row), image.shape[2]), np.float32), np.zeros((len(row), 1), np.float32)
    for part in range(FINE * FINE):
        down, right = (part // FINE + 0.5) / FINE, (part % FINE + 0.5) / FINE
        places = atlas.at((column + right) / size, (row + down) / size)
        total[places.seen] += value(places)
        count[places.seen] += 1
    return np.where(count > 0, total / np.maximum(count, 1), image[row, column])


def contrast(image: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the largest difference (H, W) of each texel of (H, W, C) to one of its four neighbours in a channel."""
    largest = np.zeros(image.shape[:2], np.float32)
    for axis in (0, 1):
        step = np.abs(np.diff(image, axis=axis)).max(axis=-1)
        first, second = (slice(None),) * axis + (slice(1, None),), (slice(None),) * axis + (slice(None, -1),)
        np.maximum(largest[first], step, out=largest[first])
        np.maximum(largest[second], step, out=largest[second])
    return largest


def spread(
    image: NDArray, covered: NDArray[np.bool_], reach: float = np.inf, beyond: NDArray | None = None
) -> NDArray:
    """Give texels outside of all charts the value of the nearest one inside.

    Args:
        image: (H, W, C).
        covered: (H, W) texels on a chart; there is one at least.
        reach: texels; those farther from every chart get `beyond` instead.
        beyond: (C,)
    """
    distance, nearest = distance_transform_edt(~covered, return_indices=True)
    filled = image[tuple(nearest)]
    if beyond is not None:
        filled[distance > reach] = beyond
    return filled


def png(image: NDArray[np.uint8]) -> bytes:
    """Return an image (H, W, 3) as a PNG; equal images give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
