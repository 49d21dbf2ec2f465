"""The explicit mesh of an avatar: marching cubes, one closed component, decimated, textured."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import fast_simplification
import mcubes
import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from trimesh.exchange.ply import export_ply

from avatar_core.errors import DivergenceError
from avatar_core.export.lens import Lens, MagnifiedSurface
from avatar_core.export.normal_map import NormalMap, bake_normals
from avatar_core.export.repair import is_closed, separate_pinches
from avatar_core.export.surface import SmoothSurface, Surface, distance_grid, evaluate
from avatar_core.export.texture import Texture, bake, unwrap

log = logging.getLogger(__name__)

DECIMATION_TRIES = ((5.0, 1.0), (3.0, 1.2), (3.0, 1.6))
"""Speeds, and factors on the wanted triangles, tried in turn until the result is closed."""

AGREEMENT = 0.5
"""Least cosine between a vertex's normal by its triangles and that of the surface which it takes over."""


@dataclass(frozen=True)
class TriangleMesh:
    """A coloured triangle mesh in the body's bind pose, Y up."""

    vertices: NDArray[np.float32]
    """(V, 3) metres."""
    faces: NDArray[np.int32]
    """(F, 3) counter-clockwise seen from outside."""
    normals: NDArray[np.float32]
    """(V, 3) unit, outward."""
    colors: NDArray[np.float32]
    """(V, 3) albedo in [0, 1], sRGB, for formats without textures."""
    texture: Texture
    """The albedo in full."""
    normal_map: NormalMap | None = None
    """Relief finer than the triangles; None where there is none."""


