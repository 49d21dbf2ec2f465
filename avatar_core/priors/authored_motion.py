"""Draws motion from action scripts: key poses joined in time, inside the joints' limits, resting on the ground."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.bodies.skeleton import JOINT_INDEX, JOINT_NAMES
from avatar_core.priors.action_scripts import Action, ActionScriptError, Key
from avatar_core.priors.captured_motion import REST_JOINTS
from avatar_core.priors.joint_angles import split_forearms, violations
from avatar_core.priors.key_posing import Draw, pose_key
from avatar_core.priors.kinematics import forward_kinematics
from avatar_core.priors.motion_data import FPS, mirror

SHORTEST = 60
"""Frames of the shortest clip."""
_LONGEST_HOLD = 1.2  # seconds that a still pose takes to drift to another draw of itself

_THICKNESS = {
    "pelvis": 0.10, "hip": 0.09, "spine1": 0.10, "spine2": 0.10, "spine3": 0.10, "knee": 0.06, "ankle": 0.075,
    "foot": 0.02, "neck": 0.06, "collar": 0.06, "head": 0.09, "shoulder": 0.06, "elbow": 0.045, "wrist": 0.035,
}  # fmt: skip
THICKNESS = np.array([_THICKNESS[name.split("_")[-1]] for name in JOINT_NAMES], np.float32)
"""Metres (22,) of the body between each joint and what it rests on; of an ankle, the height of the heel."""


@dataclass(frozen=True)
class AuthoredClip:
    """One drawn sequence of an action.

    poses: (T, 22, 3) float32 axis-angle, radians. trans: (T, 3) float32 pelvis, metres; ground at y = 0.
    """

    action: Action
    poses: NDArray[np.float32]
    trans: NDArray[np.float32]


def draw_clip(
    action: Action, rng: np.random.Generator, spread: float = 1.0, rest_joints: NDArray[np.float32] = REST_JOINTS
) -> AuthoredClip:
    """Draw one variant of an action.

    Args:
        action: script of the action.
        rng: decides the variant: angles in their ranges, tempo, size and, where allowed, the mirror image.
        spread: 0 for the middle of every range at the written tempo, 1 for natural variety.
        rest_joints: (22, 3) skeleton that rests on the ground, metres.
    Raises:
        ActionScriptError: a joint is bent beyond its limit.
    """
    flip = action.mirror and spread > 0 and rng.random() < 0.5
    draw = Draw(rng, spread)
    keys = _timed_keys(action, draw)
    poses, lift = _interpolate(keys, draw)
    _check(action, poses)
    trans = _place(poses, lift, action.anchor, rest_joints)
    if flip:
        poses, trans = mirror(poses, trans)
    return AuthoredClip(action, poses.astype(np.float32), trans.astype(np.float32))


def _timed_keys(action: Action, draw: Draw) -> list[tuple[float, Key]]:
    """Keys with their times in frames: cycles repeated, a last pose held, tempo and gaps varied."""
    tempo = 1 + draw.spread * draw.rng.uniform(-0.12, 0.12)
    gaps = [late.time - soon.time for soon, late in pairwise(action.keys)]
    if action.cycle is not None:
        gaps.append(action.cycle - action.keys[-1].time)
        following = [*action.keys[1:], action.keys[0]]
    else:
        following = list(action.keys[1:])
    clock, timed = 0.0, [(0.0, action.keys[0])]
    while True:
        for gap, key in zip(gaps, following):
            clock += gap * tempo * FPS * (1 + draw.spread * draw.rng.uniform(-0.08, 0.08))
            timed.append((clock, key))
        if action.cycle is None or clock >= SHORTEST:
            break
    while action.cycle is None and clock < SHORTEST:
        clock += _LONGEST_HOLD * FPS
        timed.append((clock, action.keys[-1]))
    return timed


def _interpolate(keys: list[tuple[float, Key]], draw: Draw) -> tuple[NDArray, NDArray]:
    """Axis-angle (T, 22, 3) in radians and lift (T,) in metres between keys at eased times in frames.

    Rotations go the shortest way; the forearm's twist and the bends beside it each their own, so that elbows stay
    hinges.
    """
    frames = max(SHORTEST, int(np.ceil(keys[-1][0])))
    start, share = _segments(keys, frames)
    lifts = np.array([key.lift for _, key in keys])
    size = np.full(len(keys), 1 - draw.spread * draw.rng.uniform(0, 0.05))
    factors = []
    for posed in split_forearms(np.stack([pose_key(key, draw) for _, key in keys])):
        sized = _slerp(np.broadcast_to(posed[:1], posed.shape), posed, size).as_quat().reshape(posed.shape)
        factors.append(_slerp(sized[start], sized[start + 1], share))
    poses = (factors[0] * factors[1]).as_rotvec().reshape(frames, 22, 3)
    return poses, lifts[start] + share * (lifts[start + 1] - lifts[start])


def _segments(keys: list[tuple[float, Key]], frames: int) -> tuple[NDArray, NDArray]:
    """Key (T,) before each frame and the eased share (T,) of the way to the next."""
    times = np.array([time for time, _ in keys])
    start = np.clip(np.searchsorted(times, np.arange(frames), side="right") - 1, 0, len(keys) - 2)
    linear = np.clip((np.arange(frames) - times[start]) / (times[start + 1] - times[start]), 0, 1)
    share = np.zeros(frames)
    for number, (_, key) in enumerate(keys[1:]):
        share[start == number] = _ease(key.ease, linear[start == number])
    return start, share


def _slerp(first: NDArray, second: NDArray, shares: NDArray) -> Rotation:
    """Rotations (S * 22) at `shares` (S,) of the shortest way between quaternions `first` and `second` (S, 22, 4)."""
    start, end = Rotation.from_quat(first.reshape(-1, 4)), Rotation.from_quat(second.reshape(-1, 4))
    turns = (start.inv() * end).as_rotvec()
    return start * Rotation.from_rotvec(np.repeat(shares, first.shape[1])[:, None] * turns)


def _ease(name: str, time: NDArray) -> NDArray:
    """Share of the way at `time` 0 to 1: `in` starts slowly, `out` ends slowly, `smooth` both."""
    if name == "in":
        return time * time
    if name == "out":
        return time * (2 - time)
    return time * time * (3 - 2 * time) if name == "smooth" else time


def _check(action: Action, poses: NDArray) -> None:
    found = violations(poses)
    if found:
        worst = "; ".join(f"{v.joint} {v.angle} of {v.value:.0f} degrees at frame {v.frame}" for v in found)
        raise ActionScriptError(f"action {action.name!r}: {worst}; keep the poses inside the joints' limits")


def contact_heights(poses: NDArray, trans: NDArray, rest_joints: NDArray) -> NDArray[np.float32]:
    """Height (T, 22) in metres of the body's underside at each joint, of poses (T, 22, 3) at pelvis (T, 3)."""
    return joint_places(poses, trans, rest_joints)[..., 1] - THICKNESS


