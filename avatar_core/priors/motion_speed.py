"""Motion clips at other speeds, to train on: the same walk, slower and faster."""

from dataclasses import replace

import numpy as np
import torch

from avatar_core.bodies.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from avatar_core.priors.captured_motion import CapturedMotion, resample
from avatar_core.priors.motion_data import FPS, Clip, MotionData


def at_speeds(
    data: MotionData, clips: tuple[Clip, ...], speeds: tuple[float, ...]
) -> tuple[MotionData, tuple[Clip, ...]]:
    """Return frames, and the clips in them, of `clips` played at each of `speeds`, end to end.

    A clip at twice the speed has half the frames and travels twice as far in each. Rotations between frames are
    slerped, positions interpolated; the clips keep their source files and labels, and their ids get the speed's
    name: `walk at 0.80`. At speed 1 the frames are the data's own.

    Raises:
        ValueError: a speed that is not over 0.
    """
    if not speeds or min(speeds) <= 0:
        raise ValueError(f"speeds must be over 0, not {speeds}")
    poses, trans, made, start = [], [], [], 0
    for speed in speeds:
        for clip in clips:
            played, path = _played(data, clip, speed)
            poses.append(played)
            trans.append(path)
            name = clip.id if speed == 1 else f"{clip.id} at {speed:.2f}"
            made.append(replace(clip, id=name, start=start, length=len(played)))
            start += len(played)
    every = replace(data, poses=np.concatenate(poses), trans=np.concatenate(trans), clips=tuple(made))
    return every, every.clips


def _played(data: MotionData, clip: Clip, speed: float) -> tuple[np.ndarray, np.ndarray]:
    """Poses (T, 22, 3) and pelvis positions (T, 3) of a clip at a speed."""
    frames = slice(clip.start, clip.start + clip.length)
    if speed == 1:
        return data.poses[frames], data.trans[frames]
    rotations = axis_angle_to_matrix(torch.from_numpy(data.poses[frames]).double())
    recorded = CapturedMotion(rotations, torch.from_numpy(data.trans[frames]).double(), FPS * speed)
    shown = resample(recorded, FPS)
    return matrix_to_axis_angle(shown.rotations).float().numpy(), shown.pelvis.float().numpy()
