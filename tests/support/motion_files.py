"""Writers of motion capture files in the layouts and skeletons of other programs, from one known motion."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from avatar_core.bodies.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from avatar_core.bodies.skeleton import JOINT_INDEX, PARENTS, global_rotations
from avatar_core.priors.captured_motion import REST_JOINTS

REST = REST_JOINTS.astype(np.float64)
Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""From Y up to Z up."""


def known_motion(fps: float, seconds: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A body that starts in the T-pose and walks about with all joints swinging: (T, 22, 3, 3), (T, 3)."""
    time = np.arange(round(seconds * fps) + 1)[:, None, None] / fps
    rng = np.random.default_rng(3)
    rate, size = rng.uniform(0.3, 0.8, (1, 22, 1)), rng.uniform(-0.7, 0.7, (1, 22, 3))
    size[:, [3, 6, 9]], rate[:, [3, 6, 9]] = (0.12, 0.1, -0.08), 0.5
    size[:, 0] = (0.1, 0.5, 0.1)
    size[:, [10, 11]] = 0.0
    rotations = axis_angle_to_matrix(torch.from_numpy(size * np.sin(2 * np.pi * rate * time)))
    heading = axis_angle_to_matrix(torch.tensor([0.0, 0.7, 0.0], dtype=torch.float64))
    rotations[:, 0] = heading @ rotations[:, 0]
    path = np.concatenate([3 + 0.8 * time, 1.4 + 0.02 * np.sin(6 * time), 0.5 * time**2], axis=-1)[:, 0]
    return rotations, torch.from_numpy(path)


@dataclass(frozen=True)
class Rig:
    """A source skeleton: a name for each of our joints (None where it has none), its rest pose and its file.

    rest: by joint, the rotation from our T-pose to the zero pose. stretch: by the bone's upper joint.
    """

    names: dict[str, str | None]
    rest: dict[str, np.ndarray]
    stretch: dict[str, float]
    unit: float = 100.0
    order: str = "ZXY"
    z_up: bool = False
    all_positions: bool = False


def sided(pattern: dict[str, str], left: str, right: str) -> dict[str, str | None]:
    """Spell out both sides of "{side}..." names, for the joints hip, knee and so on."""
    names: dict[str, str | None] = {}
    for joint, name in pattern.items():
        if "{}" not in name:
            names[joint] = name
            continue
        names[f"left_{joint}"], names[f"right_{joint}"] = name.format(left), name.format(right)
    return names


def turn(axis: str, degrees: float) -> np.ndarray:
    return Rotation.from_euler(axis, degrees, degrees=True).as_matrix()


LEG_FIRST = ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist")


def spelled(left: str, right: str, limbs: str, **central: str) -> dict[str, str | None]:
    return sided({**central, **dict(zip(LEG_FIRST, limbs.split()))}, left, right)


def a_pose(arms: float, legs: float) -> dict[str, np.ndarray]:
    """Arms hang by so many degrees, legs are splayed and feet turned out by so many."""
    rest = {}
    for side, sign in (("left", 1), ("right", -1)):
        rest |= {f"{side}_{joint}": turn("z", -sign * arms) for joint in ("shoulder", "elbow", "wrist")}
        rest |= {f"{side}_{joint}": turn("z", sign * legs) for joint in ("hip", "knee")}
        rest |= {f"{side}_{joint}": turn("y", sign * legs) for joint in ("ankle", "foot")}
    return rest


TALL = {"pelvis": 1.1, "left_hip": 1.25, "right_hip": 1.25, "left_knee": 1.15, "right_knee": 1.15, "left_elbow": 0.8}
MOTIONBUILDER = "{}UpLeg {}Leg {}Foot {}ToeBase {}Shoulder {}Arm {}ForeArm {}Hand"
BIOVISION = "{}Hip {}Knee {}Ankle {}Toe {}Collar {}Shoulder {}Elbow {}Wrist"
CENTRAL = {"pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2", "neck": "Neck", "head": "Head"}
RIGS = {
    "cmu-inches": Rig(
        spelled(
            "Left", "Right", MOTIONBUILDER,
            **(CENTRAL | {"spine1": "LowerBack", "spine2": "Spine", "spine3": "Spine1"}),
        ),
        a_pose(0, 20), {}, unit=17.5,
    ),
    "mixamo-centimetres": Rig(
        {joint: f"mixamorig:{name}" for joint, name in spelled("Left", "Right", MOTIONBUILDER, **CENTRAL).items()},
        a_pose(45, 5), TALL, order="XYZ",
    ),
    "biped-z-up": Rig(
        {
            joint: f"Bip01 {name}" if name else None
            for joint, name in spelled(
                "L", "R", "{}_Thigh {}_Calf {}_Foot {}_Toe0 {}_Clavicle {}_UpperArm {}_Forearm {}_Hand",
                **(CENTRAL | {"pelvis": "Pelvis", "spine3": "Spine1"}),
            ).items()
        }
        | {"spine2": None},
        a_pose(80, 0), TALL, z_up=True, order="ZYX",
    ),
    "biovision-short-spine": Rig(
        spelled("Left", "Right", BIOVISION, **(CENTRAL | {"spine3": "Chest"})) | {"spine1": None, "spine2": None},
        a_pose(60, 8), {}, unit=1.0,
    ),
    "xsens-six-channels": Rig(
        spelled("Left", "Right", BIOVISION, **(CENTRAL | {"spine1": "Chest", "spine2": "Chest2", "spine3": "Chest3"})),
        a_pose(0, 0), TALL, order="YXZ", all_positions=True,
    ),
    "rokoko": Rig(
        spelled("Left", "Right", "{}Thigh {}Shin {}Foot {}Toe {}Shoulder {}Arm {}ForeArm {}Hand", **CENTRAL),
        a_pose(30, 3), {}, order="YXZ",
    ),
    "smpl-lower-case": Rig(
        {
            joint: name.lower()
            for joint, name in spelled(
                "L", "R", "{}_Hip {}_Knee {}_Ankle {}_Foot {}_Collar {}_Shoulder {}_Elbow {}_Wrist",
                **(CENTRAL | {"pelvis": "Pelvis"}),
            ).items()
            if name
        },
        a_pose(0, 0), {}, unit=1.0,
    ),
    "bones-along-x": Rig(
        spelled("Left", "Right", MOTIONBUILDER, **CENTRAL),
        {joint: Rotation.random(rng=np.random.default_rng(i)).as_matrix() for i, joint in enumerate(JOINT_INDEX)}, TALL,
    ),
}  # fmt: skip


def bvh_text(rig: Rig, rotations: torch.Tensor, pelvis: torch.Tensor, fps: float) -> str:
    """Write our motion as a BVH file of the rig, so that its bones point where ours do."""
    ours = global_rotations(rotations).numpy()
    joints = [joint for joint in JOINT_INDEX if rig.names.get(joint)]
    rest = {joint: rig.rest.get(joint, np.eye(3)) for joint in JOINT_INDEX}
    parent: dict[str, str] = {}
    offset = {"pelvis": np.zeros(3)}
    for joint in joints[1:]:
        up = list(JOINT_INDEX)[PARENTS[JOINT_INDEX[joint]]]
        while up not in joints:
            up = list(JOINT_INDEX)[PARENTS[JOINT_INDEX[up]]]
        parent[joint] = up
        bone = REST[JOINT_INDEX[joint]] - REST[JOINT_INDEX[up]]
        stretch = rig.stretch.get("pelvis" if up.startswith("spine") else up, 1.0)
        offset[joint] = rig.unit * stretch * rest[up] @ bone
    world = {joint: ours[:, JOINT_INDEX[joint]] @ rest[joint].T for joint in joints}
    leg = sum(np.linalg.norm(offset[f"left_{joint}"]) for joint in ("knee", "ankle")) / sum(
        np.linalg.norm(REST[b] - REST[a]) for a, b in ((1, 4), (4, 7))
    )
    hips = pelvis.numpy() + ours[:, 0] @ ((REST[1] + REST[2]) / 2)
    root = leg * hips - world["pelvis"] @ ((offset["left_hip"] + offset["right_hip"]) / 2)
    axes = Z_UP if rig.z_up else np.eye(3)
    lines, columns = ["HIERARCHY"], []

    def write(joint: str, depth: int) -> None:
        pad = "  " * depth
        o = axes @ offset[joint]
        moving = joint == "pelvis" or rig.all_positions
        channels = [*(f"{axis}position" for axis in "XYZ" if moving), *(f"{axis}rotation" for axis in rig.order)]
        lines.extend([
            f"{pad}{'ROOT' if joint == 'pelvis' else 'JOINT'} {rig.names[joint]}", f"{pad}{{",
            f"{pad}  OFFSET {o[0]:.6f} {o[1]:.6f} {o[2]:.6f}", f"{pad}  CHANNELS {len(channels)} {' '.join(channels)}",
        ])  # fmt: skip
        local = world[joint] if joint == "pelvis" else world[parent[joint]].transpose(0, 2, 1) @ world[joint]
        local = axes @ local @ axes.T
        place = root @ axes.T if joint == "pelvis" else np.broadcast_to(o, root.shape)
        columns.extend([*([place] if moving else []), Rotation.from_matrix(local).as_euler(rig.order, degrees=True)])
        children = [child for child, up in parent.items() if up == joint]
        for child in children:
            write(child, depth + 1)
        if not children:
            tip = 0.1 * rig.unit * rest[joint] @ np.array([0, 0, 1.0]) @ axes.T
            lines.extend([f"{pad}  End Site", f"{pad}  {{", f"{pad}  OFFSET {tip[0]} {tip[1]} {tip[2]}", f"{pad}  }}"])
        lines.append(f"{pad}}}")

    write("pelvis", 0)
    values = np.concatenate(columns, axis=1)
    lines.extend(["MOTION", f"Frames: {len(values)}", f"Frame Time: {1 / fps:.6f}"])
    lines.extend(" ".join(f"{value:.6f}" for value in frame) for frame in values)
    return "\n".join(lines) + "\n"


def write_bvh(
    path: Path, fps: float = 30, seconds: float = 2.0, rig: Rig = RIGS["mixamo-centimetres"], pitch: float = 0
) -> Path:
    rotations, pelvis = known_motion(fps, seconds)
    rotations[:, 0] = torch.from_numpy(turn("x", pitch)) @ rotations[:, 0]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(bvh_text(rig, rotations, pelvis, fps), encoding="utf-8")
    return path


def write_amass(path: Path, fps: float = 120, width: int = 156, rate: str = "mocap_framerate", **replaced) -> Path:
    rotations, pelvis = known_motion(fps)
    rotations[:, 0] = torch.from_numpy(Z_UP) @ rotations[:, 0]
    poses = np.zeros((len(pelvis), width))
    poses[:, :66] = matrix_to_axis_angle(rotations).flatten(1).numpy()
    trans = pelvis.numpy() @ Z_UP.T + (0.0, 0.03, -0.24)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"poses": poses, "trans": trans, rate: np.array(fps), "betas": np.zeros(16), "gender": np.array("female")}
    np.savez(path, **{name: value for name, value in (arrays | replaced).items() if value is not None})
    return path
