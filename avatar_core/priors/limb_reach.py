"""Places hands and feet: two-bone inverse kinematics of arms and legs on the authoring skeleton.

Everything here is written for the left side; callers mirror the right one.
"""

import math

import numpy as np
from numpy.typing import NDArray

from avatar_core.priors.joint_angles import turn

ARM_HINGE = np.array([0.0, -1.0, 0.0])
LEG_HINGE = np.array([1.0, 0.0, 0.0])


def bend_limb(upper: NDArray, lower: NDArray, hinge: NDArray, target: NDArray, pole: NDArray) -> tuple[NDArray, float]:
    """Turn and bend a limb so that its end is at `target` and its middle joint points towards `pole`.

    Args:
        upper, lower: (3,) bones at rest, metres. hinge: (3,) unit axis about which the middle joint bends.
        target: (3,) end of the limb from its root, metres, in the frame of the root's parent; beyond reach is clamped.
        pole: (3,) direction, not along `target`.
    Returns:
        The root joint's rotation (3, 3) and the hinge's angle in degrees.
    """
    bend = math.degrees(_bend_for(upper, lower, hinge, float(target @ target)))
    whole = upper + turn(*(bend * hinge)) @ lower
    return _frame(target, pole) @ _frame(whole, _cross(whole, hinge)).T, bend


def _bend_for(upper: NDArray, lower: NDArray, hinge: NDArray, squared: float) -> float:
    """Hinge angle in radians at which the limb's ends are `squared` square metres apart."""
    along = hinge * (hinge @ lower)
    constant = upper @ upper + lower @ lower + 2 * upper @ along
    cosine, sine = 2 * upper @ (lower - along), 2 * upper @ _cross(hinge, lower)
    ratio = (squared - constant) / math.hypot(cosine, sine)
    return max(0.0, math.atan2(sine, cosine) + math.acos(min(max(ratio, -1.0), 1.0)))


def _cross(first: NDArray, second: NDArray) -> NDArray:
    (a, b, c), (x, y, z) = first, second
    return np.array([b * z - c * y, c * x - a * z, a * y - b * x])


def _frame(along: NDArray, side: NDArray) -> NDArray:
    """Right-handed axes (3, 3) in columns: the first along `along`, the second in the plane of both."""
    first = along / math.sqrt(along @ along)
    second = side - (side @ first) * first
    second /= math.sqrt(second @ second)
    return np.array([first, second, _cross(first, second)]).T


def hand_frame(fingers: NDArray, palm: NDArray) -> NDArray:
    """World rotation (3, 3) of a left hand, its fingers along `fingers` (3,) and its palm facing `palm` (3,)."""
    rest = _frame(np.array([1.0, 0.0, 0.0]), np.array([0.0, -1.0, 0.0]))
    return _frame(fingers, palm) @ rest.T


def levelling(world: NDArray) -> NDArray:
    """Rotation vector (3,) in degrees that turns a sole level in the frame of its shin, whose attitude is `world`."""
    up = world[1]
    axis = np.array([up[2], 0.0, -up[0]])
    sine = math.sqrt(axis @ axis)
    return axis / max(sine, 1e-9) * math.degrees(math.atan2(sine, up[1]))
