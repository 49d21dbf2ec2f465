"""The whole skeleton of a body: what a finished avatar is rigged with, posed by rotations of the 22 joints.

The first 22 bones are the joints. The others lie between two joints and take a share of a twist, so that no skin is
wrung at one place, or hang on a joint: fingers, in the curl of a hand at rest, and eyes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avatar_core.bodies.armature import Armature, Between, HasArmature
from avatar_core.bodies.base import ShapedBody
from avatar_core.bodies.rotations import axis_angle_to_matrix, matrix_to_quaternion
from avatar_core.bodies.skeleton import JOINT_INDEX, JOINT_NAMES, global_rotations, joint_positions

SIDES = ("left", "right")
FINGERS = ("thumb", "index", "middle", "ring", "little")
CURL: dict[str, tuple[float, float, float]] = {
    "thumb": (4, 8, 12), "index": (8, 16, 10), "middle": (12, 20, 12), "ring": (15, 22, 13), "little": (17, 22, 13),
}  # fmt: skip
"""Degrees by which the three bones of each finger bend further than the bind pose's, in a hand at rest."""


BETWEEN: dict[str, Between] = {
    "waist": Between("pelvis", "spine1", "pelvis", "spine1", 0.5),
    "abdomen": Between("spine1", "spine2", "spine1", "spine2", 0.5),
    "neck2": Between("neck", "neck3", "neck", "head", 1 / 3),
    "neck3": Between("neck2", "head", "neck", "head", 2 / 3),
}
for _side in SIDES:
    BETWEEN |= {
        f"{_side}_upper_arm_twist": Between(f"{_side}_shoulder", f"{_side}_elbow", f"{_side}_shoulder"),
        f"{_side}_forearm_twist": Between(f"{_side}_elbow", f"{_side}_wrist", f"{_side}_elbow", f"{_side}_wrist", 0.5),
        f"{_side}_thigh_twist": Between(f"{_side}_hip", f"{_side}_knee", f"{_side}_hip"),
        f"{_side}_shin_twist": Between(f"{_side}_knee", f"{_side}_ankle", f"{_side}_knee", f"{_side}_ankle", 0.5),
    }
HELD_BACK = {f"{side}_{joint}": 0.5 for side in SIDES for joint in ("shoulder", "hip")}
"""Share of their own twist that the bones of these joints leave to the bone between them and the next joint."""
_BLIND = (0.3, 0.6)
"""Cosines of half a swing between which a twist comes to count: after a swing of half a turn there is none to tell."""

_ON: dict[str, str] = {}
for _side in SIDES:
    for _finger in FINGERS:
        _ON |= {f"{_side}_{_finger}1": f"{_side}_wrist"}
        _ON |= {f"{_side}_{_finger}{_part}": f"{_side}_{_finger}{_part - 1}" for _part in (2, 3)}
_ON |= {f"{_side}_eye": "head" for _side in SIDES}
"""What fingers and eyes hang on."""

EMBEDDED = Armature.of(_ON, BETWEEN, HELD_BACK)
"""The bones of the embedded body."""
EXTRA_BONES: tuple[str, ...] = EMBEDDED.names[len(JOINT_NAMES) :]
"""Bones that are no joints."""
BONE_NAMES: tuple[str, ...] = EMBEDDED.names
BONE_INDEX: dict[str, int] = EMBEDDED.index
BONE_PARENTS: tuple[int, ...] = EMBEDDED.parents
JOINT_OF_BONE: tuple[int, ...] = EMBEDDED.joint_of_bone
"""The joint that each bone turns with."""


