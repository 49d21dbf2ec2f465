"""A motion of the priors' skeleton on one avatar's own: sized, grounded, and as joint tracks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from avatar_core.bodies.base import BodyModel, ShapedBody
from avatar_core.bodies.rotations import axis_angle_to_matrix, matrix_to_quaternion
from avatar_core.bodies.skeleton import JOINT_NAMES, NUM_JOINTS, PARENTS, local_rotations
from avatar_core.errors import DivergenceError
from avatar_core.rigging.skinning import Skin, deform

PRIOR_PELVIS_HEIGHT = 0.92
"""Standing pelvis height in metres of the skeleton that the motion data was retargeted to."""
LEG_JOINTS = {
    side: tuple(JOINT_NAMES.index(f"{side}_{joint}") for joint in ("ankle", "foot")) for side in ("left", "right")
}
GROUND_QUANTILE = 0.25
"""The lowest quarter of a clip's frames is taken to stand on the ground, or to sink into it."""
LIFT_RADIUS = 4
"""Frames on either side over which a foot that sinks lifts the whole body."""
CONTACT_HEIGHT = 0.03
"""A foot whose lowest vertex is under this height, in metres, is taken to stand."""


@dataclass(frozen=True)
class RiggedClip:
    """T frames of motion on one skinned mesh."""

    transforms: NDArray[np.float32]
    """(T, 22, 4, 4) bind space to posed space."""
    rotations: NDArray[np.float32]
    """(T, 22, 4) unit quaternions x, y, z, w relative to the parent joint; identity is the bind pose."""
    root: NDArray[np.float32]
    """(T, 3) pelvis positions, metres."""
    fps: int
    scale: float
    """Factor from the prior's translation to this body's."""

    def __len__(self) -> int:
        return len(self.root)


def retarget(
    body: BodyModel,
    shaped: ShapedBody,
    poses: torch.Tensor,
    translation: torch.Tensor,
    vertices: NDArray[np.floating],
    skin: Skin,
    *,
    fps: int = 30,
) -> RiggedClip:
    """Fit a motion to a body: translation by leg length, then the clip onto the ground, never below it.

    Args:
        body: the model that poses `shaped`.
        shaped: the avatar's bind-pose body.
        poses: (T, 22, 3) axis-angle local rotations from the T-pose.
        translation: (T, 3) pelvis positions of the prior's skeleton, metres.
        vertices: (V, 3) of the mesh in the bind pose, metres.
        skin: the mesh's weights.
        fps: frames a second.
    Raises:
        DivergenceError: the motion is not finite.
    """
    if not (torch.isfinite(poses).all() and torch.isfinite(translation).all()):
        raise DivergenceError("the motion is not finite: run its stage again with another seed")
    with torch.no_grad():
        device = shaped.vertices.device
        upright = body.pose(shaped, torch.eye(3, device=device).expand(1, NUM_JOINTS, 3, 3))
        standing = float(upright.joints[0, 0, 1] - upright.vertices[0, :, 1].min())
        scale = standing / PRIOR_PELVIS_HEIGHT
        local = axis_angle_to_matrix(poses.to(device, torch.float32))
        posed = body.pose(shaped, local, translation.to(device, torch.float32) * scale)
        transforms = posed.transforms.cpu()
        bind_joints = shaped.joints.cpu()
    lowest = deform(vertices, skin, transforms.numpy())[..., 1].min(axis=1)
    transforms[:, :, 1, 3] += torch.from_numpy(ground_shift(lowest))[:, None]
    quaternions = matrix_to_quaternion(local_rotations(transforms[..., :3, :3].double()))
    root = transforms[:, 0, :3, :3] @ bind_joints[0] + transforms[:, 0, :3, 3]
    return RiggedClip(
        transforms=transforms.numpy().astype(np.float32),
        rotations=continuous(quaternions.numpy()).astype(np.float32),
        root=root.numpy().astype(np.float32),
        fps=fps,
        scale=scale,
    )


