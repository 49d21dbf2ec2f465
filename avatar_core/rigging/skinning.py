"""Skinning weights of a new mesh from the body it grew on, and linear blend skinning with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from avatar_core.errors import BodyError
from avatar_core.rigging.closest import closest_points

INFLUENCES = 4
NEAREST = 0.0005
"""Neighbours nearer than this count no more than at this distance, metres."""


@dataclass(frozen=True)
class Skin:
    """At most four joints a vertex, strongest first; weights sum to 1 and unused slots name joint 0."""

    joints: NDArray[np.uint8]
    """(V, 4)"""
    weights: NDArray[np.float32]
    """(V, 4)"""

    def renamed(self, numbers: Sequence[int]) -> Skin:
        """Return the skin with joint j called `numbers[j]`; several may come to be the same."""
        return Skin(np.asarray(numbers, np.uint8)[self.joints], self.weights)

    def dense(self, joints: int) -> NDArray[np.float32]:
        """Return the weights as a (V, joints) matrix."""
        matrix = np.zeros((len(self.joints), joints), np.float32)
        np.add.at(matrix, (np.arange(len(matrix))[:, None], self.joints.astype(np.int64)), self.weights)
        return matrix


@dataclass(frozen=True)
class LoosePart:
    """What stands away from the body and follows it in a way of its own."""

    share: NDArray[np.floating]
    """(V,) in [0, 1]: how much each vertex of the mesh belongs to it, where it is free of the body."""
    hidden: NDArray[np.floating]
    """(V,) in [0, 1]: how much each vertex goes with it even on the body's skin, because it is out of sight there."""
    weights: NDArray[np.floating]
    """(V, J) the weights that its vertices have, rows sum to 1."""


TIGHT, LOOSE = 0.015, 0.06
"""Distances from the body up to which a loose part still moves with the closest skin, and from which it is free."""


def transfer_weights(
    vertices: NDArray[np.floating],
    normals: NDArray[np.floating],
    faces: NDArray[np.integer],
    body_vertices: NDArray[np.floating],
    body_faces: NDArray[np.integer],
    body_weights: NDArray[np.floating],
    *,
    smoothing: int = 3,
    turn_penalty: float = 0.03,
    loose: Sequence[LoosePart] = (),
) -> Skin:
    """Skin a mesh by the closest points of a skinned body in the same pose.

    Args:
        vertices: (V, 3) of the new mesh, metres.
        normals: (V, 3) of the new mesh.
        faces: (F, 3) of the new mesh.
        body_vertices: (B, 3) metres, same pose.
        body_faces: (G, 3).
        body_weights: (B, J), rows sum to 1.
        smoothing: rounds of averaging over neighbouring vertices.
        turn_penalty: see `closest_points`.
        loose: what stands away from the body; where parts overlap, the later one counts more.
    Raises:
        BodyError: the body's weights and vertices do not match, or it has more joints than a byte can name.
    """
    if len(body_weights) != len(body_vertices) or body_weights.shape[1] > 256:
        raise BodyError(
            f"skinning weights of shape {body_weights.shape} do not fit a body of {len(body_vertices)} vertices "
            "(one row a vertex, at most 256 joints)"
        )
    found = closest_points(vertices, normals, body_vertices, body_faces, turn_penalty=turn_penalty)
    corner_weights = np.asarray(body_weights, dtype=np.float64)[body_faces[found.face]]
    weights = (found.barycentric[..., None] * corner_weights).sum(axis=1)
    free = np.clip((found.distance - TIGHT) / (LOOSE - TIGHT), 0.0, 1.0)
    for part in loose:
        share = np.maximum(free * part.share, part.hidden)[:, None]
        weights = (1.0 - share) * weights + share * part.weights
    return strongest(smooth(weights, vertices, faces, rounds=smoothing))


def smooth(
    weights: NDArray[np.float64], vertices: NDArray[np.floating], faces: NDArray[np.integer], *, rounds: int
) -> NDArray[np.float64]:
    """Average weights (V, J) `rounds` times, half with the mean of the neighbours over faces (F, 3)."""
    if rounds == 0:
        return weights
    mean = neighbour_mean(mesh_edges(faces), vertices)
    for _ in range(rounds):
        weights = 0.5 * weights + 0.5 * (mean @ weights)
    return weights


