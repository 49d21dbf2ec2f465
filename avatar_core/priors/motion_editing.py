"""Joins motions one after the other and closes them into loops.

A motion here is rotations (T, 22, 3, 3), local, and pelvis positions (T, 3) in metres.
"""

import torch
from torch import Tensor

from avatar_core.bodies.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from avatar_core.priors.kinematics import heading_angle, heading_matrix
from avatar_core.priors.motion_objective import pose_vectors

OVERLAP = 12
"""Frames over which one motion goes over into the next."""
SHORTEST_LOOP = 24
"""Frames of a loop at least."""

Sequence = tuple[Tensor, Tensor]


def smooth_steps(count: int) -> Tensor:
    """Weights (count,) from just above 0 to just below 1, with no jerk at either end."""
    part = (torch.arange(count) + 1) / (count + 1)
    return part * part * (3 - 2 * part)


def between(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Rotations on the shortest way from `first` to `second` (..., 3, 3), at `weight` (...) from 0 to 1."""
    return first @ axis_angle_to_matrix(matrix_to_axis_angle(first.mT @ second) * weight[..., None])


def move_to(motion: Sequence, heading: Tensor, place: Tensor) -> Sequence:
    """Turn and move a motion so that its first frame has a heading (), radians, and stands at x, z of `place` (3,)."""
    rotations, translation = motion
    turn = heading_matrix(heading - heading_angle(rotations[0, 0]))
    root = turn @ rotations[:, 0]
    flat = torch.tensor([1.0, 0.0, 1.0], dtype=translation.dtype)
    moved = (translation - translation[0] * flat) @ turn.mT + place * flat
    return torch.cat([root[:, None], rotations[:, 1:]], 1), moved


def join(first: Sequence, second: Sequence, overlap: int = OVERLAP) -> Sequence:
    """Let the first motion go over into the second, which goes on from where the first was and faced.

    The last `overlap` frames of the first are blended with the first ones of the second.
    """
    overlap = min(overlap, len(first[0]) - 1, len(second[0]) - 1)
    start = len(first[0]) - overlap
    moved = move_to(second, heading_angle(first[0][start, 0]), first[1][start])
    weight = smooth_steps(overlap)
    rotations = between(first[0][start:], moved[0][:overlap], weight[:, None].expand(-1, first[0].shape[1]))
    translation = torch.lerp(first[1][start:], moved[1][:overlap], weight[:, None])
    return (
        torch.cat([first[0][:start], rotations, moved[0][overlap:]]),
        torch.cat([first[1][:start], translation, moved[1][overlap:]]),
    )


def close_loop(motion: Sequence, overlap: int = OVERLAP) -> Sequence:
    """Return the stretch of a motion that loops best, its end blended into its beginning.

    The frame after the last is the first one again, but for what the pelvis has travelled and turned meanwhile: an
    engine that takes the root's motion from the clip walks on, and one that does not marks time.
    """
    rotations, translation = motion
    first, last = _best_cut(pose_vectors(rotations), translation[:, 1], overlap)
    # What follows `last` is blended into what led up to `first`, as if the clip had been there already.
    count = min(overlap, last - first)
    lead = rotations[last - count : last], translation[last - count : last]
    begun = max(first - count, 0)
    before = rotations[begun:first], translation[begun:first]
    missing = count - len(before[0])
    if missing:  # the motion begins too late to have led up to `first`: its first pose, moving evenly, does
        pace = (translation[begun + 1] - translation[begun]) * torch.tensor([1.0, 0.0, 1.0])
        steps = torch.arange(-missing, 0)[:, None]
        before = (
            torch.cat([rotations[begun : begun + 1].expand(missing, -1, -1, -1), before[0]]),
            torch.cat([translation[begun] + steps * pace, before[1]]),
        )
    turn = heading_angle(rotations[last, 0]) - heading_angle(rotations[first, 0])
    spin = heading_matrix(turn)
    led = torch.cat([(spin @ before[0][:, 0])[:, None], before[0][:, 1:]], 1)
    travelled = (before[1] - translation[first]) @ spin.mT + translation[last]
    weight = smooth_steps(count)
    blended = between(lead[0], led, weight[:, None].expand(-1, rotations.shape[1]))
    path = torch.lerp(lead[1], travelled, weight[:, None])
    return (
        torch.cat([rotations[first : last - count], blended]),
        torch.cat([translation[first : last - count], path]),
    )


def _best_cut(vectors: Tensor, height: Tensor, overlap: int) -> tuple[int, int]:
    """First and one past the last frame of the stretch whose ends are most alike, in pose and in change of pose."""
    frames = len(vectors)
    described = torch.cat([vectors, height[:, None] * 3], 1)
    change = torch.diff(described, dim=0, append=described[-1:]) * 3
    described = torch.cat([described, change], 1)
    away = torch.cdist(described, described)
    span = torch.arange(frames)[None] - torch.arange(frames)[:, None]
    shortest = min(SHORTEST_LOOP, frames - 1)
    # Longer loops show more of the motion: each frame less must be worth it.
    away = away * (1 + 0.5 * (frames - span) / frames)
    away = away.masked_fill(span < shortest, torch.inf)
    best = int(away.argmin())
    return best // frames, best % frames
