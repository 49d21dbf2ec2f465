"""Anatomical joint angles in degrees, as an animator names them, and the joint rotations that they mean.

Rotations are relative to the parent joint and to the T-pose; an angle of zero at the shoulder is a hanging arm. Angles
of sided joints are written for either side alike: rotations of the right side are mirror images of the left one's.

pelvis: pitch leans forward, roll leans to the left, yaw turns to the left; `spine` and `head` likewise (bend, side,
twist; nod, tilt, turn), shared evenly by their joints.
collar: raise lifts the shoulder, forward brings it to the front.
shoulder, hip: flexion lifts the limb to the front, abduction to the side, both together between (the two are one
rotation vector: the limb's swing), twist turns it inward about its length.
elbow, knee: flexion. forearm: pronation turns a hanging hand's palm to the back, from zero where it faces the thigh.
wrist: flexion towards the palm, deviation towards the thumb. ankle, toes: flexion lifts the toes.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from avatar_core.bodies.skeleton import JOINT_INDEX, JOINT_NAMES

SIDES = ("left", "right")
CENTRAL: dict[str, tuple[str, ...]] = {"pelvis": ("pelvis",), "spine": ("spine1", "spine2", "spine3"),
                                       "head": ("neck", "head")}  # fmt: skip
SIDED = ("collar", "shoulder", "elbow", "forearm", "wrist", "hip", "knee", "ankle", "toes")

LIMITS: dict[str, dict[str, tuple[float, float]]] = {
    "pelvis": {"pitch": (-180, 180), "roll": (-180, 180), "yaw": (-180, 180)},
    "spine": {"bend": (-45, 90), "side": (-45, 45), "twist": (-60, 60)},
    "head": {"nod": (-60, 65), "tilt": (-50, 50), "turn": (-85, 85)},
    "collar": {"raise": (-10, 35), "forward": (-20, 30)},
    "shoulder": {"flexion": (-60, 180), "abduction": (-65, 180), "twist": (-100, 110)},
    "elbow": {"flexion": (0, 155)},
    "forearm": {"pronation": (-90, 90)},
    "wrist": {"flexion": (-85, 85), "deviation": (-40, 30)},
    "hip": {"flexion": (-40, 135), "abduction": (-30, 75), "twist": (-125, 50)},
    "knee": {"flexion": (0, 160)},
    "ankle": {"flexion": (-55, 35), "side": (-35, 35)},
    "toes": {"flexion": (-30, 60)},
}
"""Lowest and highest angle of each joint in degrees; of `spine` and `head`, the sum over their joints.

Twist counts from the straight swing: a thigh that lies to the side, as of crossed legs, reads as turned far outward.
"""

AUTHORED_ONLY_BY_LEVELLING = {("ankle", "side")}
SLACK = 3.0
"""Degrees that an interpolated frame may be beyond a limit, or a hinge beside its axis."""

_OVERHEAD = 125.0
"""Degrees of swing beyond which a shoulder's twist cannot be told from the way that the arm was lifted."""
_MIRROR = np.array([[1.0, -1.0, -1.0], [-1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]])


@dataclass(frozen=True)
class Violation:
    """A joint angle beyond its limit, in degrees."""

    joint: str
    angle: str
    frame: int
    value: float


def turn(x: float, y: float, z: float) -> NDArray:
    """Rotation matrix (3, 3) of a rotation vector in degrees (Rodrigues' formula)."""
    vector = np.radians([x, y, z])
    angle = math.sqrt(vector @ vector)
    if angle < 1e-9:
        return np.eye(3)
    a, b, c = vector / angle
    skew = np.array([[0.0, -c, b], [c, 0.0, -a], [-b, a, 0.0]])
    return np.eye(3) + math.sin(angle) * skew + (1 - math.cos(angle)) * (skew @ skew)


_HANG = turn(0, 0, -90)


def mirrored(rotation: NDArray) -> NDArray:
    """Reflect rotations (..., 3, 3) in the plane x = 0."""
    return rotation * _MIRROR


def central_rotation(part: str, angles: dict[str, float]) -> NDArray:
    """Rotation (3, 3) of one joint of pelvis, spine or head: its share of the part's `angles` in degrees."""
    pitch, roll, yaw = (angles.get(name, 0.0) / len(CENTRAL[part]) for name in LIMITS[part])
    return turn(0, yaw, 0) @ turn(pitch, 0, 0) @ turn(0, 0, -roll)


def shoulder_rotation(flexion: float, abduction: float, twist: float) -> NDArray:
    """Rotation (3, 3) of the left shoulder from the T-pose; degrees."""
    return hip_rotation(flexion, abduction, twist) @ _HANG


