"""Turns a key of an action script into joint rotations, drawing what the script leaves open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from avatar_core.bodies import load_body
from avatar_core.bodies.skeleton import JOINT_INDEX, PARENTS
from avatar_core.priors import joint_angles as anatomy
from avatar_core.priors.action_scripts import FootReach, HandReach, Key, Range
from avatar_core.priors.joint_angles import CENTRAL, LIMITS, SIDES
from avatar_core.priors.limb_reach import ARM_HINGE, LEG_HINGE, bend_limb, hand_frame, levelling

REST: dict[str, dict[str, float]] = {
    "shoulder": {"flexion": 4, "abduction": 11, "twist": 12},
    "elbow": {"flexion": 16},
    "forearm": {"pronation": 18},
    "wrist": {"flexion": 6},
}
"""Angles of an arm that hangs naturally; a joint that the script names has zero for the angles it leaves out."""

_ORIGINS: dict[str, tuple[str, tuple[float, float, float]]] = {
    "mouth": ("head", (0.0, -0.035, 0.125)),
    "chest": ("spine3", (0.0, 0.03, 0.155)),
    "waist": ("spine1", (0.0, 0.015, 0.175)),
}
"""Joint that an origin moves with, and its place from there at rest, metres: lips, breastbone and navel."""

_PALM = np.array([0.08, -0.03, 0.0])
"""Middle of the left palm's surface from the wrist at rest, metres."""
_SOLE = np.array([[x, -0.081, z] for x in (-0.04, 0.05) for z in (-0.06, 0.2)])
"""Corners (4, 3) of the left sole from the ankle at rest, metres."""
_STANDING_HIP, _STANDING_KNEE = {"flexion": 2.0, "abduction": 3.0, "twist": -4.0}, 4.0
_STEEPEST_LEVELLED = 70.0
"""Degrees from level beyond which a sole is left to hang."""
_HANGING_ANKLE = -25.0
_ANGLE_NOISE, _PLACE_NOISE = 1.5, 0.5  # degrees, centimetres


@cache
def authoring_joints() -> NDArray[np.float64]:
    """Joints (22, 3) of the embedded body's T-pose with the pelvis at the origin: where hands and feet are placed."""
    body = load_body()
    joints = body.pose(body.shape(body.neutral_shape), torch.eye(3).expand(1, 22, 3, 3)).joints[0]
    return (joints - joints[0]).numpy().astype(np.float64)


@dataclass
class Draw:
    """Draws numbers of one clip: each quantity keeps its place in its range through all keys, but for a small noise.

    rng: generator of the clip. spread: 0 for the middle of all ranges and no noise, 1 for natural variety.
    """

    rng: np.random.Generator
    spread: float = 1.0
    _places: dict[str, float] = field(default_factory=dict)

    def number(self, name: str, span: Range, noise: float, limits: Range = (-np.inf, np.inf)) -> float:
        """Draw quantity `name` from `span`, with normal `noise`, inside `limits`."""
        if name not in self._places:
            self._places[name] = self.rng.uniform(-0.5, 0.5)
        low, high = span
        value = (low + high) / 2 + self.spread * (high - low) * self._places[name]
        value += self.spread * noise * float(np.clip(self.rng.normal(), -2, 2))
        return float(np.clip(value, *limits))

    def angles(self, joint: str, spans: dict[str, Range]) -> dict[str, float]:
        """Draw the angles of a joint inside its limits, degrees."""
        limits = LIMITS[joint.split("_")[-1]]
        return {name: self.number(f"{joint} {name}", span, _ANGLE_NOISE, limits[name]) for name, span in spans.items()}

    def place(self, name: str, at: Iterable[Range]) -> NDArray:
        """Draw a place (3,) in metres from spans in centimetres."""
        return np.array([self.number(f"{name} {axis}", span, _PLACE_NOISE) for axis, span in enumerate(at)]) / 100


def pose_key(key: Key, draw: Draw) -> NDArray:
    """Return the local joint rotations (22, 3, 3) of a key pose, relative to the T-pose."""
    return _Poser(key, draw).pose()


