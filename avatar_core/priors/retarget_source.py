"""Retargets a source skeleton's motion to the 22 body joints.

A reference pose of the source, its person standing, stands for our T-pose: for every bone `A` turns the direction in
that pose onto the direction of the same bone here, and the global rotation becomes `G_source A^-1`, so that bone
directions are the source's. Local rotations follow from the tree.

- The reference is the zero pose, if a person stands in it. Skeletons whose bones all point along one axis in the zero
  pose have no such pose; there the most upright frame is taken, and turns of limbs about themselves are those relative
  to that frame. The vertical is then the axis, Y or Z, that the trunk points along more: a file of nothing but lying
  along Z is misread.
- The pelvis's `A` turns the line from the hips' midpoint to the neck and the line from hip to hip; that of the chest,
  neck, head and collars takes the line from shoulder to shoulder; the spine's lie between. A straight back in the
  reference is a straight back here, whatever the number and place of the source's spine joints.
- Feet are matched flat-to-flat with the same heading, not by their slope.
- Hands turn with the forearm's `A`.
- Positions are scaled by leg length, which takes care of the unit too, and the hips' midpoint is matched.
"""

import itertools
import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from avatar_core.bodies.rotations import rotation_between
from avatar_core.bodies.skeleton import JOINT_INDEX, NUM_JOINTS, local_rotations
from avatar_core.priors.bvh import SourceMotion
from avatar_core.priors.bvh_joints import BodyJoints, ancestry, find_joints
from avatar_core.priors.captured_motion import REST_JOINTS, CapturedMotion, slerp
from avatar_core.priors.motion_data import MotionDataError

log = logging.getLogger(__name__)

_UP_AXES = torch.tensor(
    [[0, 1, 0], [0, 0, 1], [0, 0, -1], [1, 0, 0], [-1, 0, 0]], dtype=torch.float64
)  # Y first: it wins a draw
_UPRIGHT = 0.8  # cosine with the vertical: legs and trunk of a person who stands
_SEARCHED_FRAMES = 2000
_SIDES = ("left", "right")
_REST = torch.from_numpy(REST_JOINTS).double()


@dataclass(frozen=True)
class _Placed:
    """World rotations (T, 3, 3) and positions (T, 3) of some joints, by index."""

    rotations: dict[int, Tensor]
    positions: dict[int, Tensor]

    def frame(self, frame: int) -> "_Placed":
        """Return one frame of it, T = 1."""
        pick = slice(frame, frame + 1)
        return _Placed(
            {joint: rotation[pick] for joint, rotation in self.rotations.items()},
            {joint: position[pick] for joint, position in self.positions.items()},
        )


@dataclass(frozen=True)
class _Reference:
    """The pose that stands for our T-pose.

    placed: that pose, T = 1. up: (3,) the vertical in it. world_up: (3,) the vertical of the motion's world.
    """

    placed: _Placed
    up: Tensor
    world_up: Tensor


def retarget(name: object, source: SourceMotion) -> CapturedMotion:
    """Return the motion on our skeleton, metres, Y up.

    name: the file, for messages.
    Raises MotionDataError for an unknown skeleton, one without size, and one that never stands upright.
    """
    joints = find_joints(name, source.names, source.parents)
    placed = _place(source, joints)
    zero = _place(source, joints, zero_pose=True)
    scale = _leg_length(_REST) / _source_leg_length(name, joints, zero)
    reference = _reference(name, source, joints, placed, zero)
    turns = _turns(source, joints, reference)
    to_y_up = rotation_between(reference.world_up, _UP_AXES[0])
    world = torch.eye(3, dtype=torch.float64).repeat(len(source.root), NUM_JOINTS, 1, 1)

    def ours(joint: int, turn: Tensor) -> Tensor:
        return to_y_up @ placed.rotations[joint] @ reference.placed.rotations[joint].mT @ turn.mT

    chest = turns["chest"]
    world[:, 0] = ours(joints.pelvis, turns["pelvis"])
    spine = [
        ours(joint, _between(turns["pelvis"][None], chest[None], (number + 1) / len(joints.spine))[0])
        for number, joint in enumerate(joints.spine)
    ]
    for number, rotation in enumerate(_three(world[:, 0], spine)):
        world[:, JOINT_INDEX[f"spine{number + 1}"]] = rotation
    neck = [ours(joint, chest) for joint in joints.neck]
    world[:, JOINT_INDEX["neck"]] = _between(neck[0], neck[-1], 0.5)
    world[:, JOINT_INDEX["head"]] = ours(joints.head, chest)
    for number, side in enumerate(_SIDES):
        for part, target, fallback in (
            ("thigh", "hip", "pelvis"), ("shin", "knee", ""), ("ankle", "ankle", ""), ("toe", "foot", f"{side}_ankle"),
            ("collar", "collar", "spine3"), ("upper_arm", "shoulder", ""), ("forearm", "elbow", ""),
            ("hand", "wrist", ""),
        ):  # fmt: skip
            index = JOINT_INDEX[f"{side}_{target}"]
            if part in joints.sided:
                world[:, index] = ours(joints.sided[part][number], turns[f"{side} {part}"])
            else:
                world[:, index] = world[:, JOINT_INDEX[fallback]]
    hips = sum(placed.positions[joint] for joint in joints.sided["thigh"]) / 2
    our_hips = (_REST[1] + _REST[2]) / 2
    pelvis = scale * hips @ to_y_up.mT - (world[:, 0] @ our_hips)
    return CapturedMotion(local_rotations(world), pelvis, source.fps)


