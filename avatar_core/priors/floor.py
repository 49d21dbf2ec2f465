"""The floor of a captured motion, which cameras that were set up in haste see as tilted by a degree or two."""

import numpy as np
from numpy.typing import NDArray

from avatar_core.priors.foot_contacts import LEGS, SLOW

STEEPEST = 0.05
"""Slopes up to this one, which is 3 degrees, are errors of the capture; steeper ground is meant."""
SHORTEST_WAY = 0.5
"""Directions in which the places of standing feet are not so many metres apart show no slope."""
OUTLIER = 0.02
"""Metres over the floor from which a foot that keeps still counts for less: it need not stand."""
ROUNDS = 8


def floor_rise(joints: NDArray[np.floating], fps: float) -> NDArray[np.float64]:
    """Return how far a tilted floor has risen (T,) under the pelvis since the first frame, metres; 0 for a level one.

    The floor is the plane that fits the ankles and the toes of feet that keep still, each with a height of its own.

    Args:
        joints: (T, 22, 3) metres, Y up; where the floor is does not matter.
        fps: frames a second.
    """
    feet = joints[:, [leg[2:] for leg in LEGS]].astype(np.float64)  # (T, side, part, 3)
    still = (np.linalg.norm(np.diff(feet[..., [0, 2]], axis=0), axis=-1) * fps < SLOW).all(-1)
    lower = feet[1:, ..., 1].min(-1) <= feet[1:, ..., 1].min((-1, -2))[:, None]
    stands = feet[1:][still & lower]  # (N, part, 3)
    ways = _ways(stands[..., [0, 2]].reshape(-1, 2))
    if not len(ways):
        return np.zeros(len(joints))
    parts = np.tile(np.eye(2), (len(stands), 1))
    known = np.concatenate([parts, stands[..., [0, 2]].reshape(-1, 2) @ ways.T], axis=1)
    slope = _plane(known, stands[..., 1].ravel())[2:] @ ways
    if np.linalg.norm(slope) > STEEPEST:
        return np.zeros(len(joints))
    pelvis = joints[:, 0, [0, 2]].astype(np.float64)
    rise: NDArray[np.float64] = (pelvis - pelvis[0]) @ slope
    return rise


def _ways(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the main directions (0 to 2, 2) in which places (N, 2) are far enough apart."""
    if len(places) < 2:
        return np.zeros((0, 2))
    axes = np.linalg.svd(places - places.mean(0), full_matrices=False)[2]
    along = places @ axes.T
    return axes[np.ptp(along, axis=0) >= SHORTEST_WAY]


def _plane(known: NDArray[np.float64], heights: NDArray[np.float64]) -> NDArray[np.floating]:
    """Return the factors of `known` (N, F) that give `heights` (N,), by least squares with Huber's weights."""
    weights = np.ones(len(heights))
    for _ in range(ROUNDS):
        root = np.sqrt(weights)
        factors: NDArray[np.floating] = np.linalg.lstsq(known * root[:, None], heights * root, rcond=None)[0]
        weights = OUTLIER / np.maximum(np.abs(heights - known @ factors), OUTLIER)
    return factors