def hip_rotation(flexion: float, abduction: float, twist: float) -> NDArray:
    """Rotation (3, 3) of the left hip; degrees."""
    return turn(-flexion, 0, abduction) @ turn(0, -twist, 0)


def collar_rotation(lift: float, forward: float) -> NDArray:
    """Rotation (3, 3) of the left collar; degrees."""
    return turn(0, -forward, lift)


def elbow_rotation(flexion: float, pronation: float) -> NDArray:
    """Rotation (3, 3) of the left elbow, which takes half of the forearm's pronation; degrees."""
    return turn(0, -flexion, 0) @ turn(pronation / 2, 0, 0)


def wrist_rotation(flexion: float, deviation: float, pronation: float) -> NDArray:
    """Rotation (3, 3) of the left wrist, which takes the other half of the forearm's pronation; degrees."""
    return turn(pronation / 2, 0, 0) @ turn(0, -deviation, -flexion)


def knee_rotation(flexion: float) -> NDArray:
    """Rotation (3, 3) of the left knee; degrees."""
    return turn(flexion, 0, 0)


def ankle_rotation(flexion: float, side: float = 0.0) -> NDArray:
    """Rotation (3, 3) of the left ankle (and, without `side`, of the toes); degrees."""
    return turn(-flexion, 0, side)


def hand_angles(relative: NDArray) -> tuple[float, float, float]:
    """Pronation, wrist flexion and deviation in degrees of a left hand turned by `relative` (3, 3) from its forearm."""
    pronation = math.degrees(2 * math.atan2(relative[2, 1] - relative[1, 2], 1 + np.trace(relative)))
    swing = turn(-pronation, 0, 0) @ relative
    axial = np.array([swing[2, 1] - swing[1, 2], swing[0, 2] - swing[2, 0], swing[1, 0] - swing[0, 1]])
    sine = math.sqrt(axial @ axial)
    angle = math.degrees(math.atan2(sine, np.trace(swing) - 1))
    _, y, z = axial / max(sine, 1e-9) * angle
    return (pronation + 180) % 360 - 180, -z, -y


def split_forearms(poses: NDArray) -> tuple[NDArray, NDArray]:
    """Split poses (K, 22, 3, 3) in two factors, quaternions (K, 22, 4), with the forearm's twist apart from bends.

    An elbow is its bend times its twist, a wrist its twist times its bend; other joints stay whole in the first factor.
    """
    first = Rotation.from_matrix(poses.reshape(-1, 3, 3)).as_quat().reshape(*poses.shape[:2], 4)
    second = np.broadcast_to([0.0, 0.0, 0.0, 1.0], first.shape).copy()
    for side in SIDES:
        elbow, wrist = JOINT_INDEX[f"{side}_elbow"], JOINT_INDEX[f"{side}_wrist"]
        bent, turned = Rotation.from_quat(first[:, elbow]), Rotation.from_quat(first[:, wrist])
        elbow_twist, wrist_twist = _twist(bent, 0), _twist(turned, 0)
        first[:, elbow], second[:, elbow] = (bent * elbow_twist.inv()).as_quat(), elbow_twist.as_quat()
        first[:, wrist], second[:, wrist] = wrist_twist.as_quat(), (wrist_twist.inv() * turned).as_quat()
    return first, second


def _twist(rotation: Rotation, axis: int) -> Rotation:
    """The part of a rotation (or stack) that turns about coordinate `axis` (its swing-twist decomposition)."""
    quaternion = rotation.as_quat()
    kept = np.zeros_like(quaternion)
    kept[..., axis], kept[..., 3] = quaternion[..., axis], quaternion[..., 3]
    upside_down = np.abs(kept).sum(-1) < 1e-9
    kept[..., 3] = np.where(upside_down, 1.0, kept[..., 3])
    return Rotation.from_quat(kept)


def _swing_and_twist(rotation: Rotation, axis: int) -> tuple[NDArray, NDArray]:
    twist = _twist(rotation, axis)
    return (rotation * twist.inv()).as_rotvec(degrees=True), twist.as_rotvec(degrees=True)[..., axis]


