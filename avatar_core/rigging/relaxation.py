"""Relaxing skinning weights where a mesh would tear, found by posing it through a few exercises."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from avatar_core.bodies.rig import Rig
from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.bodies.skeleton import JOINT_INDEX, NUM_JOINTS
from avatar_core.rigging.skinning import Skin, deform, mesh_edges, neighbour_mean, strongest

MOST = 2.2
"""Stretch of an edge in an exercise from which the weights at its ends are averaged with those around."""
ROUNDS = 24
"""Times that the mesh is posed at most."""
AVERAGINGS = 8
"""Averagings after each posing."""
REACH = 5
"""Rings of vertices around a stretched edge that are averaged too."""

Turns = dict[str, tuple[float, float, float]]
_ARMS_DOWN: Turns = {"left_shoulder": (0, 0, -75), "right_shoulder": (0, 0, 75)}
_EXERCISES: tuple[Turns, ...] = (
    _ARMS_DOWN,
    _ARMS_DOWN | {"left_hip": (-30, 0, 0), "right_hip": (25, 0, 0), "right_knee": (45, 0, 0)},
    _ARMS_DOWN | {"right_hip": (-30, 0, 0), "left_hip": (25, 0, 0), "left_knee": (45, 0, 0)},
    {"left_shoulder": (0, 0, 60), "right_shoulder": (0, 0, -60), "head": (0, 50, 0)},
    {"left_shoulder": (0, -75, 0), "right_shoulder": (0, 75, 0), "left_elbow": (0, -70, 0), "right_elbow": (0, 70, 0)},
)
"""Degrees about x (right to left), y (up) and z (front) by which joints are turned from the T-pose."""


def exercises(rig: Rig) -> NDArray[np.float32]:
    """Return transforms (T, B, 4, 4) of a rig in poses that everybody takes: arms down, up and forward, two strides."""
    turns = torch.zeros(len(_EXERCISES), NUM_JOINTS, 3)
    for row, turned in zip(turns, _EXERCISES):
        for joint, degrees in turned.items():
            row[JOINT_INDEX[joint]] = torch.tensor(degrees) * (math.pi / 180)
    local = axis_angle_to_matrix(turns.to(rig.heads))
    return rig.pose(local, rig.heads[:1].expand(len(local), 3)).cpu().numpy().astype(np.float32)


def relaxed(
    skin: Skin,
    vertices: NDArray[np.floating],
    faces: NDArray[np.integer],
    poses: NDArray[np.floating],
) -> Skin:
    """Average weights over neighbours where edges would be stretched, until none is or nothing more helps.

    Elsewhere they stay as they are: averaging everywhere would round off elbows and knees.

    Args:
        skin: of the mesh.
        vertices: (V, 3) bind pose, metres.
        faces: (F, 3).
        poses: (T, B, 4, 4) transforms of the bones, see `exercises`.
    """
    edges = mesh_edges(faces)
    rest = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1) + 1e-3
    mean = neighbour_mean(edges, vertices)
    for _ in range(ROUNDS):
        posed = deform(vertices, skin, poses)
        length = np.linalg.norm(posed[:, edges[:, 0]] - posed[:, edges[:, 1]], axis=-1) + 1e-3
        torn = edges[(length / rest).max(axis=0) > MOST]
        if not len(torn):
            break
        near = _spread(torn, mean, len(vertices))
        # From what four influences can hold, so that cutting to four is smoothed out too.
        weights = skin.dense(poses.shape[1]).astype(np.float64)
        for _ in range(AVERAGINGS):
            weights[near] = 0.5 * weights[near] + 0.5 * (mean[near] @ weights)
        skin = strongest(weights, fading=True)
    return skin


def _spread(edges: NDArray[np.integer], mean: csr_matrix, count: int) -> NDArray[np.int64]:
    """Vertices of some edges, and REACH rings around them."""
    reached = np.zeros(count)
    reached[edges] = 1.0
    for _ in range(REACH):
        reached = np.maximum(reached, mean @ reached > 0)
    return np.flatnonzero(reached)
