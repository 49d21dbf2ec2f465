"""Tangents of a textured mesh in glTF's convention, those that MikkTSpace gives the same mesh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar_core.export.texels import Charts, Places


def vertex_tangents(
    vertices: NDArray[np.floating], normals: NDArray[np.floating], faces: NDArray[np.integer], charts: Charts
) -> NDArray[np.float32]:
    """Return unit tangents with their handedness (N, 4), one for each UV.

    The tangent points where u grows; the bitangent, cross(normal, tangent) * w, points up in the image, where v
    falls. After Mikkelsen, "Simulation of wrinkled surfaces revisited" (2008): faces' tangents in the plane of the
    vertex normal, weighted by the angle at the vertex. Vertices on seams have a UV on each side, and so a tangent on
    each. A UV whose faces disagree on the handedness takes that of the wider angle.

    Args:
        vertices: (V, 3) metres.
        normals: (V, 3) unit.
        faces: (F, 3).
        charts: of the mesh.
    """
    corners = vertices.astype(np.float64)[faces]
    places = charts.uvs.astype(np.float64)[charts.face_uvs] * (1.0, -1.0)
    along_1, along_2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    (u_1, v_1), (u_2, v_2) = (places[:, 1] - places[:, 0]).T, (places[:, 2] - places[:, 0]).T
    area = u_1 * v_2 - u_2 * v_1
    tangent = (v_2[:, None] * along_1 - v_1[:, None] * along_2) * np.sign(area)[:, None]
    count = len(charts.uvs)
    total, weight = np.zeros((2 * count, 3)), np.zeros(2 * count)
    for corner in range(3):
        upright = normals.astype(np.float64)[faces[:, corner]]
        ahead, behind = (
            _flattened(corners[:, (corner + step) % 3] - corners[:, corner], upright) for step in (1, 2)
        )
        angle = np.arccos(np.clip((ahead * behind).sum(1), -1.0, 1.0)) * (area != 0)
        owner = 2 * charts.face_uvs[:, corner] + (area > 0)
        weight += np.bincount(owner, angle, len(weight))
        weighted = _flattened(tangent, upright) * angle[:, None]
        for axis in range(3):
            total[:, axis] += np.bincount(owner, weighted[:, axis], len(weight))
    positive = weight[1::2] >= weight[::2]
    chosen = np.where(positive[:, None], total[1::2], total[::2])
    upright = normals.astype(np.float64)[charts.vertex]
    lost = np.linalg.norm(chosen, axis=1) < 1e-9
    chosen[lost] = np.eye(3)[np.abs(upright[lost]).argmin(1)]
    direction = _flattened(chosen, upright)
    return np.concatenate([direction, np.where(positive, 1.0, -1.0)[:, None]], axis=1).astype(np.float32)


def frames(
    normals: NDArray[np.floating],
    tangents: NDArray[np.floating],
    faces: NDArray[np.integer],
    charts: Charts,
    places: Places,
) -> NDArray[np.float32]:
    """Return the frames (M, 3, 3) in which shaders read a normal map: rows tangent, bitangent and normal, unit.

    Interpolated as glTF's sample viewer does; tangent and normal are therefore not quite at right angles.

    Args:
        normals: (V, 3) unit.
        tangents: (N, 4) as `vertex_tangents`.
        faces: (F, 3).
        charts: of the mesh.
        places: M places on it.
    """
    upright = _unit(places.interpolate(normals, faces))
    tangent = places.interpolate(tangents, charts.face_uvs)
    sign = np.where(tangent[:, 3:] < 0, -1.0, 1.0)
    tangent = _unit(tangent[:, :3])
    bitangent = _unit(np.cross(upright, tangent)) * sign
    return np.stack([tangent, bitangent, upright], axis=1).astype(np.float32)


def _flattened(directions: NDArray[np.floating], normals: NDArray[np.floating]) -> NDArray[np.floating]:
    """Directions (M, 3) laid into the planes of unit normals (M, 3), of unit length; zeros stay zeros."""
    return _unit(directions - (directions * normals).sum(1, keepdims=True) * normals)


def _unit(directions: NDArray[np.floating]) -> NDArray[np.floating]:
    return directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-20)
