"""More triangles where the colours change, so that the hem of a shirt is a line and not a saw."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

CONTRAST = 0.05
"""Edges whose ends differ less than this in every channel are left alone."""
SHORTEST = 0.002
"""Edges shorter than this, in metres, are left alone."""
ROUNDS = 4


def refine_by_color(
    vertices: NDArray[np.float32],
    faces: NDArray[np.int32],
    normals: NDArray[np.float32],
    color: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    *,
    budget: int,
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Split the edges that colours change along, most visible first, at most to `budget` triangles.

    The shape stays the same and closed; normals are interpolated, so shading stays the same too.

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3).
        normals: (V, 3) unit.
        color: albedo (N, 3) of points (N, 3).
        budget: triangles not to exceed.
    Returns:
        vertices, faces, normals and colours of the refined mesh.
    """
    colors = color(vertices)
    for _ in range(ROUNDS):
        edges, of_face = unique_edges(faces)
        ends = edges[:, 0], edges[:, 1]
        contrast = np.abs(colors[ends[0]] - colors[ends[1]]).max(axis=1)
        length = np.linalg.norm(vertices[ends[0]] - vertices[ends[1]], axis=1)
        wanted = np.flatnonzero((contrast > CONTRAST) & (length > SHORTEST))
        # Each split edge turns its two triangles into four.
        room = max(0, (budget - len(faces)) // 2)
        wanted = wanted[np.argsort(-(contrast * length)[wanted], kind="stable")[:room]]
        if not len(wanted):
            break
        first, second = edges[wanted, 0], edges[wanted, 1]
        middles = (0.5 * (vertices[first] + vertices[second])).astype(np.float32)
        turned = normals[first] + normals[second]
        turned = turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-6)
        new = np.full(len(edges), -1, np.int64)
        new[wanted] = len(vertices) + np.arange(len(wanted))
        faces = split_faces(faces, new[of_face])
        vertices = np.concatenate([vertices, middles])
        normals = np.concatenate([normals, turned.astype(np.float32)])
        colors = np.concatenate([colors, color(middles)])
    return vertices, faces, normals, colors


def unique_edges(faces: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the edges (E, 2) of faces (F, 3), and (F, 3) which edge runs from corner i to i + 1."""
    sides = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64), axis=1)
    codes, inverse = np.unique(sides[:, 0] * (int(faces.max()) + 1) + sides[:, 1], return_inverse=True)
    edges = np.stack(np.divmod(codes, int(faces.max()) + 1), axis=1)
    return edges, inverse.reshape(-1, 3)


def split_faces(faces: NDArray[np.int32], middle: NDArray[np.int64]) -> NDArray[np.int32]:
    """Divide triangles (F, 3) at new vertices on their sides: `middle` (F, 3), -1 where a side is whole."""
    cut = middle >= 0
    count = cut.sum(axis=1)
    parts = [faces[count == 0]]
    # Turn each triangle so that one cut side comes first, or one whole side comes last.
    start = np.where(count == 1, cut.argmax(axis=1), np.where(count == 2, ((~cut).argmax(axis=1) + 1) % 3, 0))
    order = (start[:, None] + np.arange(3)) % 3
    corner, middle = np.take_along_axis(faces, order, 1), np.take_along_axis(middle, order, 1)
    for cuts, pieces in (
        (1, ("A0C", "0BC")),
        (2, ("A0C", "0B1", "01C")),
        (3, ("A02", "0B1", "21C", "012")),
    ):
        chosen = count == cuts
        names = {name: corner[chosen, i] for i, name in enumerate("ABC")}
        names |= {str(i): middle[chosen, i] for i in range(3)}
        parts += [np.stack([names[name] for name in piece], axis=1) for piece in pieces]
    return np.concatenate(parts).astype(np.int32)
