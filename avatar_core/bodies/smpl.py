"""SMPL, SMPL-H and SMPL-X as body models: a user's download behind the interface that all stages speak to."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avatar_core.bodies.anatomy import REGION_NAMES
from avatar_core.bodies.armatures import SMPL_ARMATURES
from avatar_core.bodies.base import PosedBody, ShapedBody
from avatar_core.bodies.brought import ModelRecord
from avatar_core.bodies.rig import Rig
from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.bodies.skeleton import JOINT_INDEX, NUM_JOINTS, global_rotations
from avatar_core.bodies.skinning import bind_pose_rotations, joint_transforms
from avatar_core.bodies.smpl_format import SmplArrays
from avatar_core.bodies.smpl_forward import SmplPosed, SmplTensors, rest, smpl_forward
from avatar_core.bodies.smpl_kinds import KINDS
from avatar_core.bodies.smpl_parts import SmplParts
from avatar_core.errors import BodyError

BIND_DEGREES: dict[str, tuple[float, float, float]] = {
    "hip": (-5.2, -0.5, -0.4), "knee": (2.6, -1.0, 7.9), "ankle": (2.6, 1.1, -7.5), "shoulder": (-5.0, -5.9, -45.4),
    "elbow": (1.3, -36.0, -3.4), "wrist": (-0.1, -5.6, -1.3),
}  # fmt: skip
"""Degrees by which the left joints turn from SMPL's T-pose to the bind pose, which is the embedded body's: axis-angle.

