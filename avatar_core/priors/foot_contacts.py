"""When feet stand, how far they slide, and how to keep them where they stand.

All of it works on the 22-joint skeleton: a foot stands while its toe or ankle joint is as low as in standing and slow.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool1d, normalize, pad

from avatar_core.bodies.rotations import axis_angle_to_matrix, rotation_between
from avatar_core.bodies.skeleton import JOINT_INDEX, PARENTS, global_rotations, joint_positions

LEGS = tuple(
    tuple(JOINT_INDEX[f"{side}_{part}"] for part in ("hip", "knee", "ankle", "foot")) for side in ("left", "right")
)
"""Hip, knee, ankle and toe joints of the left and the right leg."""
CLEARANCE = 0.04
"""Metres above its height in standing up to which a joint of the foot counts as standing."""
SLOW = 0.45
"""Metres a second below which it does."""
SHORTEST = 4
"""Frames that a foot stands at least; shorter contacts, and shorter gaps between two, are noise."""
EASE = 4
"""Frames over which a foot comes to its place and leaves it."""
GIVE = 0.999
"""Part of its length that a leg may be stretched to."""


@dataclass(frozen=True, eq=False)
class Contacts:
    """Which feet stand when."""

    standing: Tensor
    """(..., T, 2) bool, left and right."""
    speed: Tensor
    """(..., T, 2) horizontal speed of the foot's slower joint, metres a second."""


def sole_heights(rest_joints: Tensor) -> Tensor:
    """Heights (2, 2) of ankle and toe joints over the ground in standing, left and right, metres.

    rest_joints: (22, 3) of the T-pose, whose lowest joints are the toes'. Their own height over the sole is not in the
    skeleton, and is none here: a motion of the priors has its lowest joint on the ground.
    """
    lowest = rest_joints[:, 1].min()
    return torch.stack([rest_joints[[ankle, foot], 1] - lowest for _, _, ankle, foot in LEGS])


def find_contacts(joints: Tensor, rest_joints: Tensor, fps: int) -> Contacts:
    """Tell which feet stand.

    Args:
        joints: (..., T, 22, 3) metres, ground at y = 0.
        rest_joints: (22, 3) of the T-pose, metres.
        fps: frames a second.
    """
    parts = torch.stack([joints[..., [ankle, foot], :] for _, _, ankle, foot in LEGS], -3)  # (..., T, side, part, 3)
    moved = torch.diff(parts[..., [0, 2]], dim=-4).norm(dim=-1) * fps
    ends = moved if moved.shape[-3] else torch.zeros_like(parts[..., 0])
    middle = (moved[..., 1:, :, :] + moved[..., :-1, :, :]) / 2
    speed = torch.cat([ends[..., :1, :, :], middle, moved[..., -1:, :, :]], -3)
    low = parts[..., 1] < sole_heights(rest_joints) + CLEARANCE
    standing = (low & (speed < SLOW)).any(-1)
    return Contacts(_steady(standing), torch.where(low, speed, speed.amax(-1, keepdim=True)).amin(-1))


def _steady(standing: Tensor) -> Tensor:
    """Close gaps of contacts (..., T, 2) shorter than SHORTEST frames, then drop contacts shorter than that.

    Gaps and contacts at the ends stay, however short.
    """
    ends = pad(standing.float().mT.flatten(0, -2)[:, None], (SHORTEST, SHORTEST), mode="replicate")
    closed = _shrunk(_grown(ends))
    opened = _grown(_shrunk(closed))[:, 0, SHORTEST:-SHORTEST]
    return opened.unflatten(0, standing.mT.shape[:-1]).mT > 0.5


def _grown(flags: Tensor) -> Tensor:
    """Let runs of ones in flags (n, 1, T) last SHORTEST - 1 frames longer."""
    return max_pool1d(pad(flags, (SHORTEST - 1, 0), mode="replicate"), SHORTEST, stride=1)


def _shrunk(flags: Tensor) -> Tensor:
    """Let runs of ones in flags (n, 1, T) end SHORTEST - 1 frames sooner."""
    return -max_pool1d(pad(-flags, (0, SHORTEST - 1), mode="replicate"), SHORTEST, stride=1)


def _spans(flags: Tensor) -> list[tuple[int, int]]:
    """First and one past the last index of each run of true in flags (T,)."""
    edges = torch.diff(pad(flags.int(), (1, 1)))
    return list(zip((edges == 1).nonzero()[:, 0].tolist(), (edges == -1).nonzero()[:, 0].tolist()))


def foot_skate(joints: Tensor, rest_joints: Tensor, fps: int) -> float:
    """Mean slide of a standing foot from one frame to the next, millimetres; 0 where none stands.

    joints: (T, 22, 3) metres, ground at y = 0; rest_joints: (22, 3).
    """
    contacts = find_contacts(joints, rest_joints, fps)
    slides = contacts.speed[contacts.standing] / fps
    return float(slides.mean() * 1000) if len(slides) else 0.0


