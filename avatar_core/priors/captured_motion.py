"""Motion capture on the 22-joint skeleton on its way into a motion folder: resampled, grounded and cut into clips."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatar_core.bodies.rotations import matrix_to_axis_angle, matrix_to_quaternion
from avatar_core.priors.kinematics import face_forward, forward_kinematics
from avatar_core.priors.motion_data import MotionDataError

SHORTEST = 20
"""Frames of the shortest clip that the priors use."""
MAX_FRAMES = 250_000
"""Frames of the longest file that is read: half an hour at 120 frames a second."""
MAX_SECONDS = 3600.0
"""Length of the longest file that is read."""

REST_JOINTS: NDArray[np.float32] = np.array(
    [
        [0, 0, 0], [0.07, -0.09, -0.005], [-0.07, -0.09, -0.005], [0, 0.11, -0.025], [0.105, -0.47, -0.01],
        [-0.105, -0.47, -0.01], [0, 0.245, -0.025], [0.09, -0.87, -0.055], [-0.09, -0.87, -0.055], [0, 0.3, 0],
        [0.115, -0.925, 0.065], [-0.115, -0.925, 0.065], [0, 0.515, -0.04], [0.08, 0.42, -0.035],
        [-0.08, 0.42, -0.035], [0, 0.58, 0.01], [0.17, 0.45, -0.045], [-0.17, 0.45, -0.045],
        [0.43, 0.437, -0.072], [-0.43, 0.437, -0.072], [0.68, 0.446, -0.073], [-0.68, 0.446, -0.073],
    ],
    np.float32,
)  # fmt: skip
"""Joints (22, 3) of the T-pose in metres, pelvis at the origin: the skeleton of the shipped priors."""

_CLEARANCE = 0.018  # metres: height of the lowest joint over the ground in the clips of the shipped priors
_GROUND_SHARE = 0.02  # the file's lowest frames; not the very lowest, which is often a slip of the capture


@dataclass(frozen=True)
class CapturedMotion:
    """One file's motion.

    rotations: (T, 22, 3, 3) float64, each joint relative to its parent and to the T-pose.
    pelvis: (T, 3) float64 position of the pelvis joint, metres, Y up, at any height above the ground.
    fps: frames a second.
    """

    rotations: Tensor
    pelvis: Tensor
    fps: float


@dataclass(frozen=True)
class ImportedClip:
    """One clip as a motion folder keeps it.

    poses: (T, 22, 3) float16 axis-angle, radians; trans: (T, 3) float32 pelvis, metres; start: first frame in the
    resampled file.
    """

    poses: NDArray[np.float16]
    trans: NDArray[np.float32]
    start: int


def check_length(name: object, frames: int, fps: float) -> None:
    """Raise MotionDataError where a file called `name` is too long, or its frame rate is not a sensible one."""
    if not math.isfinite(fps) or not 1 <= fps <= 1000:
        raise MotionDataError(f"{name}: {fps:g} frames a second is no capture rate; correct the frame rate in the file")
    if frames > MAX_FRAMES or frames / fps > MAX_SECONDS:
        raise MotionDataError(
            f"{name}: {frames} frames at {fps:g} a second are more than the {MAX_FRAMES} frames and "
            f"{MAX_SECONDS / 60:g} minutes that are read from one file; cut the file"
        )


def check_finite(name: object, values: NDArray) -> None:
    """Raise MotionDataError where a frame of `values` (T, ...) in the file called `name` is not finite."""
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if len(bad):
        raise MotionDataError(
            f"{name}: {len(bad)} of {len(values)} frames hold values that are not finite, the first is frame {bad[0]}; "
            "fill the gaps in the capture software and export again"
        )


def resample(motion: CapturedMotion, fps: float) -> CapturedMotion:
    """Bring `motion` to `fps` frames a second: slerp between rotations, straight lines between positions."""
    if motion.fps == fps:
        return motion
    frames = len(motion.pelvis)
    count = math.floor((frames - 1) * fps / motion.fps + 1e-6) + 1
    place = torch.arange(count, dtype=torch.float64) * (motion.fps / fps)
    place = torch.where((place - place.round()).abs() < 1e-6, place.round(), place)
    first = place.floor().long().clamp(max=frames - 1)
    second = (first + 1).clamp(max=frames - 1)
    share = place - first
    rotations = slerp(motion.rotations[first], motion.rotations[second], share[:, None])
    pelvis = torch.lerp(motion.pelvis[first], motion.pelvis[second], share[:, None])
    return CapturedMotion(rotations, pelvis, fps)


def slerp(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Rotations (..., 3, 3) that lie `share` (...) of the way from `first` to `second`, along the shorter arc."""
    start, end = matrix_to_quaternion(first), matrix_to_quaternion(second)
    cosine = (start * end).sum(-1, keepdim=True)
    end = torch.where(cosine < 0, -end, end)
    angle = 2 * torch.atan2((end - start).norm(dim=-1, keepdim=True), (end + start).norm(dim=-1, keepdim=True))
    share = share[..., None]
    sine = angle.sin()
    near = sine < 1e-9
    safe = torch.where(near, torch.ones_like(sine), sine)
    before = torch.where(near, 1 - share, ((1 - share) * angle).sin() / safe)
    after = torch.where(near, share, (share * angle).sin() / safe)
    return _quaternion_to_matrix(before * start + after * end)


def _quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Quaternions (..., 4) in x, y, z, w order, of any length but zero, to rotations (..., 3, 3)."""
    x, y, z, w = torch.nn.functional.normalize(quaternion, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def on_ground(name: object, motion: CapturedMotion) -> Tensor:
    """Return the pelvis (T, 3) of a file's motion with its lowest body parts on the ground: one height for all of it.

    Raises MotionDataError, with the file's `name`, where the motion leaves a cube of a kilometre.
    """
    joints = forward_kinematics(motion.rotations, motion.pelvis, torch.from_numpy(REST_JOINTS).double())
    if not bool((joints.abs() < 1000).all()):
        raise MotionDataError(f"{name}: the body is a kilometre away; check the file's positions and export it again")
    ground = torch.quantile(joints[..., 1].min(dim=-1).values, _GROUND_SHARE) - _CLEARANCE
    return motion.pelvis - ground * torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)


def make_clips(name: object, motion: CapturedMotion, fps: float, longest: float) -> list[ImportedClip]:
    """Resample a file's motion, put it on the ground, and cut it into clips that start at x = z = 0, facing +Z.

    The ground is one height for the whole file, from the lowest body parts over it. Clips are equally long, at most
    `longest` seconds.
    Raises MotionDataError, with the file's `name`, where fewer than `SHORTEST` frames are left or the motion leaves
    a cube of a kilometre.
    """
    motion = resample(motion, fps)
    frames = len(motion.pelvis)
    if frames < SHORTEST:
        raise MotionDataError(
            f"{name}: {frames} frames at {fps:g} a second, fewer than {SHORTEST}; join it to its neighbours"
        )
    pelvis = on_ground(name, motion)
    pieces = math.ceil(frames / max(SHORTEST, math.floor(longest * fps)))
    borders = [round(piece * frames / pieces) for piece in range(pieces + 1)]
    clips = []
    for start, end in itertools.pairwise(borders):
        rotations, trans = face_forward(motion.rotations[start:end], pelvis[start:end])
        poses = matrix_to_axis_angle(rotations)
        clips.append(ImportedClip(poses.numpy().astype(np.float16), trans.numpy().astype(np.float32), start))
    return clips
