"""Which triangles of a mesh cut through others of it, by edges that pierce triangles.

Two triangles that cross have an edge of one that goes through the other, so that asking every edge finds them all.
Triangles that only touch, or that lie in one plane, do not count.
"""

# mypy: disable-error-code="valid-type, operator"
# Annotations of Warp kernels are values that Warp reads, not Python types.

from __future__ import annotations

import numpy as np
import torch
import warp as wp
from numpy.typing import NDArray

from avatar_core.rendering.warp_runtime import torch_stream


@wp.func
def _volume(a: wp.vec3d, b: wp.vec3d, c: wp.vec3d, d: wp.vec3d) -> wp.float64:
    """Six times the signed volume of a tetrahedron."""
    return wp.dot(a - d, wp.cross(b - d, c - d))


@wp.func
def _double(point: wp.vec3) -> wp.vec3d:
    return wp.vec3d(wp.float64(point[0]), wp.float64(point[1]), wp.float64(point[2]))


@wp.kernel(enable_backward=False)
def _pierce(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    faces: wp.array2d(dtype=wp.int32),
    edges: wp.array2d(dtype=wp.int32),
    pierced: wp.array(dtype=wp.int32),
    piercing: wp.array(dtype=wp.int32),
):
    edge = wp.tid()
    first = edges[edge, 0]
    second = edges[edge, 1]
    zero = wp.float64(0.0)
    start = _double(points[first])
    end = _double(points[second])
    near = wp.mesh_query_aabb(mesh, wp.min(points[first], points[second]), wp.max(points[first], points[second]))
    other = wp.int32(0)
    while wp.mesh_query_aabb_next(near, other):
        i = faces[other, 0]
        j = faces[other, 1]
        k = faces[other, 2]
        apart = first != i and first != j and first != k and second != i and second != j and second != k
        if apart:
            a = _double(points[i])
            b = _double(points[j])
            c = _double(points[k])
            if _volume(start, a, b, c) * _volume(end, a, b, c) < zero:
                ab = _volume(start, end, a, b)
                bc = _volume(start, end, b, c)
                ca = _volume(start, end, c, a)
                if ab * bc > zero and bc * ca > zero:
                    piercing[edge] = 1
                    pierced[other] = 1


def cut_triangles(
    vertices: NDArray[np.floating], faces: NDArray[np.integer], device: torch.device | None = None
) -> NDArray[np.bool_]:
    """Return which triangles (F,) cut through another one of the same mesh, corners and edges in common apart.

    Args:
        vertices: (V, 3); taken as float32 and compared in double precision.
        faces: (F, 3).
        device: where to look; the CPU where nothing is given.
    """
    if not len(faces):
        return np.zeros(0, bool)
    place = torch.device("cpu") if device is None else device
    sides = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1).astype(np.int64)
    codes, owned = np.unique(sides[:, 0] * len(vertices) + sides[:, 1], return_inverse=True)
    edges = np.stack(np.divmod(codes, len(vertices)), axis=1)
    corners = torch.from_numpy(np.ascontiguousarray(vertices, np.float32)).to(place)
    triangles, lines = (torch.from_numpy(np.ascontiguousarray(ends, np.int32)).to(place) for ends in (faces, edges))
    pierced, piercing = (torch.zeros(len(found), dtype=torch.int32, device=place) for found in (faces, edges))
    with torch_stream(place):
        points = wp.from_torch(corners, dtype=wp.vec3)
        mesh = wp.Mesh(points, wp.from_torch(triangles.reshape(-1)))
        inputs = [mesh.id, points, *map(wp.from_torch, (triangles, lines, pierced, piercing))]
        wp.launch(_pierce, dim=len(edges), inputs=inputs, device=str(place))
    through = piercing.cpu().numpy()[owned.reshape(-1, 3)]
    return (pierced.cpu().numpy() > 0) | (through > 0).any(axis=1)


def cut_triangles_reference(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return what `cut_triangles` returns, by asking every edge of every triangle; for small meshes."""
    points = np.asarray(vertices, np.float32).astype(np.float64)
    a, b, c = (points[faces[:, corner]] for corner in range(3))

    def volume(p: NDArray, q: NDArray, r: NDArray, s: NDArray) -> NDArray[np.float64]:
        return ((p - s) * np.cross(q - s, r - s)).sum(-1)

    cut = np.zeros(len(faces), bool)
    for face, corners in enumerate(faces):
        for first, second in ((corners[0], corners[1]), (corners[1], corners[2]), (corners[2], corners[0])):
            start, end = points[first], points[second]
            apart = ~np.isin(faces, (first, second)).any(axis=1)
            across = volume(start, a, b, c) * volume(end, a, b, c) < 0
            ab, bc, ca = (volume(start, end, p, q) for p, q in ((a, b), (b, c), (c, a)))
            pierced = apart & across & (ab * bc > 0) & (bc * ca > 0)
            cut |= pierced
            cut[face] |= pierced.any()
    return cut