def extract_mesh(
    surface: Surface,
    *,
    voxel: float,
    faces: int,
    texture_size: int = 1024,
    lens: Lens | None = None,
    batch: int = 65536,
) -> TriangleMesh:
    """Turn an implicit avatar into one closed, outward-facing mesh with a texture.

    Args:
        surface: the field, in the bind pose.
        voxel: edge of the marching cubes' cells, metres.
        faces: triangles that the shape gets; fewer when the surface gives fewer.
        texture_size: texels a side of the texture.
        lens: part of the avatar that gets finer cells, more triangles and more texels.
        batch: points asked of the field at once.
    Returns:
        the largest component as a mesh; equal fields give equal bytes on one kind of machine.
    Raises:
        DivergenceError: the field has no surface in its bounds, or is not finite.
    """
    seen = surface if lens is None else MagnifiedSurface(surface, lens)
    grid = distance_grid(seen, voxel, batch=batch)
    if not np.isfinite(grid.values).all():
        raise DivergenceError("the avatar's distance field is not finite: run its texturing again with another seed")
    # PyMCubes names the faces inward for negative-inside volumes, hence the sign.
    corners, triangles = mcubes.marching_cubes(-grid.values, 0.0)
    if not len(triangles):
        raise DivergenceError(
            "the avatar's distance field has no surface inside its bounds: run its texturing again with another seed"
        )
    vertices, triangles = largest_component(grid.origin + corners * grid.voxel, triangles.astype(np.int32))
    log.debug("marching cubes: %d field evaluations, %d triangles", grid.evaluations, len(triangles))
    vertices, triangles = decimate(vertices, triangles, faces)
    enlarged = vertices  # what gets more triangles gets more of the texture too
    if lens is not None:
        vertices = lens.reduce(torch.from_numpy(vertices)).numpy()
    if signed_volume(vertices, triangles) < 0:
        triangles = triangles[:, ::-1]
    placed = vertices.astype(np.float32)

    def color(points: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.clip(evaluate(surface, points, batch=batch, what="color"), 0.0, 1.0).astype(np.float32)

    triangles = np.ascontiguousarray(triangles, dtype=np.int32)
    colors = color(placed)
    if not np.isfinite(colors).all():
        raise DivergenceError("the avatar's colour field is not finite: run its texturing again with another seed")
    texture = bake(color, placed, triangles, unwrap(enlarged, triangles, texture_size), texture_size)
    return TriangleMesh(placed, triangles, vertex_normals(placed, triangles), colors, texture)


def with_normal_map(
    mesh: TriangleMesh, surface: SmoothSurface, size: int, *, batch: int = 65536
) -> TriangleMesh:
    """Return the mesh with the normals of the surface that it was extracted from as a map of `size` texels a side.

    Raises DivergenceError when those normals are not finite.
    """

    def facing(points: NDArray[np.float32]) -> NDArray[np.float32]:
        return evaluate(surface, points, batch=batch, what="normal")

    relief = bake_normals(facing, mesh.vertices, mesh.normals, mesh.faces, mesh.texture.charts, size)
    return replace(mesh, normal_map=relief)


def with_surface_normals(mesh: TriangleMesh, surface: SmoothSurface) -> TriangleMesh:
    """Return the mesh shaded by the surface that it was extracted from instead of by its own triangles.

    A vertex whose triangles face elsewhere than the surface (by more than AGREEMENT) keeps their normal.
    """
    smooth = evaluate(surface, mesh.vertices, batch=len(mesh.vertices), what="normal")
    agree = (smooth * mesh.normals).sum(axis=1, keepdims=True) > AGREEMENT
    return replace(mesh, normals=np.where(agree, smooth, mesh.normals))


def largest_component(
    vertices: NDArray[np.floating], faces: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Keep the connected component with the most triangles; vertices (V, 3), faces (F, 3)."""
    label = _labels(len(vertices), faces)[faces[:, 0]]
    kept = faces[label == np.bincount(label).argmax()]
    used, renumbered = np.unique(kept, return_inverse=True)
    return vertices[used].astype(np.float64), renumbered.reshape(-1, 3).astype(np.int32)


def components(vertices: int, faces: NDArray[np.integer]) -> int:
    """Return the number of connected pieces of faces (F, 3) over so many vertices; lone vertices count too."""
    return int(_labels(vertices, faces).max()) + 1


def _labels(vertices: int, faces: NDArray[np.integer]) -> NDArray[np.int32]:
    rows, columns = faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel()
    links = coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(vertices, vertices))
    return connected_components(links, directed=False)[1]


def decimate(
    vertices: NDArray[np.floating], faces: NDArray[np.int32], target: int
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Reduce to about `target` triangles by quadric edge collapse, keeping the mesh closed.

    Collapses may pinch thin parts, which are separated again; a result that is still not closed is tried
    again with other settings, and the input is returned when none holds.
    """
    points = np.ascontiguousarray(vertices, dtype=np.float64)
    if len(faces) <= target:
        return points, faces
    for speed, slack in DECIMATION_TRIES:
        count = min(int(target * slack), len(faces))
        fewer_points, fewer = fast_simplification.simplify(points, faces, target_count=count, agg=speed)
        fewer_points, fewer = largest_component(*separate_pinches(fewer_points, fewer.astype(np.int32)))
        if is_closed(fewer):
            return fewer_points, fewer
        log.debug("decimation at speed %.0f left open edges", speed)
    log.warning("decimation to %d triangles would open the mesh; it keeps its %d", target, len(faces))
    return points, faces


def signed_volume(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> float:
    """Enclosed volume in cubic metres, positive when faces (F, 3) look outward."""
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def vertex_normals(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> NDArray[np.float32]:
    """Unit normals (V, 3): the faces' normals weighted by the angle at the vertex (Thürmer & Wüthrich 1998)."""
    corners = vertices.astype(np.float64)[faces]
    ahead = np.roll(corners, -1, axis=1) - corners
    behind = np.roll(corners, 1, axis=1) - corners
    cross = np.cross(ahead[:, 0], behind[:, 0])
    length = np.linalg.norm(cross, axis=1, keepdims=True)
    flat = cross / np.maximum(length, 1e-20)
    cosine = (ahead * behind).sum(-1) / np.maximum(
        np.linalg.norm(ahead, axis=-1) * np.linalg.norm(behind, axis=-1), 1e-20
    )
    angles = np.arccos(np.clip(cosine, -1.0, 1.0))
    summed = np.zeros((len(vertices), 3))
    for corner in range(3):
        np.add.at(summed, faces[:, corner], flat * angles[:, corner, None])
    size = np.linalg.norm(summed, axis=1, keepdims=True)
    up = np.array([0.0, 1.0, 0.0])
    return np.where(size > 1e-12, summed / np.maximum(size, 1e-12), up).astype(np.float32)


def to_trimesh(mesh: TriangleMesh) -> trimesh.Trimesh:
    """Return the mesh with 8-bit vertex colours, its vertices in the same order."""
    colors = np.concatenate([mesh.colors, np.ones((len(mesh.colors), 1), np.float32)], axis=1)
    return trimesh.Trimesh(
        mesh.vertices,
        mesh.faces,
        vertex_normals=mesh.normals,
        vertex_colors=np.round(colors * 255).astype(np.uint8),
        process=False,
    )


def ply_bytes(mesh: TriangleMesh) -> bytes:
    """Return a binary PLY with normals and vertex colours; equal meshes give equal bytes."""
    return export_ply(to_trimesh(mesh), encoding="binary", vertex_normal=True)
