"""Reads AMASS files (SMPL, SMPL-H and SMPL-X layouts), whose world is Z up.

The first 22 joints of all three layouts are the body's, and their rotations are relative to the same T-pose as here,
so that they are taken as they are. AMASS stores SMPL's `trans`; the pelvis joint is that plus the pelvis of the rest
body, which needs the licensed body model and the betas. That sum differs from `trans` by one constant vector, because
the root turns about the pelvis, and every clip is set on the ground and started at x = z = 0 anyway: nothing is lost by
leaving it out. What is approximate is size: positions are not scaled to the leg length of the skeleton here, since that
too needs the body model. A person a tenth taller than the skeleton walks a tenth too far, and the feet slide by it.
"""

import zipfile
from pathlib import Path

import numpy as np
import torch

from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.priors.captured_motion import CapturedMotion, check_finite, check_length
from avatar_core.priors.motion_data import JOINTS, MotionDataError
from avatar_core.storage.npz import UNREADABLE, ArrayRefused, array_names, read_numbers

MAX_BYTES = 1 << 29
"""Size of the largest array that is read, unpacked."""

_Z_UP_TO_Y_UP = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)
_RATES = ("mocap_framerate", "mocap_frame_rate")


def read_amass(path: Path) -> CapturedMotion:
    """Read one AMASS .npz file; pickles in it are never loaded.

    Raises MotionDataError when it is no AMASS motion, damaged, too large, or holds values that are not finite.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = array_names(archive)
            missing = [name for name in ("poses", "trans") if name not in names]
            rate = next((name for name in _RATES if name in names), None)
            if missing or rate is None:
                lacks = [*missing, *([] if rate else [" or ".join(_RATES)])]
                raise MotionDataError(
                    f"{path}: no AMASS motion: it lacks {', '.join(lacks)}; take this file out of the folder"
                )
            poses, trans, fps = (read_numbers(archive, name, MAX_BYTES) for name in ("poses", "trans", rate))
    except ArrayRefused as error:
        raise MotionDataError(f"{path}: {error}") from error
    except UNREADABLE as error:
        raise MotionDataError(f"{path}: not a readable .npz file ({error}); copy it again") from error
    if poses.ndim != 2 or poses.shape[1] < 3 * JOINTS or trans.shape != (len(poses), 3) or fps.size != 1:
        raise MotionDataError(
            f"{path}: poses {poses.shape}, trans {trans.shape} and {rate} {fps.shape} are not AMASS's (frames, 66 or "
            "more), (frames, 3) and one number; download it again"
        )
    check_length(path, len(poses), float(fps.reshape(-1)[0]))
    poses = poses[:, : 3 * JOINTS].astype(np.float64)
    trans = trans.astype(np.float64)
    check_finite(path, np.concatenate([poses, trans], axis=1))
    rotations = axis_angle_to_matrix(torch.from_numpy(poses).unflatten(1, (JOINTS, 3)))
    rotations[:, 0] = _Z_UP_TO_Y_UP @ rotations[:, 0]
    return CapturedMotion(rotations, torch.from_numpy(trans) @ _Z_UP_TO_Y_UP.mT, float(fps.reshape(-1)[0]))
