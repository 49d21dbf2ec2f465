"""Motion from files, for avatars that did not have it: BVH, AMASS .npz, and the clips of other avatars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from avatar_core.bodies.base import BodyModel
from avatar_core.bodies.rig import Rig
from avatar_core.bodies.rotations import matrix_to_axis_angle
from avatar_core.errors import ArtifactError
from avatar_core.export.finished import FinishedAvatar, read_finished
from avatar_core.export.joint_motion import joint_motion
from avatar_core.priors.amass import read_amass
from avatar_core.priors.bvh import read_bvh
from avatar_core.priors.captured_motion import REST_JOINTS, CapturedMotion, on_ground, resample
from avatar_core.priors.floor import floor_rise
from avatar_core.priors.foot_contacts import find_contacts
from avatar_core.priors.kinematics import face_forward, forward_kinematics
from avatar_core.priors.motion_data import MotionDataError
from avatar_core.priors.retarget_source import retarget as retarget_source
from avatar_core.rigging.retarget import PRIOR_PELVIS_HEIGHT, RiggedClip, retarget

FPS = 30
SUFFIXES = (".bvh", ".npz", ".glb")
"""Of files that hold motion."""
FEWEST = 2
"""Frames of a clip at least."""
LONGEST = 60.0
"""Seconds of a clip at most: all of its frames are held in memory when it is filmed."""
BODY_TOLERANCE = 2e-3
"""Metres by which a bone may be elsewhere than the body model of today puts it."""


def read_motion(path: Path, clip: str | None = None) -> CapturedMotion:
    """Read the motion of a file; `clip`: which one of a GLB that has several, by default its first.

    Raises MotionDataError for a file that holds no motion of a body, and ArtifactError for a damaged GLB.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise MotionDataError(f"{path}: motion is read from {', '.join(SUFFIXES)} files; give one of these")
    if not path.is_file():
        raise MotionDataError(f"{path}: there is no such file; check the path")
    if suffix == ".glb":
        return avatar_motion(read_finished(path), path, clip)
    return read_amass(path) if suffix == ".npz" else retarget_source(path, read_bvh(path))


def avatar_motion(avatar: FinishedAvatar, name: object, clip: str | None = None) -> CapturedMotion:
    """Return a clip of an avatar on the priors' skeleton, in its size.

    Raises MotionDataError, with the file's `name`, where the avatar has no such clip.
    """
    if not avatar.clips or clip not in (None, *avatar.clips):
        has = ", ".join(map(repr, avatar.clips)) or "none"
        raise MotionDataError(f"{name}: there is no clip {clip!r}; the file's clips are: {has}")
    chosen = avatar.clips[clip] if clip is not None else next(iter(avatar.clips.values()))
    motion = joint_motion(chosen, avatar.skeleton)
    scale = PRIOR_PELVIS_HEIGHT / avatar.pelvis_height
    return CapturedMotion(torch.from_numpy(motion.rotations), torch.from_numpy(motion.pelvis * scale), motion.fps)


def rig_of(avatar: FinishedAvatar, body: BodyModel, betas: Mapping[str, float]) -> Rig:
    """Return the rig of a finished avatar, which is posed as when it was made.

    Args:
        avatar: its file.
        body: the model that it was made with.
        betas: its shape vector by the body's labels, as its report says.
    Raises:
        ArtifactError: the body does not stand where the file's bones are.
    """
    try:
        vector = torch.tensor([betas[label] for label in body.shape_labels])
    except KeyError as error:
        raise ArtifactError(f"{avatar.name}: its report lacks the body's {error}; make the avatar again") from error
    rig = body.rig(body.shape(vector.to(body.template)))
    away = float(np.abs(rig.heads.cpu().numpy() - avatar.skeleton.heads).max())
    if away > BODY_TOLERANCE:
        raise ArtifactError(
            f"{avatar.name}: its bones are {1000 * away:.0f} mm from where the body model puts them: it was made with "
            "another version; make it again"
        )
    return rig


def fit_motion(
    name: object,
    motion: CapturedMotion,
    avatar: FinishedAvatar,
    body: BodyModel,
    rig: Rig,
    *,
    start: float = 0.0,
    seconds: float | None = None,
) -> RiggedClip:
    """Put a recorded motion on an avatar: on level ground, facing +Z from the origin, standing feet held.

    Args:
        name: of the file, for messages.
        motion: of a body of any size.
        avatar: the mesh and its weights.
        body: the model that poses `rig.shaped`.
        rig: the avatar's, see `rig_of`.
        start: where in the motion the clip begins, seconds.
        seconds: length of the clip; None: to the end.
    Raises:
        MotionDataError: nothing is left of the motion, or more than LONGEST.
    """
    motion = _cut(name, resample(motion, FPS), start, seconds)
    rest = torch.from_numpy(REST_JOINTS).double()
    pelvis = on_ground(name, motion)
    rise = floor_rise(forward_kinematics(motion.rotations, pelvis, rest).numpy(), FPS)
    pelvis = pelvis - torch.from_numpy(rise)[:, None] * torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    level = CapturedMotion(motion.rotations, pelvis, motion.fps)
    rotations, pelvis = face_forward(motion.rotations, on_ground(name, level))
    standing = find_contacts(forward_kinematics(rotations, pelvis, rest), rest, FPS).standing
    return retarget(
        body,
        rig,
        matrix_to_axis_angle(rotations),
        pelvis,
        avatar.mesh.vertices,
        avatar.skin,
        fps=FPS,
        standing=standing,
    )


def _cut(name: object, motion: CapturedMotion, start: float, seconds: float | None) -> CapturedMotion:
    first = round(start * FPS)
    last = len(motion.pelvis) if seconds is None else first + round(seconds * FPS) + 1
    cut = CapturedMotion(motion.rotations[first:last], motion.pelvis[first:last], motion.fps)
    if len(cut.pelvis) < FEWEST:
        whole = len(motion.pelvis) / FPS
        raise MotionDataError(f"{name}: lasts {whole:.1f} s, so that nothing is left from {start:g} s on; begin sooner")
    if len(cut.pelvis) > LONGEST * FPS + 1:
        raise MotionDataError(
            f"{name}: lasts {len(cut.pelvis) / FPS:.0f} s, more than the {LONGEST:g} s of a clip; take a part of it "
            "with --start and --seconds"
        )
    return cut
