"""A short loop of standing and breathing: what an avatar does when nothing else is asked of it."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatar_core.bodies.base import BodyModel
from avatar_core.bodies.rig import Rig
from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.bodies.skeleton import JOINT_INDEX, NUM_JOINTS
from avatar_core.rigging.retarget import PRIOR_PELVIS_HEIGHT, RiggedClip, retarget
from avatar_core.rigging.self_contact import self_penetration
from avatar_core.rigging.skinning import Skin

NAME = "idle"
SECONDS = 4.0
"""Length of the loop: one breath of a person at rest."""
ARM_DEGREES = (76.0, 72.0, 68.0, 64.0, 60.0, 55.0, 50.0, 45.0)
"""How far the arms hang down from the T-pose, the first that keeps them out of the body."""
TOUCH = 0.005
"""Overlap of an arm and the body that is touching, metres."""
_AT_REST = {"elbow": (0.0, -14.0, 0.0), "wrist": (0.0, -4.0, 0.0)}
"""Degrees of the left arm's joints about x, y and z; the right one mirrors them."""
_BREATH = {"spine2": (-0.7, 0.0, 0.0), "spine3": (-0.9, 0.0, 0.0), "neck": (0.9, 0.0, 0.0), "head": (0.5, 0.0, 0.0)}
"""Degrees by which joints turn from the middle of a breath to its top."""
_COLLAR_LIFT, _ARM_SWAY, _GLANCE = 1.2, 0.8, 2.5
"""Degrees: of the collars with the breath, of the arms behind it, and of the head to the side."""


def idle(body: BodyModel, rig: Rig, vertices: NDArray[np.floating], skin: Skin, *, fps: int = 30) -> RiggedClip:
    """Return the loop for one avatar; its last frame is its first one again.

    Args:
        body: the model that poses `rig.shaped`.
        rig: the avatar's skeleton.
        vertices: (V, 3) of the mesh in the bind pose, metres.
        skin: the mesh's weights.
        fps: frames a second.
    """
    frames = round(SECONDS * fps) + 1
    poses = idle_poses(frames, _hanging(rig, vertices, skin))
    translation = torch.tensor([0.0, PRIOR_PELVIS_HEIGHT, 0.0]).expand(frames, 3)
    return retarget(body, rig, poses, translation, vertices, skin, fps=fps, loops=True)


def idle_poses(frames: int, arm_degrees: float) -> Tensor:
    """Return (T, 22, 3) axis-angle rotations from the T-pose: a whole breath over `frames`, the last as the first."""
    phase = torch.arange(frames) * (2 * math.pi / (frames - 1))
    phase[-1] = 0.0  # the same angle as one turn, to the last bit
    breath, behind, glance = phase.sin(), (phase - 0.6).sin(), (phase + 1.0).sin()
    degrees = torch.zeros(frames, NUM_JOINTS, 3)
    for joint, turn in _BREATH.items():
        degrees[:, JOINT_INDEX[joint]] = breath[:, None] * torch.tensor(turn)
    degrees[:, JOINT_INDEX["head"], 1] = _GLANCE * glance
    for side, sign in (("left", 1.0), ("right", -1.0)):
        mirror = torch.tensor([1.0, sign, sign])
        degrees[:, JOINT_INDEX[f"{side}_collar"], 2] = sign * _COLLAR_LIFT * breath
        degrees[:, JOINT_INDEX[f"{side}_shoulder"], 2] = sign * (_ARM_SWAY * behind - arm_degrees)
        for part, turn in _AT_REST.items():
            degrees[:, JOINT_INDEX[f"{side}_{part}"]] = mirror * torch.tensor(turn)
    return degrees.deg2rad()


def _hanging(rig: Rig, vertices: NDArray[np.floating], skin: Skin) -> float:
    """Degrees of ARM_DEGREES at which the arms of this body hang free of it; the least where they never do."""
    still = torch.stack([idle_poses(2, degrees)[0] for degrees in ARM_DEGREES])
    transforms = rig.pose(axis_angle_to_matrix(still).to(rig.heads), rig.heads[:1].expand(len(still), 3))
    depth = self_penetration(
        vertices, rig.shaped.joints.cpu().numpy(), skin.renamed(rig.joint_of_bone), transforms.cpu().numpy()
    )
    free = np.flatnonzero(depth <= TOUCH)
    return ARM_DEGREES[free[0]] if len(free) else ARM_DEGREES[-1]