def ground_shift(lowest: NDArray[np.floating]) -> NDArray[np.float32]:
    """Heights (T,) to add to each frame so that the body stands on y = 0 and never sinks into it.

    Putting the lowest frame on the ground would leave the others floating by the depth of its one outlier
    (a toe that pushes off). So a low quantile meets the ground, and frames that sink are lifted by a smooth
    envelope of how deep they are.

    Args:
        lowest: (T,) height of the lowest vertex in each frame, metres.
    """
    level = float(np.quantile(lowest, GROUND_QUANTILE))
    depth = np.pad(np.maximum(level - lowest, 0.0), 2 * LIFT_RADIUS, mode="edge")
    window = 2 * LIFT_RADIUS + 1
    # Each value of the maximum over the window is at least the depth in its middle, and so is their mean.
    deepest = np.lib.stride_tricks.sliding_window_view(depth, window).max(axis=-1)
    kernel = np.hanning(window + 2)[1:-1]
    lift = np.convolve(deepest, kernel / kernel.sum(), mode="valid")
    return (lift - level).astype(np.float32)


def continuous(quaternions: NDArray[np.floating]) -> NDArray[np.floating]:
    """Flip signs of quaternions (T, J, 4) so that each is on its predecessor's side: no long way round."""
    dots = (quaternions[1:] * quaternions[:-1]).sum(-1)
    signs = np.cumprod(np.where(dots < 0, -1.0, 1.0), axis=0)
    return np.concatenate([quaternions[:1], quaternions[1:] * signs[..., None]])


def bone_offsets(joints: NDArray[np.floating]) -> NDArray[np.float64]:
    """Bind-pose joints (22, 3) to positions (22, 3) relative to the parent joint; the pelvis stays absolute."""
    joints = np.asarray(joints, dtype=np.float64)
    return np.stack([joint - (joints[parent] if parent >= 0 else 0.0) for joint, parent in zip(joints, PARENTS)])


def clip_joints(clip: RiggedClip, joints: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return where a clip puts the bind-pose joints (22, 3), as (T, 22, 3) metres."""
    transforms = clip.transforms.astype(np.float64)
    return np.einsum("tjab,jb->tja", transforms[..., :3, :3], joints) + transforms[..., :3, 3]


def jerk(joints: NDArray[np.floating], fps: int) -> float:
    """Mean size of the third derivative of joint positions (T, 22, 3), metres a second cubed; 0 under four frames."""
    third = np.diff(joints, n=3, axis=0) * fps**3
    return float(np.linalg.norm(third, axis=-1).mean()) if len(third) else 0.0


@dataclass(frozen=True)
class GroundFacts:
    """How a clip's feet meet the ground at y = 0."""

    lowest: float
    """Lowest vertex over the clip, metres; negative is below the ground."""
    mean_clearance: float
    """Mean over frames of the lowest vertex, metres."""
    contact_fraction: float
    """Part of the frames in which at least one foot stands."""
    foot_skate: float
    """Mean slide of a standing foot from one frame to the next, millimetres; 0 when no foot ever stands."""


def ground_facts(posed: NDArray[np.floating], skin: Skin) -> GroundFacts:
    """Measure ground contact of posed vertices (T, V, 3)."""
    lead = skin.joints[:, 0]
    standing_any = np.zeros(len(posed), bool)
    slips: list[float] = []
    for joints in LEG_JOINTS.values():
        sole = posed[:, np.isin(lead, joints)]
        if not sole.shape[1]:
            continue
        low = sole[..., 1] < CONTACT_HEIGHT
        standing_any |= low.any(axis=1)
        both = low[1:] & low[:-1]
        slides = 1000 * np.linalg.norm(np.diff(sole[..., [0, 2]], axis=0), axis=-1)
        slips += [float(slide[b].mean()) for slide, b in zip(slides, both) if b.any()]
    lowest = posed[..., 1].min(axis=1)
    return GroundFacts(
        lowest=float(lowest.min()),
        mean_clearance=float(lowest.mean()),
        contact_fraction=float(standing_any.mean()),
        foot_skate=float(np.mean(slips)) if slips else 0.0,
    )
