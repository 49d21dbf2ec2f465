"""A motion of the priors' skeleton on one avatar's own: sized, grounded, and as tracks of its bones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from avatar_core.bodies.base import BodyModel
from avatar_core.bodies.rig import Rig
from avatar_core.bodies.rotations import axis_angle_to_matrix, matrix_to_quaternion
from avatar_core.bodies.skeleton import JOINT_INDEX, JOINT_NAMES, NUM_JOINTS
from avatar_core.errors import DivergenceError
from avatar_core.priors.captured_motion import REST_JOINTS
from avatar_core.priors.foot_contacts import SLOW, lower_feet, plant_feet
from avatar_core.priors.kinematics import forward_kinematics
from avatar_core.rigging.clip import BATCH, Clip
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
LEVEL_RADIUS = 6
"""Frames on either side over which the height of standing feet is smoothed."""
TOUCHING = 0.02
"""Height in metres up to which a standing foot is on the ground; one that stands higher is let down to it."""
FARTHEST_DROP = 0.03
"""Metres by which it is let down at most: what hangs higher does not stand."""
CONTACT_HEIGHT = 0.03
"""A foot with a vertex under this height, in metres, is taken to stand if that moves slowly enough."""


@dataclass(frozen=True)
class RiggedClip(Clip):
    """A motion of the priors' skeleton as one skinned mesh shows it."""

    scale: float
    """Factor from the prior's translation to this body's."""
    direction_error: float
    """Largest angle, in degrees, between a limb and the same limb of the priors' skeleton in the same pose."""


def retarget(
    body: BodyModel,
    rig: Rig,
    poses: torch.Tensor,
    translation: torch.Tensor,
    vertices: NDArray[np.floating],
    skin: Skin,
    *,
    fps: int = 30,
    standing: torch.Tensor | None = None,
    loops: bool = False,
) -> RiggedClip:
    """Fit a motion to a body: translation by leg length, standing feet held, the clip onto the ground, never below it.

    Legs of other proportions than the priors' take other steps, so that feet which stood would slide again.

    Args:
        body: the model that poses `rig.shaped`.
        rig: the avatar's whole skeleton.
        poses: (T, 22, 3) axis-angle local rotations from the T-pose.
        translation: (T, 3) pelvis positions of the prior's skeleton, metres.
        vertices: (V, 3) of the mesh in the bind pose, metres.
        skin: the mesh's weights.
        fps: frames a second.
        standing: (T, 2) whether the left and the right foot stand; None holds no feet.
        loops: whether the clip is meant to be played over and over.
    Raises:
        DivergenceError: the motion is not finite.
    """
    if not (torch.isfinite(poses).all() and torch.isfinite(translation).all()):
        raise DivergenceError("the motion is not finite: run its stage again with another seed")
    with torch.no_grad():
        device = rig.heads.device
        upright = body.pose(rig.shaped, torch.eye(3, device=device).expand(1, NUM_JOINTS, 3, 3))
        pelvis = float(upright.joints[0, 0, 1] - upright.vertices[0, :, 1].min())
        scale = pelvis / PRIOR_PELVIS_HEIGHT
        local = axis_angle_to_matrix(poses.to(device, torch.float32))
        way = translation.to(device, torch.float32) * scale
        if standing is not None:
            tpose = upright.joints[0].cpu()
            local, way = (part.to(device) for part in plant_feet(local.cpu(), way.cpu(), tpose, fps, standing.cpu()))
        posed = _on_ground(rig, local, way, vertices, skin, standing)
        if standing is not None and (posed.clearance > TOUCHING).any():
            drops = torch.from_numpy(np.clip(posed.clearance - TOUCHING, 0.0, FARTHEST_DROP))
            local = lower_feet(local.cpu(), way.cpu(), tpose, drops, standing.cpu()).to(device)
            posed = _on_ground(rig, local, way, vertices, skin, standing)
    transforms = posed.transforms
    quaternions = matrix_to_quaternion(rig.relative(transforms[..., :3, :3].double()))
    root = transforms[:, 0, :3, :3] @ rig.heads[0].cpu() + transforms[:, 0, :3, 3]
    return RiggedClip(
        transforms=transforms.numpy().astype(np.float32),
        rotations=continuous(quaternions.numpy()).astype(np.float32),
        root=root.numpy().astype(np.float32),
        fps=fps,
        scale=scale,
        direction_error=direction_error(rig, transforms, local.cpu()),
        loops=loops,
    )


