"""A finished avatar's clip as rotations of the 22 joints: what motion formats hold, and other avatars can take over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from avatar_core.bodies.skeleton import JOINT_NAMES, NUM_JOINTS, PARENTS
from avatar_core.export.skeleton import Skeleton
from avatar_core.rigging.clip import Clip

_WHOLE_TURN = {
    f"{side}_{joint}": f"{side}_{bone}"
    for side in ("left", "right")
    for joint, bone in (("shoulder", "upper_arm_twist"), ("hip", "thigh_twist"))
}
"""Joints whose own bone holds back a part of their twist, and the bones that have all of it."""


@dataclass(frozen=True)
class JointMotion:
    """T frames on the skeleton of one body."""

    rotations: NDArray[np.float64]
    """(T, 22, 3, 3) relative to the parent joint and the T-pose."""
    pelvis: NDArray[np.float64]
    """(T, 3) metres."""
    rest_joints: NDArray[np.float64]
    """(22, 3) joints of the body's T-pose, metres, the pelvis at the origin."""
    fps: int


def joint_motion(clip: Clip, skeleton: Skeleton) -> JointMotion:
    """Return the joints' part of a clip; what fingers and eyes do is left out."""
    index = skeleton.armature.index
    bones = [index.get(_WHOLE_TURN.get(name, name), joint) for joint, name in enumerate(JOINT_NAMES)]
    tpose = Rotation.from_quat(skeleton.tpose[:NUM_JOINTS]).as_matrix()
    world = clip.transforms[:, bones, :3, :3].astype(np.float64) @ tpose.swapaxes(-1, -2)
    local = world.copy()
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            local[:, joint] = world[:, parent].swapaxes(-1, -2) @ world[:, joint]
    # Products of float32 rotations are so only nearly; the nearest rotations are, to the last bit that matters.
    local = Rotation.from_matrix(local.reshape(-1, 3, 3)).as_matrix().reshape(local.shape)
    return JointMotion(local, clip.root.astype(np.float64), tpose_joints(skeleton), clip.fps)


def tpose_joints(skeleton: Skeleton) -> NDArray[np.float64]:
    """Return where the 22 joints are in the T-pose, as (22, 3) metres from the pelvis."""
    turns = Rotation.from_quat(skeleton.tpose[:NUM_JOINTS]).as_matrix()
    placed = np.zeros((NUM_JOINTS, 3))
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            bone = skeleton.heads[joint] - skeleton.heads[parent]
            placed[joint] = placed[parent] + turns[parent] @ bone
    return placed
