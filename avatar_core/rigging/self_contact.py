"""How deep limbs go into the body or each other, with a capsule for each bone.

A capsule is as thick as the mesh about its bone is in the middle, so that touching is free and clear overlaps are
found; what lies within a few centimetres is not told from soft tissue and cloth.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.rigging.skinning import Skin

_SEGMENTS: dict[str, tuple[tuple[str, ...], str]] = {
    "hips": (("pelvis", "spine1"), "spine2"),
    "chest": (("spine2", "spine3"), "neck"),
    "head": (("head", "neck"), ""),
} | {
    f"{side}_{name}": ((f"{side}_{joint}",), f"{side}_{end}" if end else "")
    for side in ("left", "right")
    for name, joint, end in (
        ("upper_arm", "shoulder", "elbow"), ("forearm", "elbow", "wrist"), ("hand", "wrist", ""),
        ("thigh", "hip", "knee"), ("shin", "knee", "ankle"),
    )
}  # fmt: skip
"""Of each capsule: the joints whose vertices it stands for, from the first of which it goes to the second joint; a
capsule without one goes to the middle of its vertices."""
_LINKED = (
    {"hips", "chest"}, {"chest", "head"}, *({"hips", f"{side}_thigh"} for side in ("left", "right")),
    *({"chest", f"{side}_upper_arm"} for side in ("left", "right")),
    *({f"{side}_{a}", f"{side}_{b}"} for side in ("left", "right")
      for a, b in (("upper_arm", "forearm"), ("forearm", "hand"), ("thigh", "shin"))),
    *({f"{side}_upper_arm", "head"} for side in ("left", "right")),
    {"left_thigh", "right_thigh"},
)  # fmt: skip
"""Neighbours, which always overlap."""
_MIDDLE = 0.4
"""Quantile of the vertices' distances from the bone that is the capsule's radius."""


def self_penetration(
    vertices: NDArray[np.floating], joints: NDArray[np.floating], skin: Skin, transforms: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the depth (T,) in metres of the deepest overlap of two parts in each frame, less that of the bind pose.

    Args:
        vertices: (V, 3) of the mesh in the bind pose, metres.
        joints: (22, 3) bind-pose joints, metres.
        skin: the mesh's weights.
        transforms: (T, 22, 4, 4) bind space to posed space.
    """
    lead = skin.joints[:, 0]
    ends, radii = {}, {}
    for name, (owners, end) in _SEGMENTS.items():
        first = JOINT_INDEX[owners[0]]
        own = vertices[np.isin(lead, [JOINT_INDEX[owner] for owner in owners])]
        if not len(own):
            continue
        start = joints[first]
        stop = joints[JOINT_INDEX[end]] if end else own.mean(axis=0)
        segment = np.stack([start, stop]).astype(np.float64)
        radii[name] = float(np.quantile(_to_segment(own, segment), _MIDDLE))
        turn, shift = transforms[:, first, :3, :3], transforms[:, first, :3, 3]
        ends[name] = segment, np.einsum("tij,sj->tsi", turn, segment) + shift[:, None]
    deepest = np.zeros(len(transforms))
    for one, other in combinations(ends, 2):
        if {one, other} in _LINKED:
            continue
        reach = radii[one] + radii[other]
        bind = max(0.0, reach - float(_between(ends[one][0][None], ends[other][0][None])[0]))
        deepest = np.maximum(deepest, reach - _between(ends[one][1], ends[other][1]) - bind)
    return deepest


def _to_segment(points: NDArray[np.floating], segment: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances (N,) of points (N, 3) from a segment (2, 3)."""
    along = segment[1] - segment[0]
    part = np.clip((points - segment[0]) @ along / max(float(along @ along), 1e-12), 0, 1)
    return np.linalg.norm(points - segment[0] - part[:, None] * along, axis=1)


def _between(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances (T,) between segments (T, 2, 3) and (T, 2, 3).

    Closest points of two segments after Ericson, Real-Time Collision Detection (2005), section 5.1.9.
    """
    u, v, w = first[:, 1] - first[:, 0], second[:, 1] - second[:, 0], first[:, 0] - second[:, 0]
    uu, uv, vv = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    uw, vw = (u * w).sum(1), (v * w).sum(1)
    cross = np.maximum(uu * vv - uv * uv, 1e-12)
    s = np.clip((uv * vw - uw * vv) / cross, 0, 1)
    t = (uv * s + vw) / np.maximum(vv, 1e-12)
    clipped = np.clip(t, 0, 1)
    s = np.clip(np.where(t == clipped, s, (uv * clipped - uw) / np.maximum(uu, 1e-12)), 0, 1)
    return np.linalg.norm(w + s[:, None] * u - clipped[:, None] * v, axis=1)