LIMBS = tuple(
    (JOINT_INDEX[f"{side}_{start}"], JOINT_INDEX[f"{side}_{end}"])
    for side in ("left", "right")
    for start, end in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
)
"""Joints where upper arms, forearms, thighs and shins begin and end."""


def direction_error(rig: Rig, transforms: torch.Tensor, rotations: torch.Tensor) -> float:
    """Largest angle in degrees between a limb of a posed rig and the same limb of the priors' skeleton in that pose.

    transforms: (T, B, 4, 4) of the rig; rotations: (T, 22, 3, 3) local joint rotations from the T-pose.
    """
    heads = rig.heads.cpu()[:NUM_JOINTS]
    placed = (transforms[:, :NUM_JOINTS, :3, :3] @ heads[..., None]).squeeze(-1) + transforms[:, :NUM_JOINTS, :3, 3]
    wanted = forward_kinematics(rotations, torch.zeros(len(rotations), 3), torch.from_numpy(REST_JOINTS))
    start, end = (list(joints) for joints in zip(*LIMBS))
    limbs = [torch.nn.functional.normalize(points[:, end] - points[:, start], dim=-1) for points in (placed, wanted)]
    sine = torch.linalg.cross(*limbs).norm(dim=-1)
    return float(torch.atan2(sine, (limbs[0] * limbs[1]).sum(-1)).rad2deg().max())


@dataclass(frozen=True, eq=False)
class _Grounded:
    """A posed rig on the ground."""

    transforms: torch.Tensor
    """(T, B, 4, 4) of the bones."""
    clearance: NDArray[np.float32]
    """(T, 2) height over the ground of the left and the right foot where it stands, else 0; metres."""


def _on_ground(
    rig: Rig,
    local: torch.Tensor,
    way: torch.Tensor,
    vertices: NDArray[np.floating],
    skin: Skin,
    standing: torch.Tensor | None,
) -> _Grounded:
    """Pose a rig by local rotations (T, 22, 3, 3) and pelvis positions (T, 3), and put it on the ground."""
    transforms = rig.pose(local, way).cpu()
    heights = [_heights(deform(vertices, skin, part.numpy()), skin) for part in transforms.split(BATCH)]
    lowest, soles = (np.concatenate(parts) for parts in zip(*heights))
    stands = np.zeros(soles.shape, bool) if standing is None else standing.cpu().numpy()
    shift = ground_shift(lowest, None if standing is None else np.where(stands, soles, np.inf).min(1))
    transforms[:, :, 1, 3] += torch.from_numpy(shift)[:, None]
    return _Grounded(transforms, np.where(stands, soles + shift[:, None], 0.0).astype(np.float32))


def _heights(posed: NDArray[np.floating], skin: Skin) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the heights of the lowest vertex (T,) and of the left and the right foot's (T, 2) in posed (T, V, 3)."""
    height, lead = posed[..., 1], skin.joints[:, 0]
    feet = [np.isin(lead, joints) for joints in LEG_JOINTS.values()]
    soles = [height[:, foot].min(axis=1) if foot.any() else np.full(len(height), np.inf) for foot in feet]
    return height.min(axis=1), np.stack(soles, axis=1)


