"""Closest points of a triangle mesh, among the triangles that face the same way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

NEIGHBOURS = 24
"""Triangles tried for each point, by the distance of their centres."""
BATCH = 8192


@dataclass(frozen=True)
class ClosestPoints:
    """For each of N points: the chosen face, barycentric coordinates in it, and the distance."""

    face: NDArray[np.int64]
    """(N,)"""
    barycentric: NDArray[np.float64]
    """(N, 3), non-negative, rows sum to 1."""
    distance: NDArray[np.float64]
    """(N,) metres."""


def closest_points(
    points: NDArray[np.floating],
    normals: NDArray[np.floating] | None,
    vertices: NDArray[np.floating],
    faces: NDArray[np.integer],
    *,
    turn_penalty: float = 0.03,
) -> ClosestPoints:
    """Find the closest point of a mesh for each query point.

    A surface near two limbs (an inner thigh, an armpit) must follow the limb it faces away from, so triangles
    that face another way than the query are made to look farther, up to `turn_penalty` for opposite ones.

    Args:
        points: (N, 3) metres.
        normals: (N, 3) unit normals at the points, or None for plain distance.
        vertices: (V, 3) metres.
        faces: (F, 3).
        turn_penalty: metres added for a triangle that faces the opposite way.
    """
    corners = np.asarray(vertices, dtype=np.float64)[faces]
    crossed = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    face_normals = crossed / np.maximum(np.linalg.norm(crossed, axis=1, keepdims=True), 1e-20)
    tree = cKDTree(corners.mean(axis=1))
    tried = min(NEIGHBOURS, len(corners))
    face, barycentric, distance = [], [], []
    for start in range(0, len(points), BATCH):
        query = np.asarray(points[start : start + BATCH], dtype=np.float64)
        _, candidates = tree.query(query, k=tried)
        candidates = candidates.reshape(len(query), tried)
        weights = barycentric_closest(query[:, None], corners[candidates])
        foot = (weights[..., None] * corners[candidates]).sum(axis=-2)
        gap = np.linalg.norm(query[:, None] - foot, axis=-1)
        cost = gap
        if normals is not None:
            facing = (face_normals[candidates] * normals[start : start + BATCH, None]).sum(-1)
            cost = gap + turn_penalty * 0.5 * (1 - facing)
        best = cost.argmin(axis=1)[:, None]
        face.append(np.take_along_axis(candidates, best, 1)[:, 0])
        barycentric.append(np.take_along_axis(weights, best[..., None], 1)[:, 0])
        distance.append(np.take_along_axis(gap, best, 1)[:, 0])
    if not face:
        return ClosestPoints(np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0))
    return ClosestPoints(np.concatenate(face), np.concatenate(barycentric), np.concatenate(distance))


def barycentric_closest(points: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Barycentric coordinates (..., 3) of the points of triangles (..., 3, 3) closest to points (..., 3).

    The plane's foot point where it lies inside, else the nearest of the three clamped edge projections.
    """
    a, b, c = (corners[..., i, :] for i in range(3))
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    area = np.maximum(d00 * d11 - d01 * d01, 1e-30)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    inside = np.stack([1 - v - w, v, w], axis=-1)
    edges, gaps = [], []
    for i, j in ((0, 1), (1, 2), (2, 0)):
        start, along = corners[..., i, :], corners[..., j, :] - corners[..., i, :]
        reach = ((points - start) * along).sum(-1) / np.maximum((along * along).sum(-1), 1e-30)
        reach = np.clip(reach, 0.0, 1.0)
        weights = np.zeros(inside.shape)
        weights[..., i], weights[..., j] = 1 - reach, reach
        edges.append(weights)
        gaps.append(((points - start - reach[..., None] * along) ** 2).sum(-1))
    nearest = np.stack(gaps).argmin(axis=0)
    on_edge = np.take_along_axis(np.stack(edges), nearest[None, ..., None], axis=0)[0]
    return np.where((inside >= 0).all(-1, keepdims=True), inside, on_edge)