def joint_places(poses: NDArray, trans: NDArray, rest_joints: NDArray) -> NDArray[np.float32]:
    """Joints (T, 22, 3) in metres of poses (T, 22, 3) at pelvis positions (T, 3)."""
    rotations = axis_angle_to_matrix(torch.from_numpy(poses.astype(np.float32)))
    pelvis = torch.from_numpy(trans.astype(np.float32))
    return forward_kinematics(rotations, pelvis, torch.from_numpy(rest_joints)).numpy()


def _place(poses: NDArray, lift: NDArray, anchor: str, rest_joints: NDArray) -> NDArray[np.float32]:
    """Pelvis (T, 3) in metres: the lowest point `lift` above the ground, the anchor in its place."""
    trans = np.zeros((len(poses), 3), np.float32)
    joints = joint_places(poses, trans, rest_joints)
    under = joints[..., 1] - THICKNESS
    trans[:, 1] = lift - under.min(1)
    feet = [JOINT_INDEX["left_ankle"], JOINT_INDEX["right_ankle"]]
    ankles = joints[:, feet][..., [0, 2]]
    if anchor == "steps":
        lower = np.stack([under[:, [foot, foot + 3]].min(1) for foot in feet], axis=1).argmin(1)
        steps = np.diff(ankles, axis=0)[np.arange(len(poses) - 1), lower[:-1]]
        trans[1:, [0, 2]] = -np.cumsum(steps, axis=0)
    elif anchor != "pelvis":
        held = {"feet": ankles.mean(1), "left foot": ankles[:, 0], "right foot": ankles[:, 1]}[anchor]
        trans[:, [0, 2]] = held[0] - held
    return trans
