"""A finished avatar with fewer triangles: decimated, with its pictures baked anew onto what is left."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from avatar_core.export.finished import FinishedAvatar, texture_colors
from avatar_core.export.mesh import TriangleMesh, decimate
from avatar_core.export.normal_map import NormalMap, bake_normals, decoded
from avatar_core.export.tangents import frames
from avatar_core.export.texels import Places
from avatar_core.export.texture import bake, unwrap
from avatar_core.rigging.closest import closest_points
from avatar_core.rigging.skinning import Skin, strongest

SMALLEST = 64
"""Texels a side of the smallest picture."""


def reduced(avatar: FinishedAvatar, share: float) -> tuple[TriangleMesh, Skin]:
    """Return the avatar's mesh with about `share` of its triangles, and that mesh's weights.

    Pictures shrink with the triangles, to the power of two that keeps their texels about as large on the body.
    """
    source = _Source(avatar)
    whole, triangles, _ = avatar.welded
    places_left, faces = decimate(whole, triangles, int(share * len(triangles)))
    vertices = places_left.astype(np.float32)
    size = _shrunk(len(avatar.mesh.texture.image), share)
    texture = bake(source.colors, vertices, faces, unwrap(vertices, faces, size), size)
    places = source.nearest(vertices)
    normals = source.normals(places)
    mesh = TriangleMesh(vertices, faces, normals, source.colors(vertices), texture)
    relief = avatar.mesh.normal_map
    if relief is not None:
        small = _shrunk(len(relief.image), share)
        baked = bake_normals(source.facing, vertices, normals, faces, texture.charts, small)
        mesh = TriangleMesh(vertices, faces, normals, mesh.colors, texture, baked)
    weights = places.interpolate(avatar.skin.dense(len(avatar.skeleton.names)), avatar.mesh.faces)
    return mesh, strongest(weights.astype(np.float64))


def _shrunk(size: int, share: float) -> int:
    return max(SMALLEST, 2 ** round(math.log2(size * math.sqrt(share))))


class _Source:
    """What the whole avatar looks like at the points nearest to those asked for."""

    def __init__(self, avatar: FinishedAvatar) -> None:
        self._mesh = avatar.mesh

    def nearest(self, points: NDArray[np.floating]) -> Places:
        """The places of the mesh nearest to points (N, 3)."""
        found = closest_points(points, None, self._mesh.vertices, self._mesh.faces)
        return Places(np.ones(len(points), bool), found.face, found.barycentric.astype(np.float32))

    def normals(self, places: Places) -> NDArray[np.float32]:
        """Unit normals (N, 3) that the mesh is shaded with."""
        normals = places.interpolate(self._mesh.normals, self._mesh.faces)
        return (normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)).astype(np.float32)

    def colors(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Albedo (N, 3), sRGB in [0, 1]."""
        return texture_colors(self._mesh.texture.image, self._uvs(self.nearest(points)))

    def facing(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit normals (N, 3) with the relief of the normal map."""
        relief, places = self._mesh.normal_map, self.nearest(points)
        if relief is None:
            return self.normals(places)
        return self._relief(relief, places)

    def _relief(self, relief: NormalMap, places: Places) -> NDArray[np.float32]:
        charts = self._mesh.texture.charts
        axes = frames(self._mesh.normals, relief.tangents, self._mesh.faces, charts, places)
        local = decoded(np.round(texture_colors(relief.image, self._uvs(places)) * 255).astype(np.uint8))
        turned = (local[:, :, None] * axes).sum(axis=1)
        return (turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-20)).astype(np.float32)

    def _uvs(self, places: Places) -> NDArray[np.float32]:
        charts = self._mesh.texture.charts
        return places.interpolate(charts.uvs, charts.face_uvs)
