"""BVH: the prompt's motion on 22 joints whose zero pose is the T-pose, in centimetres."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from avatar_core.bodies.skeleton import JOINT_NAMES, PARENTS
from avatar_core.errors import ArtifactError
from avatar_core.export.bone_names import FILE_NAMES
from avatar_core.export.finished import FinishedAvatar
from avatar_core.export.joint_motion import JointMotion, joint_motion
from avatar_core.rigging.clip import Clip

FILE = "motion.bvh"
CENTIMETRES = 100.0
_ORDER = "ZXY"
"""Of the rotations, as most motion capture has it."""
_TIPS = {"head": (0.0, 0.18, 0.02), "foot": (0.0, 0.0, 0.06), "wrist": (0.16, 0.0, 0.0)}
"""Ends of the chains, metres from the last joint in the T-pose; a left hand points to +X."""


def write(avatar: FinishedAvatar, folder: Path) -> None:
    """Write motion.bvh; raises ArtifactError for an avatar without clips."""
    (folder / FILE).write_text(bvh_text(joint_motion(first_clip(avatar), avatar.skeleton)), encoding="ascii")


def first_clip(avatar: FinishedAvatar) -> Clip:
    """Return the prompt's clip; raises ArtifactError where there is none."""
    if not avatar.clips:
        raise ArtifactError(f"{avatar.name} has no motion; make it again, or give it one: avatars animate")
    return next(iter(avatar.clips.values()))


def bvh_text(motion: JointMotion) -> str:
    """Return a motion as the text of a BVH file, its pelvis moving in the world."""
    lines = ["HIERARCHY"]
    order: list[int] = []

    def joint(index: int, depth: int) -> None:
        order.append(index)
        pad, root = "\t" * depth, PARENTS[index] < 0
        offset = np.zeros(3) if root else motion.rest_joints[index] - motion.rest_joints[PARENTS[index]]
        channels = "6 Xposition Yposition Zposition" if root else "3"
        lines.extend([
            f"{pad}{'ROOT' if root else 'JOINT'} {FILE_NAMES[JOINT_NAMES[index]]}",
            f"{pad}{{",
            f"{pad}\tOFFSET {_numbers(offset)}",
            f"{pad}\tCHANNELS {channels} {' '.join(f'{axis}rotation' for axis in _ORDER)}",
        ])  # fmt: skip
        children = [child for child, parent in enumerate(PARENTS) if parent == index]
        for child in children:
            joint(child, depth + 1)
        if not children:
            lines.extend([f"{pad}\tEnd Site", f"{pad}\t{{", f"{pad}\t\tOFFSET {_numbers(_tip(index))}", f"{pad}\t}}"])
        lines.append(f"{pad}}}")

    joint(0, 0)
    turns = Rotation.from_matrix(motion.rotations[:, order].reshape(-1, 3, 3))
    angles = turns.as_euler(_ORDER, degrees=True).reshape(len(motion.pelvis), -1)
    lines += ["MOTION", f"Frames: {len(motion.pelvis)}", f"Frame Time: {1 / motion.fps:.8f}"]
    values = io.StringIO()
    np.savetxt(values, np.concatenate([motion.pelvis * CENTIMETRES, angles], axis=1), fmt="%.6f")
    return "\n".join(lines) + "\n" + values.getvalue()


def _tip(joint: int) -> np.ndarray:
    side, _, part = JOINT_NAMES[joint].rpartition("_")
    return np.array(_TIPS[part]) * ([-1, 1, 1] if side == "right" else [1, 1, 1])


def _numbers(metres: np.ndarray) -> str:
    return " ".join(f"{value * CENTIMETRES:.6f}" for value in metres)