def _place(source: SourceMotion, joints: BodyJoints, zero_pose: bool = False) -> _Placed:
    """Run forward kinematics for the body's joints and their ancestors: for all frames, or for the zero pose."""
    limbs = [joint for pair in joints.sided.values() for joint in pair]
    body = [joints.pelvis, joints.head, *joints.spine, *joints.neck, *limbs]
    rotations: dict[int, Tensor] = {}
    positions: dict[int, Tensor] = {}
    for joint in sorted({index for one in body for index in ancestry(one, source.parents)}):
        parent = source.parents[joint]
        local = torch.eye(3, dtype=torch.float64)[None] if zero_pose else source.rotations[:, joint]
        if parent < 0:
            rotations[joint] = local
            positions[joint] = source.offsets[None, joint] if zero_pose else source.root
        else:
            rotations[joint] = rotations[parent] @ local
            positions[joint] = positions[parent] + rotations[parent] @ source.offsets[joint]
    return _Placed(rotations, positions)


def _direction(start: Tensor, end: Tensor) -> Tensor:
    return torch.nn.functional.normalize(end - start, dim=-1)


def _middle(placed: _Placed, pair: tuple[int, int]) -> Tensor:
    return (placed.positions[pair[0]] + placed.positions[pair[1]]) / 2


def _trunk_line(placed: _Placed, joints: BodyJoints) -> Tensor:
    """Unit vectors (T, 3) from the hips' midpoint to the neck."""
    return _direction(_middle(placed, joints.sided["thigh"]), placed.positions[joints.neck[0]])


def _uprightness(placed: _Placed, joints: BodyJoints, up: Tensor) -> Tensor:
    """Smallest cosine (T) of the thighs, shins and trunk with the vertical `up` (3,)."""
    lines = [_trunk_line(placed, joints)]
    for upper, lower in (("thigh", "shin"), ("shin", "ankle")):
        for number in range(2):
            start, end = joints.sided[upper][number], joints.sided[lower][number]
            lines.append(_direction(placed.positions[end], placed.positions[start]))
    return (torch.stack(lines) @ up).min(dim=0).values


