"""Joins motions one after the other and closes them into loops."""

from dataclasses import dataclass

import torch
from torch import Tensor

from avatar_core.bodies.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from avatar_core.priors.kinematics import heading_angle, heading_matrix
from avatar_core.priors.motion_objective import pose_vectors

OVERLAP = 12
"""Frames over which one motion goes over into the next."""
SHORTEST_LOOP = 24
"""Frames of a loop at least."""


@dataclass(frozen=True, eq=False)
class Sequence:
    """A motion of T frames."""

    rotations: Tensor
    """(T, 22, 3, 3) local."""
    translation: Tensor
    """(T, 3) pelvis, metres."""
    standing: Tensor
    """(T, 2) bool, whether the left and the right foot stand."""

    def __len__(self) -> int:
        return len(self.rotations)

    def __getitem__(self, frames: slice) -> "Sequence":
        return Sequence(self.rotations[frames], self.translation[frames], self.standing[frames])


def chain(*parts: Sequence) -> Sequence:
    """Put sequences one after the other as they are."""
    return Sequence(
        torch.cat([part.rotations for part in parts]),
        torch.cat([part.translation for part in parts]),
        torch.cat([part.standing for part in parts]),
    )


def fade(first: Sequence, second: Sequence) -> Sequence:
    """Go over smoothly from one sequence into another of the same length; feet stand that stand in both."""
    weight = smooth_steps(len(first)).to(first.translation)
    return Sequence(
        between(first.rotations, second.rotations, weight[:, None].expand(first.rotations.shape[:2])),
        torch.lerp(first.translation, second.translation, weight[:, None]),
        first.standing & second.standing,
    )


def smooth_steps(count: int) -> Tensor:
    """Weights (count,) from just above 0 to just below 1, with no jerk at either end."""
    part = (torch.arange(count) + 1) / (count + 1)
    return part * part * (3 - 2 * part)


def between(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Rotations on the shortest way from `first` to `second` (..., 3, 3), at `weight` (...) from 0 to 1."""
    return first @ axis_angle_to_matrix(matrix_to_axis_angle(first.mT @ second) * weight[..., None])


def move_to(motion: Sequence, heading: Tensor, place: Tensor) -> Sequence:
    """Turn and move a motion so that its first frame has a heading (), radians, and stands at x, z of `place` (3,)."""
    flat = torch.tensor([1.0, 0.0, 1.0]).to(place)
    return turned(motion, heading - heading_angle(motion.rotations[0, 0]), motion.translation[0] * flat, place * flat)


def turned(motion: Sequence, angle: Tensor, about: Tensor, to: Tensor) -> Sequence:
    """Turn a motion about +Y by `angle` (), radians, and take the point `about` (3,) to the point `to` (3,)."""
    turn = heading_matrix(angle)
    root = turn @ motion.rotations[:, 0]
    path = (motion.translation - about) @ turn.mT + to
    return Sequence(torch.cat([root[:, None], motion.rotations[:, 1:]], 1), path, motion.standing)


def join(first: Sequence, second: Sequence, overlap: int = OVERLAP) -> Sequence:
    """Let the first motion go over into the second, which goes on from where the first was and faced.

    The last `overlap` frames of the first are blended with the first ones of the second.
    """
    overlap = min(overlap, len(first) - 1, len(second) - 1)
    start = len(first) - overlap
    moved = move_to(second, heading_angle(first.rotations[start, 0]), first.translation[start])
    return chain(first[:start], fade(first[start:], moved[:overlap]), moved[overlap:])


def close_loop(motion: Sequence, overlap: int = OVERLAP) -> Sequence:
    """Return the stretch of a motion that loops best, its end blended into its beginning.

    The frame after the last is the first one again, but for what the pelvis has travelled and turned meanwhile: an
    engine that takes the root's motion from the clip walks on, and one that does not marks time.
    """
    first, last = _best_cut(pose_vectors(motion.rotations), motion.translation[:, 1], overlap)
    # What follows `last` is blended into what led up to `first`, as if the clip had been there already.
    count = min(overlap, last - first)
    begun = max(first - count, 0)
    before, missing = motion[begun:first], count - (first - begun)
    if missing:  # the motion begins too late to have led up to `first`: its first pose, moving evenly, does
        pace = (motion.translation[begun + 1] - motion.translation[begun]) * torch.tensor([1.0, 0.0, 1.0])
        steps = torch.arange(-missing, 0)[:, None]
        pose = motion[begun : begun + 1]
        lead_in = Sequence(
            pose.rotations.expand(missing, -1, -1, -1),
            pose.translation + steps * pace,
            pose.standing.expand(missing, -1),
        )
        before = chain(lead_in, before)
    turn = heading_angle(motion.rotations[last, 0]) - heading_angle(motion.rotations[first, 0])
    led = turned(before, turn, motion.translation[first], motion.translation[last])
    return chain(motion[first : last - count], fade(motion[last - count : last], led))


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
