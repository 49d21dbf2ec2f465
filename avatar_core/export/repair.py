"""Undo what edge collapses leave behind: flaps, and edges that four triangles share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROUNDS = 8
PULL = 0.04
"""How far the two sheets at a pinched edge are drawn apart, as a part of the triangles' height."""


def is_closed(faces: NDArray[np.integer]) -> bool:
    """Whether every directed edge of faces (F, 3) occurs once and has its opposite: closed and oriented."""
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    count = int(faces.max()) + 1 if len(faces) else 0
    forward = np.sort(edges[:, 0] * count + edges[:, 1])
    backward = np.sort(edges[:, 1] * count + edges[:, 0])
    return bool(len(forward) and (np.diff(forward) > 0).all() and (forward == backward).all())


def separate_pinches(
    points: NDArray[np.float64], faces: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Make every edge belong to two triangles, in a closed mesh where an even number may share one.

    Two triangles on the same corners that face apart are dropped. A pinched edge is cut in its middle, and each
    pair of neighbouring triangles around it gets a middle of its own, drawn a little towards them.

    Args:
        points: (V, 3) metres.
        faces: (F, 3), each directed edge as often as its opposite.
    Returns:
        points and faces; still not closed only when the rounds did not suffice.
    """
    faces = drop_flaps(faces)
    for _ in range(ROUNDS):
        if is_closed(faces):
            break
        points, faces = _cut_pinches(points, faces)
        faces = drop_flaps(faces)
    return points, faces


def drop_flaps(faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """Remove triangles of faces (F, 3) without area, and pairs with the same corners that face apart."""
    ordered = np.sort(faces, axis=1)
    faces = faces[(np.diff(ordered, axis=1) > 0).all(axis=1)]
    _, group = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True)
    group = group.reshape(-1)
    shared = np.flatnonzero(np.bincount(group)[group] > 1)
    dropped: set[int] = set()
    members: dict[int, list[int]] = {}
    for face in shared:
        members.setdefault(int(group[face]), []).append(int(face))
    for together in members.values():
        even = [face for face in together if _is_even(faces[face])]
        odd = [face for face in together if not _is_even(faces[face])]
        for first, second in zip(even, odd):
            dropped |= {first, second}
    return np.delete(faces, sorted(dropped), axis=0)


def _is_even(face: NDArray[np.integer]) -> bool:
    """Whether the corners are an even permutation of their sorted order: the side the triangle faces."""
    a, b, c = (int(corner) for corner in face)
    return (a < b < c) or (b < c < a) or (c < a < b)


def _cut_pinches(
    points: NDArray[np.float64], faces: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    sides = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    low, high = sides.min(axis=1), sides.max(axis=1)
    codes, inverse, counts = np.unique(low * len(points) + high, return_inverse=True, return_counts=True)
    pinched = np.flatnonzero(counts != 2)
    owners: dict[int, list[int]] = {int(edge): [] for edge in pinched}
    for side in np.flatnonzero(np.isin(inverse, pinched)):
        owners[int(inverse[side])].append(int(side) // 3)
    added: list[NDArray[np.float64]] = []
    fresh: list[list[int]] = []
    touched: set[int] = set()
    for edge, around in owners.items():
        if touched.intersection(around):
            continue
        start, end = divmod(int(codes[edge]), len(points))
        pairs = _neighbours(points, faces, around, start, end)
        if not pairs:
            continue
        touched.update(around)
        for pair in pairs:
            middle = len(points) + len(added)
            tips = [next(int(c) for c in faces[face] if c not in (start, end)) for face in pair]
            centre = 0.5 * (points[start] + points[end])
            added.append(centre + PULL * (points[tips].mean(axis=0) - centre))
            for face in pair:
                corners = [int(corner) for corner in faces[face]]
                fresh.append([middle if corner == start else corner for corner in corners])
                fresh.append([middle if corner == end else corner for corner in corners])
    if not added:
        return points, faces
    kept = np.delete(faces, sorted(touched), axis=0)
    return np.concatenate([points, added]), np.concatenate([kept, np.array(fresh, dtype=faces.dtype)])


def _neighbours(
    points: NDArray[np.float64], faces: NDArray[np.int32], around: list[int], start: int, end: int
) -> list[tuple[int, int]]:
    """Pair triangles that run along start→end with the next one by angle that runs back."""
    axis = points[end] - points[start]
    axis = axis / max(float(np.linalg.norm(axis)), 1e-12)
    aside = np.eye(3)[np.abs(axis).argmin()]
    first = np.cross(axis, aside)
    first = first / np.linalg.norm(first)
    second = np.cross(axis, first)
    angles, along = {}, {}
    for face in around:
        corners = [int(corner) for corner in faces[face]]
        tip = points[next(c for c in corners if c not in (start, end))] - points[start]
        angles[face] = float(np.arctan2(tip @ second, tip @ first))
        along[face] = corners[(corners.index(start) + 1) % 3] == end
    forward = sorted((f for f in around if along[f]), key=lambda f: (angles[f], f))
    backward = sorted((f for f in around if not along[f]), key=lambda f: (angles[f], f))
    if len(forward) != len(backward) or not forward:
        return []
    turn = next((i for i, face in enumerate(backward) if angles[face] >= angles[forward[0]]), 0)
    return [(face, backward[(turn + i) % len(backward)]) for i, face in enumerate(forward)]