Views are drawn, clothes cut and shapes recognised on bodies that stand so. The right joints mirror them.
"""
EXTREMES = (-3.0, -1.5, 1.5, 3.0)
"""Values of each shape component, and of the first two together, that are in every sample."""
SPREAD = (1.6, 1.6)
"""Standard deviation of the first components in a sample, stature and bulk; the others' is one, as of SMPL's people."""
LARGEST = 3.5


class SmplBody:
    """One model; shapes are its own first components, in the standard deviations of the people it was made from."""

    region_names = REGION_NAMES

    def __init__(self, record: ModelRecord, arrays: SmplArrays, device: torch.device | str = "cpu") -> None:
        """Take a model that `brought.load_model` returned."""
        self.name, self.digest, self.licence = record.name, record.digest, record.licence
        self._gender = record.gender
        self._kind = KINDS[record.kind]
        self._model = model = SmplTensors.of(arrays, device)
        self.shape_labels = tuple(f"beta{number}" for number in range(len(model.shape_directions)))
        self.neutral_shape = torch.zeros(len(self.shape_labels), device=device)
        self.faces = torch.from_numpy(arrays.faces).to(device, torch.int64)
        self.skinning_weights = model.weights.new_zeros(len(model.template), NUM_JOINTS)
        self.skinning_weights.index_add_(1, torch.tensor(self._kind.body_joints, device=device), model.weights)
        self._bind = axis_angle_to_matrix(_bind_pose().to(device))
        self._to_tpose = global_rotations(self._bind).mT
        posed, ground = self._grounded(self.neutral_shape)
        self.template = posed.vertices[0] - ground
        parts = SmplParts.of(
            self._kind,
            self.template.cpu().numpy(),
            (posed.joints[0] - ground).cpu().numpy(),
            model.weights.cpu().numpy(),
        )
        self.regions = torch.from_numpy(parts.regions).to(device)
        self.charted = torch.from_numpy(parts.charted).to(device)

    def shape(self, betas: Tensor) -> ShapedBody:
        """Build the bind-pose body of shape components `betas` (S,); raises BodyError when not valid."""
        if betas.shape != self.neutral_shape.shape:
            raise BodyError(
                f"shape vector has shape {tuple(betas.shape)}; {self.name} has {len(self.shape_labels)} components"
            )
        if not bool(torch.isfinite(betas).all()):
            raise BodyError(f"shape vector has values that are not finite: {betas.tolist()}")
        posed, ground = self._grounded(betas)
        return ShapedBody(betas, posed.vertices[0] - ground, posed.joints[0, :NUM_JOINTS] - ground, self._to_tpose)

    def pose(self, shaped: ShapedBody, rotations: Tensor, translation: Tensor | None = None) -> PosedBody:
        """Pose a body by SMPL's own function, with its corrections by pose.

        Args:
            shaped: result of `shape`.
            rotations: (B, 22, 3, 3) local rotations relative to the T-pose.
            translation: (B, 3) pelvis positions in metres; None keeps the bind pelvis.
        """
        if rotations.shape[1:] != (NUM_JOINTS, 3, 3):
            raise BodyError(f"rotations have shape {tuple(rotations.shape)}; expected (B, 22, 3, 3)")
        betas = shaped.betas.expand(len(rotations), -1)
        pelvis = shaped.joints[:1] if translation is None else translation
        resting = rest(self._model, shaped.betas[None])[1][:, 0]
        posed = smpl_forward(self._model, betas, rotations, (pelvis - resting).expand(len(rotations), 3))
        transforms = joint_transforms(shaped.joints, shaped.to_tpose, rotations, translation)
        return PosedBody(posed.vertices, posed.joints[:, :NUM_JOINTS], transforms)

    def rig(self, shaped: ShapedBody) -> Rig:
        """Return the skeleton of a body: one bone for each joint of the model."""
        posed, ground = self._grounded(shaped.betas)
        return Rig(posed.joints[0] - ground, self._model.weights, shaped, SMPL_ARMATURES[self._kind.name])

    def bind_pose(self, shaped: ShapedBody) -> Tensor:
        """Return the (22, 3, 3) local rotations from the T-pose that give the bind pose."""
        return bind_pose_rotations(shaped.to_tpose)

    def sex(self, shaped: ShapedBody) -> str | None:
        """Return "man" or "woman", as the model's gender says; None for a neutral one."""
        return {"male": "man", "female": "woman"}.get(self._gender)

    def plausible_shapes(self, count: int, seed: int) -> Tensor:
        """Return shape vectors (count, S): the neutral one, the ends of each component, then a scrambled Halton
        sequence.

        Raises ValueError when `count` is too small.
        """
        from scipy.stats import norm, qmc  # slow to import, and seldom needed

        size = len(self.shape_labels)
        ends = np.concatenate([np.zeros((1, size)), *(value * np.eye(size) for value in EXTREMES)])
        both = np.array([[first, second] + [0.0] * (size - 2) for first in EXTREMES for second in EXTREMES])
        fixed = np.concatenate([ends, both])
        if count <= len(fixed):
            raise ValueError(f"{count} entries cannot hold the {len(fixed)} extremes; ask for more")
        unit = qmc.Halton(size, scramble=True, rng=np.random.default_rng(seed)).random(count - len(fixed))
        spread = np.ones(size)
        spread[: len(SPREAD)] = SPREAD
        drawn = np.clip(norm.ppf(np.clip(unit, 1e-4, 1 - 1e-4)) * spread, -LARGEST, LARGEST)
        return torch.from_numpy(np.concatenate([fixed, drawn])).float()

    def _grounded(self, betas: Tensor) -> tuple[SmplPosed, Tensor]:
        """The bind pose of a shape, and the point (3,) of the ground under its pelvis."""
        posed = smpl_forward(self._model, betas[None], self._bind[None], betas.new_zeros(1, 3))
        pelvis = posed.joints[0, 0]
        return posed, torch.stack([pelvis[0], posed.vertices[0, :, 1].min(), pelvis[2]])


def _bind_pose() -> Tensor:
    """Axis-angle rotations (22, 3) from the T-pose to the bind pose."""
    turns = torch.zeros(NUM_JOINTS, 3)
    for side, mirror in (("left", (1.0, 1.0, 1.0)), ("right", (1.0, -1.0, -1.0))):
        for joint, degrees in BIND_DEGREES.items():
            turns[JOINT_INDEX[f"{side}_{joint}"]] = torch.tensor(degrees) * torch.tensor(mirror)
    return turns.deg2rad()