def _reference(name: object, source: SourceMotion, joints: BodyJoints, placed: _Placed, zero: _Placed) -> _Reference:
    """Choose the pose that stands for our T-pose: the zero pose, or the most upright frame of `placed`."""
    scores = torch.stack([_uprightness(zero, joints, up)[0] for up in _UP_AXES])
    if scores.max() > _UPRIGHT:
        up = _UP_AXES[int(scores.argmax())]
        return _Reference(zero, up, up)
    trunk = _trunk_line(placed, joints).mean(0)
    world_up = _UP_AXES[int((_UP_AXES[:2] @ trunk).argmax())]
    step = max(1, len(source.root) // _SEARCHED_FRAMES)
    upright = _uprightness(placed, joints, world_up)[::step]
    if upright.max() < _UPRIGHT:
        raise MotionDataError(
            f"{name}: neither the zero pose nor any frame stands upright, so that bones cannot be matched; export it "
            "with a T-pose as its zero pose, or with a standing frame"
        )
    frame = int(upright.argmax()) * step
    log.info("%s: nobody stands in its zero pose; frame %d stands for it", name, frame)
    return _Reference(placed.frame(frame), world_up, world_up)


def _frame(left: Tensor, up: Tensor) -> Tensor:
    """Rotation (3, 3) whose columns are left, up and forward, from `up` (3,) and a rough `left` (3,)."""
    forward = torch.nn.functional.normalize(torch.linalg.cross(left, up), dim=-1)
    return torch.stack([torch.linalg.cross(up, forward), up, forward], dim=-1)


def _turns(source: SourceMotion, joints: BodyJoints, reference: _Reference) -> dict[str, Tensor]:
    """The rotations `A` (3, 3) from the reference pose to our T-pose, by "pelvis", "chest", or side and part."""
    placed = reference.placed
    at = {joint: position[0] for joint, position in placed.positions.items()}
    hips, shoulders = (_direction(at[r], at[l]) for l, r in (joints.sided["thigh"], joints.sided["upper_arm"]))
    x_axis, y_axis = torch.eye(3, dtype=torch.float64)[:2]
    ours_up = _frame(x_axis, _direction((_REST[1] + _REST[2]) / 2, _REST[JOINT_INDEX["neck"]]))
    pelvis, chest = (ours_up @ _frame(left, _trunk_line(placed, joints)[0]).mT for left in (hips, shoulders))
    flat = _frame(x_axis, y_axis) @ _frame(hips, reference.up).mT
    turns = {"pelvis": pelvis, "chest": chest}
    for number, side in enumerate(_SIDES):
        turns[f"{side} collar"] = chest
        for chain, turn in (
            ((("thigh", "hip"), ("shin", "knee"), ("ankle", "ankle")), flat),
            ((("upper_arm", "shoulder"), ("forearm", "elbow"), ("hand", "wrist")), chest),
        ):
            for (upper, ours), (lower, ours_end) in itertools.pairwise(chain):
                bone = turn @ _direction(at[joints.sided[upper][number]], at[joints.sided[lower][number]])
                here = _direction(_REST[JOINT_INDEX[f"{side}_{ours}"]], _REST[JOINT_INDEX[f"{side}_{ours_end}"]])
                turn = rotation_between(bone, here) @ turn
                turns[f"{side} {upper}"] = turn
        turns[f"{side} hand"] = turns[f"{side} forearm"]
        turns[f"{side} ankle"] = turns[f"{side} toe"] = _foot_turn(source, joints, reference, flat, number)
    return turns


def _foot_turn(source: SourceMotion, joints: BodyJoints, reference: _Reference, flat: Tensor, number: int) -> Tensor:
    """Turn a foot that is flat on the ground, by `flat` (3, 3) and about the vertical, to the heading of ours."""
    ankle = joints.sided["ankle"][number]
    if "toe" in joints.sided:
        foot = reference.placed.positions[joints.sided["toe"][number]][0] - reference.placed.positions[ankle][0]
    elif ankle in source.tips:
        foot = reference.placed.rotations[ankle][0] @ source.tips[ankle]
    else:
        return flat
    level = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    here, bone = flat @ foot * level, flat @ foot
    if here.norm() < 0.3 * bone.norm() or here[2] <= 0:  # it points down or back: no heading to go by
        return flat
    side = _SIDES[number]
    ours = (_REST[JOINT_INDEX[f"{side}_foot"]] - _REST[JOINT_INDEX[f"{side}_ankle"]]) * level
    zero = torch.zeros(3, dtype=torch.float64)
    return rotation_between(_direction(zero, here), _direction(zero, ours)) @ flat


def _three(pelvis: Tensor, spine: list[Tensor]) -> list[Tensor]:
    """World rotations of spine1 to spine3 (T, 3, 3) from those of the source's spine joints."""
    if len(spine) == 1:
        return [_between(pelvis, spine[0], share) for share in (1 / 3, 2 / 3, 1.0)]
    if len(spine) == 2:
        return [spine[0], _between(spine[0], spine[1], 0.5), spine[1]]
    return [spine[0], spine[len(spine) // 2], spine[-1]]


def _between(first: Tensor, second: Tensor, share: float) -> Tensor:
    return slerp(first, second, torch.full((len(first),), share, dtype=first.dtype))


def _leg_length(joints: Tensor) -> Tensor:
    """Mean length of our legs, thigh and shin, in a pose `joints` (22, 3)."""
    return torch.stack([(joints[a] - joints[b]).norm() for a, b in ((1, 4), (4, 7), (2, 5), (5, 8))]).sum() / 2


def _source_leg_length(name: object, joints: BodyJoints, zero: _Placed) -> Tensor:
    """Mean length of the source's legs in the file's unit."""
    at = {joint: position[0] for joint, position in zero.positions.items()}
    pairs = [
        (joints.sided[upper][number], joints.sided[lower][number])
        for upper, lower in (("thigh", "shin"), ("shin", "ankle"))
        for number in range(2)
    ]
    lengths = torch.stack([(at[upper] - at[lower]).norm() for upper, lower in pairs])
    if not bool((lengths > 1e-3 * lengths.max()).all()):
        raise MotionDataError(f"{name}: a leg bone has no length; export it with the skeleton's OFFSETs")
    return lengths.sum() / 2