def mesh_edges(faces: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return each edge of faces (F, 3) once: (E, 2) vertices, rising."""
    return np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)


def neighbour_mean(edges: NDArray[np.integer], vertices: NDArray[np.floating]) -> csr_matrix:
    """Return the (V, V) matrix that averages over the neighbours along edges (E, 2); zero rows where there are none.

    Near ones count more, by the inverse of their distance: what varies evenly over the surface stays as it is,
    however uneven the mesh.
    """
    near = 1.0 / (np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1) + NEAREST)
    rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
    near = np.concatenate([near, near])
    total = np.bincount(rows, near, minlength=len(vertices))
    return csr_matrix((near / total[rows], (rows, columns)), shape=(len(vertices), len(vertices)))


EQUAL = 1.02
"""How much stronger the strongest influence is than the fifth, at least, for the fifth to be taken off."""


def strongest(weights: NDArray[np.floating], *, fading: bool = False) -> Skin:
    """Keep the four strongest influences of weights (V, J) and make them sum to one.

    fading: less what the fifth has. So an influence that falls behind over the surface has faded out where another
        takes its place, and no edge lies between vertices that follow different bones all of a sudden.
    """
    order = np.argsort(-weights, axis=1, kind="stable")[:, : INFLUENCES + 1]
    kept = np.take_along_axis(weights, order, axis=1)
    order, fifth = order[:, :INFLUENCES], kept[:, INFLUENCES:].sum(axis=1, keepdims=True)
    kept = kept[:, :INFLUENCES]
    if fading:
        # Where five are equal, nothing would be left.
        kept = np.where(kept[:, :1] > EQUAL * fifth, kept - fifth, kept)
    kept[kept < 1e-3 * kept[:, :1]] = 0.0
    kept = (kept / kept.sum(axis=1, keepdims=True)).astype(np.float32)
    # The float32 rounding goes to the strongest, so that the sum is one to the last bit that matters.
    kept[:, 0] += 1.0 - kept.sum(axis=1, dtype=np.float32)
    return Skin(np.where(kept > 0, order, 0).astype(np.uint8), kept)


def deform(vertices: NDArray[np.floating], skin: Skin, transforms: NDArray[np.floating]) -> NDArray[np.float32]:
    """Linear blend skinning: vertices (V, 3) by transforms (J, 4, 4) or (T, J, 4, 4) to (V, 3) or (T, V, 3)."""
    weights = skin.dense(transforms.shape[-3])
    blended = np.tensordot(np.asarray(transforms, np.float32)[..., :3, :], weights, axes=([-3], [1]))
    points = np.concatenate([vertices, np.ones((len(vertices), 1))], axis=1).astype(np.float32)
    posed = (blended * points.T[None]).sum(axis=-2)
    return np.ascontiguousarray(np.swapaxes(posed, -1, -2))


def normals_posed(normals: NDArray[np.floating], skin: Skin, transforms: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rotate normals (V, 3) with the blended transforms, as real-time engines do; shapes as in `deform`."""
    turned = np.array(transforms, np.float32)
    turned[..., :3, 3] = 0.0
    moved = deform(normals, skin, turned)
    return moved / np.maximum(np.linalg.norm(moved, axis=-1, keepdims=True), 1e-12)


def edge_stretch(
    vertices: NDArray[np.floating], faces: NDArray[np.integer], posed: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Longest-edge measure of tearing: ratio of posed to bind length of each edge, worst over frames.

    Args:
        vertices: (V, 3) bind pose.
        faces: (F, 3).
        posed: (T, V, 3).
    Returns:
        (E,) ratios; edges under a millimetre are measured as if a millimetre longer.
    """
    edges = mesh_edges(faces)
    slack = 1e-3
    rest = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=-1) + slack
    worst = np.zeros(len(edges))
    for frame in posed:
        length = np.linalg.norm(frame[edges[:, 0]] - frame[edges[:, 1]], axis=-1) + slack
        worst = np.maximum(worst, length / rest)
    return worst
