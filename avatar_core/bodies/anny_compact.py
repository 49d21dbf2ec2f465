"""Anny from the compact file that the package ships: phenotypes to body, without Anny's own first build."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from avatar_core.bodies.base import PosedBody, ShapedBody
from avatar_core.bodies.rig import BONE_NAMES, EMBEDDED, Rig
from avatar_core.bodies.rotations import rotation_between
from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.bodies.skinning import bind_pose_rotations, blend, joint_transforms
from avatar_core.errors import BodyError, WeightsError

# Directions of the left limbs in the T-pose of the motion data (x is mirrored for the right ones).
_UPPER_ARM, _FOREARM = (0.26, -0.013, -0.027), (0.25, 0.009, -0.001)
_THIGH, _SHIN = (0.035, -0.38, -0.005), (-0.015, -0.4, -0.045)
_HAND = (1.0, 0.0, 0.0)
_SIDES = {"left": 1.0, "right": -1.0}


class AnnyCompact:
    """Anny's six main phenotypes (gender, age, muscle, weight, height, proportions; each 0 to 1).

    gender 0 is male and 1 female; age 0 is a small child, 1/3 a child, 2/3 a young adult and 1 old; weight 0 is
    thin and 1 fat. Shapes agree with `anny.Anny` within a millimetre, posed ones too.
    """

    name = "anny"

    def __init__(self, folder: Path, device: torch.device | str = "cpu") -> None:
        """Load body.safetensors and body.json of `folder`; raises WeightsError when they cannot be read."""
        path = folder / "body.safetensors"
        try:
            tensors = load_file(path, device=str(device))
            facts = json.loads((folder / "body.json").read_text(encoding="utf-8"))
            self.digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except (OSError, SafetensorError, json.JSONDecodeError) as error:
            raise WeightsError(f"body file {path}: cannot be read ({error}); reinstall avatar-foundry") from error
        self.device = torch.device(device)
        self._anchors = {label: torch.tensor(values, device=device) for label, values in facts["anchors"].items()}
        self.shape_labels = tuple(self._anchors)
        self.region_names = tuple(facts["region_names"])
        self._mean = tensors["mean"].flatten()
        self._basis = tensors["basis"].float().flatten(1)
        self._coefficients = tensors["coefficients"]
        self._joints, self._hands = tensors["joints"], tensors["hands"]
        weights = tensors["skinning_weights"].float()
        self.skinning_weights = weights / weights.sum(1, keepdim=True)
        self.faces, self.face_uvs = tensors["faces"].long(), tensors["face_uvs"].long()
        self.licence = str(facts["licence"])
        self.uvs, self.regions = tensors["uvs"], tensors["regions"].long()
        self.neutral_shape = torch.full((len(self.shape_labels),), 0.5, device=device)
        self.neutral_shape[self.shape_labels.index("age")] = 2 / 3
        self._folder = folder
        self.charted = self.template = self.shape(self.neutral_shape).vertices

    def shape(self, betas: Tensor) -> ShapedBody:
        """Build the bind-pose body of phenotypes `betas` (6,) in [0, 1]; raises BodyError when not valid."""
        if betas.shape != self.neutral_shape.shape:
            given = tuple(betas.shape)
            raise BodyError(f"shape vector has shape {given}; expected one value for each of {self.shape_labels}")
        if not bool(torch.isfinite(betas).all()):
            raise BodyError(f"shape vector has values that are not finite: {betas.tolist()}")
        corner = self._corner_weights(betas)
        vertices = (self._mean + (corner @ self._coefficients) @ self._basis).reshape(-1, 3)
        joints = torch.einsum("c,cjk->jk", corner, self._joints)
        hands = torch.einsum("c,csfk->sfk", corner, self._hands)
        ground = torch.stack([joints[0, 0], vertices[:, 1].min(), joints[0, 2]])
        to_tpose = self._to_tpose(joints, hands)
        return ShapedBody(betas, vertices - ground, joints - ground, to_tpose)

    def pose(self, shaped: ShapedBody, rotations: Tensor, translation: Tensor | None = None) -> PosedBody:
        """Pose a body.

        Args:
            shaped: result of `shape`.
            rotations: (B, 22, 3, 3) local rotations relative to the T-pose.
            translation: (B, 3) pelvis positions in metres; None keeps the bind pelvis.
        """
        if rotations.shape[1:] != (22, 3, 3):
            raise BodyError(f"rotations have shape {tuple(rotations.shape)}; expected (B, 22, 3, 3)")
        transforms = joint_transforms(shaped.joints, shaped.to_tpose, rotations, translation)
        joints = (transforms[..., :3, :3] @ shaped.joints.unsqueeze(-1)).squeeze(-1) + transforms[..., :3, 3]
        return PosedBody(blend(shaped.vertices, self.skinning_weights, transforms), joints, transforms)

    def rig(self, shaped: ShapedBody) -> Rig:
        """Return the whole skeleton of a body; raises WeightsError when rig.safetensors cannot be read."""
        heads, weights = self._rig_tensors
        placed = torch.einsum("c,cbk->bk", self._corner_weights(shaped.betas), heads)
        # Joints are means of the same heads: the pelvis tells where the body has been moved to.
        return Rig(placed - placed[0] + shaped.joints[0], weights, shaped, EMBEDDED)

    @cached_property
    def _rig_tensors(self) -> tuple[Tensor, Tensor]:
        """Heads (C, 66, 3) of the bones at the anchors' combinations, and weights (V, 66)."""
        path = self._folder / "rig.safetensors"
        try:
            tensors = load_file(path, device=str(self.device))
        except (OSError, SafetensorError) as error:
            raise WeightsError(f"rig file {path}: cannot be read ({error}); reinstall avatar-foundry") from error
        strongest = tensors["weights"].float()
        weights = strongest.new_zeros(len(strongest), len(BONE_NAMES))
        weights.scatter_(1, tensors["bones"].long(), strongest)
        return tensors["heads"], weights / weights.sum(1, keepdim=True)

    def bind_pose(self, shaped: ShapedBody) -> Tensor:
        """Return the (22, 3, 3) local rotations from the T-pose that give the bind pose."""
        return bind_pose_rotations(shaped.to_tpose)

    def sex(self, shaped: ShapedBody) -> str | None:
        """Return "man" or "woman"; None for a body between them."""
        gender = float(shaped.betas[self.shape_labels.index("gender")])
        return "woman" if gender > 0.65 else ("man" if gender < 0.35 else None)

    def plausible_shapes(self, count: int, seed: int) -> Tensor:
        """Return shape vectors (count, 6) of plausible people; raises ValueError when `count` is too small."""
        from avatar_core.bodies.phenotypes import sample_phenotypes  # its scipy.stats is slow to import

        return torch.from_numpy(sample_phenotypes(self.shape_labels, count, seed)).float()

    def _corner_weights(self, betas: Tensor) -> Tensor:
        """Multilinear weights (C,) of the anchor combinations, in the order of itertools.product."""
        weights = betas.new_ones(1)
        for value, anchors in zip(betas, self._anchors.values()):
            value = value.clamp(anchors[0], anchors[-1])
            upper = int(torch.searchsorted(anchors, value.detach(), right=True).clamp(1, len(anchors) - 1))
            fraction = (value - anchors[upper - 1]) / (anchors[upper] - anchors[upper - 1])
            ends = torch.tensor([upper - 1, upper], device=betas.device)
            one = torch.nn.functional.one_hot(ends, len(anchors)).to(betas)
            weights = torch.outer(weights, one[0] * (1 - fraction) + one[1] * fraction).flatten()
        return weights

    def _to_tpose(self, joints: Tensor, hands: Tensor) -> Tensor:
        """World rotations (22, 3, 3) that turn the bind pose's limbs onto the T-pose's."""
        rotations = list(torch.eye(3, device=joints.device).repeat(22, 1, 1))

        def turn(joint: str, child: str, direction: Tensor, parent: Tensor) -> Tensor:
            bone = joints[JOINT_INDEX[child]] - joints[JOINT_INDEX[joint]]
            bone = parent @ (bone / bone.norm())
            rotation = rotation_between(bone, direction / direction.norm()) @ parent
            rotations[JOINT_INDEX[joint]] = rotation
            return rotation

        identity = torch.eye(3, device=joints.device)
        limbs = torch.tensor([_UPPER_ARM, _FOREARM, _THIGH, _SHIN, _HAND], device=joints.device)
        for index, (side, sign) in enumerate(_SIDES.items()):
            upper_arm, forearm, thigh, shin, hand = limbs * limbs.new_tensor([sign, 1.0, 1.0])
            upper_leg = turn(f"{side}_hip", f"{side}_knee", thigh, identity)
            turn(f"{side}_knee", f"{side}_ankle", shin, upper_leg)
            upper = turn(f"{side}_shoulder", f"{side}_elbow", upper_arm, identity)
            turn(f"{side}_elbow", f"{side}_wrist", forearm, upper)
            rotations[JOINT_INDEX[f"{side}_wrist"]] = self._palm_down(side, joints, hands[index], hand)
        return torch.stack(rotations)

    def _palm_down(self, side: str, joints: Tensor, hand: Tensor, along: Tensor) -> Tensor:
        """World rotation (3, 3) that points the fingers along `along` (3,) with the thumb's side to the front.

        hand: (3, 3) bind positions of the middle, index and little fingers' first joints.
        """
        fingers = hand[0] - joints[JOINT_INDEX[f"{side}_wrist"]]
        fingers = fingers / fingers.norm()
        across = hand[1] - hand[2]
        across = across - (across @ fingers) * fingers
        across = across / across.norm()
        bind = torch.stack([fingers, across, torch.linalg.cross(fingers, across)], dim=1)
        front = torch.tensor([0.0, 0.0, 1.0], device=joints.device)
        return torch.stack([along, front, torch.linalg.cross(along, front)], dim=1) @ bind.mT
