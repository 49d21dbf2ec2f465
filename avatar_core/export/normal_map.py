"""The relief that a decimated mesh lost, as a normal map in the mesh's own tangent space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar_core.errors import DivergenceError
from avatar_core.export.tangents import frames, vertex_tangents
from avatar_core.export.texels import Atlas, Charts, Places, contrast, oversampled, png, spread

Facing = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Unit outward normals (N, 3) of the high-resolution surface nearest to points (N, 3)."""

NEUTRAL = (128, 128, 255)
"""The colour of the mesh's own normal."""
REACH = 2.0
"""Texels beyond a chart's border that continue it, so that no bilinear sample mixes in what lies between charts."""
CREASE = 0.2
"""Texels whose normal differs more than this from a neighbour's, in any component, are averaged over their area."""
STEEPEST = 0.15
"""Least cosine between a normal and the mesh's own; what is steeper is bent up to it."""


@dataclass(frozen=True)
class NormalMap:
    """Normals of a surface in the tangent space of a mesh that stands for it, as glTF has them (+Y up)."""

    tangents: NDArray[np.float32]
    """(N, 4) unit tangent and handedness of each UV of the mesh's charts."""
    image: NDArray[np.uint8]
    """(H, W, 3) linear: 255 * (0.5 + 0.5 * (along the tangent, along the bitangent, along the normal))."""

    def png(self) -> bytes:
        """Return the image as a PNG; equal images give equal bytes."""
        return png(self.image)

    def relief_degrees(self) -> float:
        """Return the mean angle in degrees by which the map turns the mesh's normals, over what it changes."""
        changed = (self.image != NEUTRAL).any(axis=-1)
        if not changed.any():
            return 0.0
        return float(np.degrees(np.arccos(np.clip(decoded(self.image[changed])[:, 2], -1.0, 1.0))).mean())


def bake_normals(
    facing: Facing,
    vertices: NDArray[np.floating],
    normals: NDArray[np.floating],
    faces: NDArray[np.integer],
    charts: Charts,
    size: int,
) -> NormalMap:
    """Ask for the normal of each texel's point and write it down in the mesh's tangent space.

    Where a surface's normal points away from the mesh's (two sheets closer than the mesh can tell), and between
    charts, the map is neutral.

    Args:
        facing: normals of the surface.
        vertices: (V, 3) metres.
        normals: (V, 3) unit, as the mesh is shaded with.
        faces: (F, 3).
        charts: of the mesh.
        size: texels a side.
    Raises:
        DivergenceError: normals that are not finite.
    """
    tangents = vertex_tangents(vertices, normals, faces, charts)

    def relief(places: Places) -> NDArray[np.float32]:
        wanted = facing(places.interpolate(vertices, faces))
        if not np.isfinite(wanted).all():
            raise DivergenceError("the avatar's normals are not finite: run its texturing again with another seed")
        return in_frames(wanted, frames(normals, tangents, faces, charts, places))

    atlas = Atlas(charts)
    places = atlas.texels(size)
    covered = places.seen.reshape(size, size)
    local = np.zeros((size * size, 3), np.float32)
    local[places.seen] = relief(places)
    local = spread(local.reshape(size, size, 3), covered)
    crease = np.flatnonzero((contrast(local) > CREASE) & covered)
    if len(crease):
        mean = oversampled(atlas, relief, local, crease)
        local.reshape(-1, 3)[crease] = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-20)
    return NormalMap(tangents, spread(encoded(local), covered, REACH, np.array(NEUTRAL, np.uint8)))


def in_frames(directions: NDArray[np.floating], axes: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return unit directions (M, 3) by their shares of the axes (M, 3, 3) of `frames`, of unit length, z > 0.

    The inverse of `normalize(x * tangent + y * bitangent + z * normal)`, also where tangent and normal are not at
    right angles; bent up to STEEPEST, and (0, 0, 1) where a direction points below the surface.
    """
    tangent, bitangent, normal = np.moveaxis(axes.astype(np.float64), 1, 0)
    slant = (tangent * normal).sum(1)
    on_tangent, on_normal = (directions * tangent).sum(1), (directions * normal).sum(1)
    square = np.maximum(1.0 - slant**2, 1e-6)
    x = (on_tangent - slant * on_normal) / square
    y = (directions * bitangent).sum(1)
    z = (on_normal - slant * on_tangent) / square
    flat = np.hypot(x, y)
    z = np.maximum(z, STEEPEST / np.sqrt(1 - STEEPEST**2) * flat)
    local = np.stack([x, y, z], axis=1)
    local[on_normal <= 0] = (0.0, 0.0, 1.0)
    return (local / np.maximum(np.linalg.norm(local, axis=1, keepdims=True), 1e-20)).astype(np.float32)


def encoded(local: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return unit vectors (..., 3) as 8-bit colours."""
    return np.floor(local * 127.5 + 128.0).clip(0, 255).astype(np.uint8)


def decoded(colors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the unit vectors (..., 3) that 8-bit colours stand for, as glTF reads them."""
    local = colors.astype(np.float32) / 127.5 - 1.0
    return local / np.linalg.norm(local, axis=-1, keepdims=True)