def joint_angles(poses: NDArray) -> dict[str, dict[str, NDArray]]:
    """Read angles (T,) in degrees out of poses (T, 22, 3) axis-angle: `{"left_elbow": {"flexion": ...}, ...}`.

    The pelvis is left out, for it turns freely. Beside the angles of `LIMITS`, hinges have `off_axis`: the largest
    angle beside the axis they turn about.
    """
    read: dict[str, dict[str, NDArray]] = {}
    for part, joints in CENTRAL.items():
        if part == "pelvis":
            continue
        turns = [Rotation.from_rotvec(poses[:, JOINT_INDEX[name]]).as_euler("YXZ", degrees=True) for name in joints]
        yaw, pitch, roll = np.sum(turns, axis=0).T
        read[part] = dict(zip(LIMITS[part], (pitch, -roll, yaw)))
    for side in SIDES:
        rotations = {
            name.removeprefix(f"{side}_"): _left(Rotation.from_rotvec(poses[:, index]), side)
            for index, name in enumerate(JOINT_NAMES)
            if name.startswith(side)
        }
        read |= {f"{side}_{joint}": angles for joint, angles in _limb_angles(rotations).items()}
    return read


def _left(rotation: Rotation, side: str) -> Rotation:
    return rotation if side == "left" else Rotation.from_matrix(mirrored(rotation.as_matrix()))


def _limb_angles(rotations: dict[str, Rotation]) -> dict[str, dict[str, NDArray]]:
    collar = rotations["collar"].as_rotvec(degrees=True)
    shoulder, arm_twist = _swing_and_twist(rotations["shoulder"] * Rotation.from_matrix(_HANG.T), 1)
    arm_twist = np.where(np.linalg.norm(shoulder, axis=1) > _OVERHEAD, 0.0, arm_twist)
    elbow, elbow_twist = _swing_and_twist(rotations["elbow"], 0)
    wrist_twist = _twist(rotations["wrist"], 0)
    wrist = (wrist_twist.inv() * rotations["wrist"]).as_rotvec(degrees=True)
    hip, leg_twist = _swing_and_twist(rotations["hip"], 1)
    knee = rotations["knee"].as_rotvec(degrees=True)
    ankle = rotations["ankle"].as_rotvec(degrees=True)
    toes = rotations["foot"].as_rotvec(degrees=True)
    pronation = elbow_twist + wrist_twist.as_rotvec(degrees=True)[:, 0]
    return {
        "collar": {"raise": collar[:, 2], "forward": -collar[:, 1]},
        "shoulder": {"flexion": -shoulder[:, 0], "abduction": shoulder[:, 2], "twist": -arm_twist},
        "elbow": {"flexion": -elbow[:, 1], "off_axis": np.abs(elbow[:, 2])},
        "forearm": {"pronation": pronation},
        "wrist": {"flexion": -wrist[:, 2], "deviation": -wrist[:, 1]},
        "hip": {"flexion": -hip[:, 0], "abduction": hip[:, 2], "twist": -leg_twist},
        "knee": {"flexion": knee[:, 0], "off_axis": np.abs(knee[:, 1:]).max(1)},
        "ankle": {"flexion": -ankle[:, 0], "side": ankle[:, 2]},
        "toes": {"flexion": -toes[:, 0]},
    }


def violations(poses: NDArray) -> list[Violation]:
    """List the worst frame of every angle of poses (T, 22, 3) that is more than `SLACK` beyond its limit."""
    found = []
    for joint, angles in joint_angles(poses).items():
        limits = LIMITS[joint.split("_")[-1]]
        for angle, values in angles.items():
            low, high = limits.get(angle, (0.0, SLACK))
            beyond = np.maximum(low - values, values - high)
            frame = int(beyond.argmax())
            if beyond[frame] > SLACK:
                found.append(Violation(joint, angle, frame, float(values[frame])))
    return found


MEASURED_SLACK = 10.0
"""Degrees beyond a limit that measures forgive: captures have that much noise, beside a hinge's axis above all."""


def violation_share(poses: NDArray) -> float:
    """Part of all angles in all frames of poses (T, 22, 3) that is more than `MEASURED_SLACK` beyond its limit."""
    return float(_beyond_limits(poses).mean())


def within_limits(poses: NDArray) -> NDArray[np.bool_]:
    """Tell of each of poses (T, 22, 3) whether no angle is more than `MEASURED_SLACK` beyond its limit, (T,)."""
    return np.logical_not(np.any(_beyond_limits(poses), axis=0))


def _beyond_limits(poses: NDArray) -> NDArray[np.bool_]:
    """Flags (A, T) of the angles of poses (T, 22, 3) that are more than `MEASURED_SLACK` beyond their limits."""
    flags = []
    for joint, angles in joint_angles(poses).items():
        limits = LIMITS[joint.split("_")[-1]]
        for angle, values in angles.items():
            low, high = limits.get(angle, (0.0, 0.0))
            flags.append((values < low - MEASURED_SLACK) | (values > high + MEASURED_SLACK))
    return np.stack(flags)