def plant_feet(
    rotations: Tensor, translation: Tensor, rest_joints: Tensor, fps: int, standing: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Keep standing feet where they stand: the pelvis takes up the slide that they share, the legs the rest.

    Args:
        rotations: (T, 22, 3, 3) local.
        translation: (T, 3) pelvis, metres, ground at y = 0.
        rest_joints: (22, 3) of the T-pose, metres.
        fps: frames a second.
        standing: (T, 2) which feet stand when; found in the motion itself when not given.
    Returns:
        both, corrected; feet keep their attitude, and the pelvis its height.
    """
    world = global_rotations(rotations)
    joints = joint_positions(world, rest_joints, translation)
    if standing is None:
        standing = find_contacts(joints, rest_joints, fps).standing
    translation = translation + _shared_slide(joints, standing)
    joints = joint_positions(world, rest_joints, translation)
    world = world.clone()
    for side, leg in enumerate(LEGS):
        goal = _places(joints[:, leg[2]], standing[:, side])
        _reach(world, joints, leg, goal)
    return _relative(rotations, world), translation


def lower_feet(
    rotations: Tensor, translation: Tensor, rest_joints: Tensor, drops: Tensor, standing: Tensor
) -> Tensor:
    """Let standing feet down by bending or stretching their legs, as far as these reach.

    Args:
        rotations: (T, 22, 3, 3) local.
        translation: (T, 3) pelvis, metres.
        rest_joints: (22, 3) of the T-pose, metres.
        drops: (T, 2) how much lower the left and the right foot are wanted, metres; counted where they stand.
        standing: (T, 2) which feet stand when.
    Returns:
        the rotations, corrected; a foot comes down and leaves again over EASE frames, and keeps its attitude.
    """
    world = global_rotations(rotations)
    joints = joint_positions(world, rest_joints, translation)
    down = torch.tensor([0.0, -1.0, 0.0]).to(drops)
    world = world.clone()
    for side, leg in enumerate(LEGS):
        shift = _eased(drops[:, side, None] * down, standing[:, side])
        _reach(world, joints, leg, joints[:, leg[2]] + shift)
    return _relative(rotations, world)


def _relative(rotations: Tensor, world: Tensor) -> Tensor:
    """Return local rotations (T, 22, 3, 3) with those of the legs' joints from `world`."""
    local = rotations.clone()
    for leg in LEGS:
        for joint in leg[:3]:
            local[:, joint] = world[:, PARENTS[joint]].mT @ world[:, joint]
    return local


def _shared_slide(joints: Tensor, standing: Tensor) -> Tensor:
    """What the pelvis must move (T, 3) so that the feet that stand do not slide on the average."""
    ankles = joints[:, [leg[2] for leg in LEGS]]
    steps = ankles[1:] - ankles[:-1]
    both = (standing[1:] & standing[:-1]).float()[..., None]
    slide = (steps * both).sum(1) / both.sum(1).clamp_min(1.0)
    slide[:, 1] = 0.0
    return torch.cat([torch.zeros_like(slide[:1]), -slide.cumsum(0)])


def _places(ankle: Tensor, standing: Tensor) -> Tensor:
    """Where an ankle (T, 3) should be: in each contact at that contact's middle place, eased in and out, no higher."""
    missed = torch.zeros_like(ankle)
    for start, stop in _spans(standing):
        missed[start:stop] = ankle[start:stop].median(0).values - ankle[start:stop]
    missed[:, 1] = 0.0
    return ankle + _eased(missed, standing)


def _eased(shift: Tensor, standing: Tensor) -> Tensor:
    """Shifts (T, 3) where a foot stands (T,), and over the EASE frames on either side from none to them."""
    eased = torch.zeros_like(shift)
    rise = (torch.arange(EASE, dtype=shift.dtype)[:, None] + 1) / (EASE + 1)
    for start, stop in _spans(standing):
        before, after = min(EASE, start), min(EASE, len(shift) - stop)
        eased[start:stop] += shift[start:stop]
        eased[start - before : start] += rise[EASE - before :] * shift[start]
        eased[stop : stop + after] += rise.flip(0)[:after] * shift[stop - 1]
    return eased


def _reach(world: Tensor, joints: Tensor, leg: tuple[int, ...], goal: Tensor) -> None:
    """Turn a leg's thigh and shin in `world` (T, 22, 3, 3), in place, so that its ankle comes to `goal` (T, 3)."""
    hip, knee, ankle, _ = leg
    thigh, shin = joints[:, knee] - joints[:, hip], joints[:, ankle] - joints[:, knee]
    upper, lower = thigh.norm(dim=-1), shin.norm(dim=-1)
    wanted = goal - joints[:, hip]
    length = wanted.norm(dim=-1).clamp(max=GIVE * (upper + lower)).clamp(min=1.001 * (upper - lower).abs() + 1e-4)
    hinge = torch.linalg.cross(thigh, shin)
    bent = hinge.norm(dim=-1, keepdim=True) > 1e-4
    across = world[:, PARENTS[hip]] @ torch.tensor([1.0, 0.0, 0.0], dtype=world.dtype)
    hinge = normalize(torch.where(bent, hinge, across), dim=-1)
    now = torch.atan2((torch.linalg.cross(thigh, shin) * hinge).sum(-1), (thigh * shin).sum(-1))
    cosine = (length.square() - upper.square() - lower.square()) / (2 * upper * lower)
    turn = torch.acos(cosine.clamp(-1, 1)) - now
    bend = axis_angle_to_matrix(hinge * turn[:, None])
    reached = thigh + (bend @ shin[..., None])[..., 0]
    swing = rotation_between(normalize(reached, dim=-1), normalize(wanted, dim=-1))
    world[:, knee] = swing @ bend @ world[:, knee]
    world[:, hip] = swing @ world[:, hip]
