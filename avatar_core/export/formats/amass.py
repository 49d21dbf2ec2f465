"""AMASS-style .npz: the prompt's motion in the layout of SMPL-H, Z up, for what trains and shows human motion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from avatar_core.bodies.skeleton import NUM_JOINTS
from avatar_core.export.finished import FinishedAvatar
from avatar_core.export.formats.bvh import first_clip
from avatar_core.export.joint_motion import joint_motion

FILE = "motion.npz"
SMPLH_JOINTS, SHAPES = 52, 16
_TO_Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def write(avatar: FinishedAvatar, folder: Path) -> None:
    """Write motion.npz; raises ArtifactError for an avatar without clips.

    `betas` are zeros, for the body is not SMPL's, and so are the hands' rotations; `trans` is where the pelvis is.
    """
    motion = joint_motion(first_clip(avatar), avatar.skeleton)
    rotations = motion.rotations.copy()
    rotations[:, 0] = _TO_Z_UP @ rotations[:, 0]
    poses: NDArray[np.float64] = np.zeros((len(motion.pelvis), 3 * SMPLH_JOINTS))
    turns = Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_rotvec()
    poses[:, : 3 * NUM_JOINTS] = turns.reshape(len(poses), -1)
    np.savez_compressed(
        folder / FILE,
        poses=poses,
        trans=motion.pelvis @ _TO_Z_UP.T,
        betas=np.zeros(SHAPES),
        dmpls=np.zeros((len(poses), 8)),
        gender=np.array("neutral"),
        mocap_framerate=np.array(float(motion.fps)),
    )