class _Poser:
    """Poses one key from the pelvis outward; `_world` and `_position` hold the joints done so far."""

    def __init__(self, key: Key, draw: Draw) -> None:
        self._key, self._draw = key, draw
        self._local: dict[int, NDArray] = {}
        self._world: dict[int, NDArray] = {}
        self._position: dict[int, NDArray] = {}

    def pose(self) -> NDArray:
        for part, joints in CENTRAL.items():
            rotation = anatomy.central_rotation(part, self._draw.angles(part, self._key.angles.get(part, {})))
            for joint in joints:
                self._set(joint, rotation)
        for side in SIDES:
            self._leg(side)
        for side in SIDES:
            self._arm(side)
        return np.stack([self._local[joint] for joint in range(len(PARENTS))])

    def _set(self, joint: str, rotation: NDArray) -> None:
        index = JOINT_INDEX[joint]
        parent = PARENTS[index]
        self._local[index] = rotation
        if parent < 0:
            self._world[index], self._position[index] = rotation, np.zeros(3)
            return
        bone = authoring_joints()[index] - authoring_joints()[parent]
        self._world[index] = self._world[parent] @ rotation
        self._position[index] = self._position[parent] + self._world[parent] @ bone

    def _angles(self, side: str, joint: str) -> dict[str, float] | None:
        spans = self._key.angles.get(f"{side}_{joint}")
        return None if spans is None else self._draw.angles(f"{side}_{joint}", spans)

    def _sided(self, side: str, joint: str, rotation: NDArray) -> None:
        """Set a sided joint from the rotation that its left one would have."""
        self._set(f"{side}_{joint}", rotation if side == "left" else anatomy.mirrored(rotation))

    def _world_of(self, side: str, joint: str) -> NDArray:
        """World rotation of a joint (of the left side, or its mirror image), as if on the left."""
        world = self._world[JOINT_INDEX[joint]]
        return world if side == "left" else anatomy.mirrored(world)

    def _place_of(self, side: str, joint: str) -> NDArray:
        place = self._position[JOINT_INDEX[joint]]
        return place if side == "left" else place * [-1, 1, 1]

    def _leg(self, side: str) -> None:
        hip, knee, ankle = (self._angles(side, joint) for joint in ("hip", "knee", "ankle"))
        lifted = None if ankle is None else ankle["flexion"]
        if side in self._key.feet:
            thigh, bend, foot = self._leg_reach(side, self._key.feet[side], lifted)
        else:
            thigh = anatomy.hip_rotation(*_in_order("hip", hip or {}))
            bend = (knee or {}).get("flexion", 0.0)
            if hip is None and knee is None:
                thigh = self._world_of(side, "pelvis").T @ anatomy.hip_rotation(**_STANDING_HIP)
                bend = _STANDING_KNEE
            foot = _ankle(self._world_of(side, "pelvis") @ thigh @ anatomy.knee_rotation(bend), lifted)
        self._sided(side, "hip", thigh)
        self._sided(side, "knee", anatomy.knee_rotation(bend))
        self._sided(side, "ankle", foot)
        toes = self._angles(side, "toes") or {}
        self._sided(side, "foot", anatomy.ankle_rotation(toes.get("flexion", 0.0)))

    def _leg_reach(self, side: str, reach: FootReach, lifted: float | None) -> tuple[NDArray, float, NDArray]:
        """Hip, knee flexion and ankle; a sole that is not level is raised until it stands on its heel or toes."""
        if reach.ankle is not None:
            lifted = self._draw.angles(f"{side}_ankle", {"flexion": reach.ankle})["flexion"]
        outward = np.radians(self._draw.number(f"{side} knee", reach.knee, _ANGLE_NOISE))
        pole = np.array([np.sin(outward), 0.35, np.cos(outward)])
        place = self._draw.place(f"{side} foot", reach.at)
        pelvis = self._world_of(side, "pelvis")
        rise = 0.0
        for _ in range(3):
            target = pelvis.T @ (place + np.array([0.0, rise, 0.0])) - _bone("pelvis", "left_hip")
            thigh, bend = bend_limb(
                _bone("left_hip", "left_knee"), _bone("left_knee", "left_ankle"), LEG_HINGE, target, pelvis.T @ pole
            )
            bend = float(np.clip(bend, *LIMITS["knee"]["flexion"]))
            shin = pelvis @ thigh @ anatomy.knee_rotation(bend)
            ankle = _ankle(shin, lifted)
            rise = _SOLE[0, 1] - float((_SOLE @ (shin @ ankle).T)[:, 1].min())
        return thigh, bend, ankle

    def _arm(self, side: str) -> None:
        collar = self._angles(side, "collar") or {}
        self._sided(side, "collar", anatomy.collar_rotation(*_in_order("collar", collar)))
        if side in self._key.hands:
            shoulder, bend, (pronation, flexion, deviation) = self._arm_reach(side, self._key.hands[side])
        else:
            terms = {joint: self._angles(side, joint) or REST[joint] for joint in REST}
            shoulder = anatomy.shoulder_rotation(*_in_order("shoulder", terms["shoulder"]))
            bend, pronation = terms["elbow"].get("flexion", 0.0), terms["forearm"].get("pronation", 0.0)
            flexion, deviation = _in_order("wrist", terms["wrist"])
        self._sided(side, "shoulder", shoulder)
        self._sided(side, "elbow", anatomy.elbow_rotation(bend, pronation))
        self._sided(side, "wrist", anatomy.wrist_rotation(flexion, deviation, pronation))

    def _arm_reach(self, side: str, reach: HandReach) -> tuple[NDArray, float, tuple[float, float, float]]:
        """Shoulder, elbow flexion and hand angles; a wrist at its limit moves so that the palm stays in its place."""
        origin, axes = self._origin(side, reach.origin)
        palm = origin + axes @ self._draw.place(f"{side} hand", reach.at)
        hand = axes @ hand_frame(np.array(reach.fingers), np.array(reach.palm))
        pole = self._world_of(side, "spine3") @ self._elbow_pole(side, reach)
        parent = self._world_of(side, f"{side}_collar")
        root = self._place_of(side, f"{side}_collar") + parent @ _bone("left_collar", "left_shoulder")
        turned = hand
        for _ in range(4):
            target = parent.T @ (palm - turned @ _PALM - root)
            shoulder, bend = bend_limb(
                _bone("left_shoulder", "left_elbow"),
                _bone("left_elbow", "left_wrist"),
                ARM_HINGE,
                target,
                parent.T @ pole,
            )
            bend = float(np.clip(bend, *LIMITS["elbow"]["flexion"]))
            forearm = parent @ shoulder @ anatomy.elbow_rotation(bend, 0.0)
            pronation, flexion, deviation = anatomy.hand_angles(forearm.T @ hand)
            pronation = float(np.clip(pronation, *LIMITS["forearm"]["pronation"]))
            flexion = float(np.clip(flexion, *LIMITS["wrist"]["flexion"]))
            deviation = float(np.clip(deviation, *LIMITS["wrist"]["deviation"]))
            turned = forearm @ anatomy.wrist_rotation(flexion, deviation, 2 * pronation)
        return shoulder, bend, (pronation, flexion, deviation)

    def _elbow_pole(self, side: str, reach: HandReach) -> NDArray:
        if len(reach.elbow) == 3:
            return np.array(reach.elbow)
        lift = np.radians(self._draw.number(f"{side} elbow", reach.elbow, _ANGLE_NOISE))
        return np.array([np.sin(lift), -np.cos(lift), -0.3])

    def _origin(self, side: str, name: str) -> tuple[NDArray, NDArray]:
        """Place (3,) and axes of an origin of reaches, as if for the left hand."""
        if name == "pelvis":
            return np.zeros(3), np.eye(3)
        if name == "knee":
            return self._place_of(side, f"{side}_knee"), np.eye(3)
        joint, offset = _ORIGINS[name]
        axes = self._world_of(side, joint)
        return self._place_of(side, joint) + axes @ offset, axes


def _in_order(joint: str, angles: dict[str, float]) -> list[float]:
    return [angles.get(name, 0.0) for name in LIMITS[joint]]


def _bone(parent: str, child: str) -> NDArray:
    return authoring_joints()[JOINT_INDEX[child]] - authoring_joints()[JOINT_INDEX[parent]]


def _ankle(shin: NDArray, lifted: float | None) -> NDArray:
    """Rotation (3, 3) of a left ankle: toes `lifted` by degrees, or the sole level under a shin of that attitude."""
    if lifted is not None:
        return anatomy.ankle_rotation(lifted)
    turn = levelling(shin)
    if np.linalg.norm(turn) > _STEEPEST_LEVELLED:
        return anatomy.ankle_rotation(_HANGING_ANKLE)
    limits = LIMITS["ankle"]
    return anatomy.ankle_rotation(np.clip(-turn[0], *limits["flexion"]), np.clip(turn[2], *limits["side"]))