@dataclass(frozen=True, eq=False)
class Rig(HasArmature):
    """The whole skeleton of one body in its bind pose."""

    heads: Tensor
    """(B, 3) where the bones begin, metres."""
    weights: Tensor
    """(V, B) skinning weights of the body's vertices, rows sum to one."""
    shaped: ShapedBody
    armature: Armature
    """The B bones."""

    @property
    def joint_of_bone(self) -> tuple[int, ...]:
        """Joint that each bone turns with."""
        return self.armature.joint_of_bone

    def pose(self, rotations: Tensor, translation: Tensor) -> Tensor:
        """Return the transforms (T, B, 4, 4) from bind space to posed space.

        rotations: (T, 22, 3, 3) local rotations of the joints from the T-pose; translation: (T, 3) pelvis, metres.
        """
        world = self._world(rotations)
        placed: list[Tensor] = [translation] * len(self.names)
        for bone in self.armature.order:
            parent = self.parents[bone]
            if parent >= 0:
                reach = self.heads[bone] - self.heads[parent]
                placed[bone] = placed[parent] + world[:, parent] @ reach
        offset = torch.stack(placed, 1) - (world @ self.heads[..., None]).squeeze(-1)
        top = torch.cat([world, offset[..., None]], -1)
        bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
        return torch.cat([top, bottom], -2)

    def relative(self, world: Tensor) -> Tensor:
        """World rotations (T, B, 3, 3) to rotations relative to the bone that each hangs on."""
        up = [max(parent, 0) for parent in self.parents]
        relative = world[:, up].mT @ world
        relative[:, 0] = world[:, 0]
        return relative

    def _world(self, rotations: Tensor) -> Tensor:
        """World rotations (T, B, 3, 3) of the bones, from the bind pose."""
        joints = global_rotations(rotations)
        along = self._axes()
        turned = [joints[:, joint] for joint in self.joint_of_bone]
        for name, share in self.armature.held_back.items():
            joint = JOINT_INDEX[name]
            turned[joint] = joints[:, joint] @ twisted(rotations[:, joint], along[joint], -share)
        for name, bone in self.armature.between.items():
            if bone.shared:
                joint, shared = JOINT_INDEX[bone.joint], JOINT_INDEX[bone.shared]
                twist = twisted(rotations[:, shared], along[joint], bone.share)
                turned[self.armature.index[name]] = joints[:, joint] @ twist
        bind = self.shaped.to_tpose[list(self.joint_of_bone)] @ self._curls()
        return torch.stack(turned, 1) @ bind

    def _axes(self) -> Tensor:
        """Directions (22, 3) in the T-pose from each joint to the one after it, where there is just one."""
        identity = torch.eye(3).to(self.heads).expand(1, 22, 3, 3)
        tpose = joint_positions(
            global_rotations(identity) @ self.shaped.to_tpose, self.shaped.joints, self.heads.new_zeros(1, 3)
        )[0]
        axes = torch.zeros_like(tpose)
        for bone in self.armature.between.values():
            start = JOINT_INDEX[bone.joint]
            end = JOINT_INDEX[bone.child if bone.child in JOINT_INDEX else bone.shared]
            axes[start] = torch.nn.functional.normalize(tpose[end] - tpose[start], dim=0)
        return axes

    def _curls(self) -> Tensor:
        """Rotations (B, 3, 3) in bind space that bend the fingers; the identity for all other bones."""
        curls = torch.eye(3).to(self.heads).repeat(len(self.names), 1, 1)
        index = self.armature.index
        for side in SIDES:
            if f"{side}_index1" not in index:
                continue
            hand = self.shaped.to_tpose[JOINT_INDEX[f"{side}_wrist"]].T
            palm = hand @ self.heads.new_tensor([0.0, -1.0, 0.0])  # palms face the ground in the T-pose
            inward = self._span(f"{side}_index1", f"{side}_little1")
            for finger, degrees in CURL.items():
                towards = torch.nn.functional.normalize(palm + inward, dim=0) if finger == "thumb" else palm
                bones = [f"{side}_{finger}{part}" for part in (1, 2, 3)]
                along = self._span(bones[0], bones[1])
                axis = torch.nn.functional.normalize(torch.linalg.cross(along, towards), dim=0)
                bent = torch.tensor(degrees).cumsum(0).deg2rad().to(axis)
                for bone, angle in zip(bones, bent):
                    curls[index[bone]] = axis_angle_to_matrix(axis * angle)
        return curls

    def _span(self, first: str, second: str) -> Tensor:
        index = self.armature.index
        return torch.nn.functional.normalize(self.heads[index[second]] - self.heads[index[first]], dim=0)


def twisted(rotation: Tensor, axis: Tensor, share: float) -> Tensor:
    """The twist of rotations (T, 3, 3) about `axis` (3,), times `share`, as (T, 3, 3).

    It fades out where the swing comes near to half a turn, where twists cannot be told.
    """
    quaternion = matrix_to_quaternion(rotation)
    sine, cosine = quaternion[..., :3] @ axis, quaternion[..., 3]
    told = ((sine.square() + cosine.square()).sqrt() - _BLIND[0]) / (_BLIND[1] - _BLIND[0])
    told = told.clamp(0, 1)
    angle = 2 * torch.atan2(sine, cosine) * told * told * (3 - 2 * told)
    return axis_angle_to_matrix(angle[..., None] * share * axis)