def ground_shift(
    lowest: NDArray[np.floating], standing: NDArray[np.floating] | None = None
) -> NDArray[np.float32]:
    """Heights (T,) to add to each frame so that the body stands on y = 0 and never sinks into it.

    Feet that stand meet the ground, each frame's by itself, and between two stands the shift goes from one to the
    other. Without any, putting the lowest frame on the ground would leave the others floating by the depth of its one
    outlier (a toe that pushes off). So a low quantile meets the ground. Frames that sink are lifted by a smooth
    envelope of how deep they are.

    Args:
        lowest: (T,) height of the lowest vertex in each frame, metres.
        standing: (T,) height of the lowest foot of those that stand, metres; infinite where none does.
    """
    stands = np.zeros(len(lowest), bool) if standing is None else np.isfinite(standing)
    if standing is not None and stands.any():
        frames = np.arange(len(lowest))
        level = _smoothed(np.interp(frames, frames[stands], standing[stands]), LEVEL_RADIUS)
    else:
        level = np.full(len(lowest), np.quantile(lowest, GROUND_QUANTILE))
    depth = np.pad(np.maximum(level - lowest, 0.0), LIFT_RADIUS, mode="edge")
    # Each value of the maximum over the window is at least the depth in its middle, and so is their mean.
    deepest = np.lib.stride_tricks.sliding_window_view(depth, 2 * LIFT_RADIUS + 1).max(axis=-1)
    return (_smoothed(deepest, LIFT_RADIUS) - level).astype(np.float32)


def _smoothed(values: NDArray[np.floating], radius: int) -> NDArray[np.floating]:
    """Return the means of values (T,) under a bell of `radius` frames on either side."""
    kernel = np.hanning(2 * radius + 3)[1:-1]
    return np.convolve(np.pad(values, radius, mode="edge"), kernel / kernel.sum(), mode="valid")


def continuous(quaternions: NDArray[np.floating]) -> NDArray[np.floating]:
    """Flip signs of quaternions (T, J, 4) so that each is on its predecessor's side: no long way round."""
    dots = (quaternions[1:] * quaternions[:-1]).sum(-1)
    signs = np.cumprod(np.where(dots < 0, -1.0, 1.0), axis=0)
    return np.concatenate([quaternions[:1], quaternions[1:] * signs[..., None]])


def bone_offsets(rig: Rig) -> NDArray[np.float64]:
    """Bind-pose heads of bones (B, 3) relative to the bone that each hangs on, metres; the pelvis stays absolute."""
    heads = rig.heads.cpu().double().numpy()
    return np.stack([head - (heads[parent] if parent >= 0 else 0.0) for head, parent in zip(heads, rig.parents)])


def clip_joints(clip: Clip, rig: Rig) -> NDArray[np.float64]:
    """Return where a clip puts the 22 joints, as (T, 22, 3) metres."""
    transforms = clip.transforms[:, :NUM_JOINTS].astype(np.float64)
    heads = rig.heads.cpu().double().numpy()[:NUM_JOINTS]
    return np.einsum("tjab,jb->tja", transforms[..., :3, :3], heads) + transforms[..., :3, 3]


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


def ground_facts(posed: NDArray[np.floating], skin: Skin, fps: int) -> GroundFacts:
    """Measure ground contact of posed vertices (T, V, 3) at `fps` frames a second.

    A foot slides by the mean movement of its vertices that are near the ground: heel and toes leave it in their turn.
    """
    lead = skin.joints[:, 0]
    standing_any = np.zeros(len(posed), bool)
    slips: list[NDArray[np.floating]] = []
    for joints in LEG_JOINTS.values():
        sole = posed[:, np.isin(lead, joints)]
        if not sole.shape[1]:
            continue
        low = sole[..., 1] < CONTACT_HEIGHT
        slides = np.linalg.norm(np.diff(sole[..., [0, 2]], axis=0), axis=-1)
        both = low[1:] & low[:-1]
        slide = np.where(both.any(axis=1), (slides * both).sum(axis=1) / np.maximum(both.sum(axis=1), 1), np.inf)
        stands = slide * fps < SLOW
        standing_any |= np.concatenate([stands[:1], stands]) if len(stands) else low.any(axis=1)
        slips.append(1000 * slide[stands])
    lowest = posed[..., 1].min(axis=1)
    slid = np.concatenate(slips) if slips else np.zeros(0)
    return GroundFacts(
        lowest=float(lowest.min()),
        mean_clearance=float(lowest.mean()),
        contact_fraction=float(standing_any.mean()),
        foot_skate=float(slid.mean()) if len(slid) else 0.0,
    )
