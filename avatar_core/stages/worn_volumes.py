"""The volumes of what stands away from a given body: cones about hips and legs, cones and ellipsoids about the head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avatar_core.bodies.base import BodyModel, ShapedBody
from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.errors import BodyError
from avatar_core.fields.garment_volume import BELL, CONE, ELLIPSOID, PARAMETERS
from avatar_core.stages.garment_shapes import Cone, Ellipsoid, Hang, Headpiece, Ring, Shape

SLICE = 0.03
"""Half the height of the slices of the body that are measured, metres."""
EASE = 0.012
"""Distance of the cloth from what it holds, metres."""
OVERHANG = 0.19
"""How far a hem may stand out behind or before the whole body, metres: inside the field's box."""
ROUNDNESS = 0.7
"""Depth of a hem as a part of its width, at least."""
LOWER_BODY = ("belly", "hips", "thigh", "shin", "foot")
"""Regions, or ends of their names, that a skirt has to hold."""
SCALP_WIDE, SCALP_DEEP, SCALP_ABOVE = 0.076, 0.090, 0.116
"""Half-width, half-depth and height over the eyes of the neutral body's scalp, metres."""


def worn_volumes(body: BodyModel, shaped: ShapedBody, shapes: list[tuple[int, Shape]]) -> Tensor:
    """Return the volumes (M, 12) of what stands away from a body in its bind pose; see `garment_volume`.

    shapes: the number of each one's region, and its shape.
    Raises BodyError when something is worn on the head of a body that labels no scalp or no eyes.
    """
    rows: list[Tensor] = []
    for region, shape in shapes:
        parts = [_skirt(body, shaped, shape)] if isinstance(shape, Hang) else _headpiece(body, shaped, shape)
        rows += [torch.cat([part, torch.tensor([float(region)])]) for part in parts]
    return torch.stack(rows) if rows else torch.zeros(0, len(PARAMETERS))


def _skirt(body: BodyModel, shaped: ShapedBody, hang: Hang) -> Tensor:
    held = [index for index, name in enumerate(body.region_names) if name.endswith(LOWER_BODY)]
    points = shaped.vertices[torch.isin(body.regions, torch.tensor(held, device=body.regions.device))].cpu()
    joints = shaped.joints.cpu()
    hip, knee, ankle = (float(joints[JOINT_INDEX[f"left_{name}"], 1]) for name in ("hip", "knee", "ankle"))
    neck = float(joints[JOINT_INDEX["neck"], 1])
    high = hip + hang.waist * (neck - hip)
    low = hip - hang.hem * (hip - knee) if hang.hem < 1 else knee - (hang.hem - 1) * (knee - ankle)
    top, bottom = _ellipse(points, high), _ellipse(points, low)
    hips = _ellipse(points, hip - 0.1 * (hip - knee))
    # Wide enough for the hips where the cone passes them, then flared by the legs' own spread.
    bottom[2:] = torch.maximum(bottom[2:] * hang.flare, hips[2:] * 1.05)
    bottom[3] = torch.maximum(bottom[3], ROUNDNESS * bottom[2])
    back, front = shaped.vertices[:, 2].amin().cpu(), shaped.vertices[:, 2].amax().cpu()
    bottom[3] = torch.minimum(bottom[3], torch.minimum(bottom[1] - back, front - bottom[1]) + OVERHANG)
    return torch.cat([torch.tensor([low, high]), bottom, top, torch.tensor([BELL])])


def _ellipse(points: Tensor, height: float) -> Tensor:
    """Centre (x, z) and half-widths (a, b), metres, that hold a slice of the points at a height."""
    near = points[(points[:, 1] - height).abs() < SLICE]
    near = near if len(near) else points
    low, high = near.amin(0), near.amax(0)
    centre, half = (low + high) / 2, (high - low) / 2 + EASE
    return torch.stack([centre[0], centre[2], half[0], half[2]])


@dataclass(frozen=True)
class _Head:
    """Where a head is, and its sizes as parts of the neutral one's."""

    x: float
    eyes: float
    z: float
    wide: float
    tall: float
    deep: float

    @classmethod
    def of(cls, body: BodyModel, shaped: ShapedBody) -> _Head:
        scalp, eyes = (_region(body, shaped, name) for name in ("scalp", "eyes"))
        low, high = scalp.amin(0), scalp.amax(0)
        x, _, z = ((low + high) / 2).tolist()
        wide, _, deep = ((high - low) / 2).tolist()
        height = float(eyes[:, 1].mean())
        tall = (float(high[1]) - height) / SCALP_ABOVE
        return cls(x, height, z, wide / SCALP_WIDE, tall, deep / SCALP_DEEP)

    def height(self, above: float) -> float:
        return self.eyes + above * self.tall

    def ellipse(self, ring: Ring) -> list[float]:
        """Centre (x, z) and half-widths (a, b) of a ring, metres."""
        return [self.x, self.z + ring.forward * self.deep, ring.wide * self.wide, ring.deep * self.deep]

    def volume(self, solid: Cone | Ellipsoid) -> list[float]:
        """A volume's numbers without its region."""
        if isinstance(solid, Cone):
            ends = [self.height(solid.low.above), self.height(solid.high.above)]
            return [*ends, *self.ellipse(solid.low), *self.ellipse(solid.high), CONE]
        ends = [self.height(solid.middle.above + side * solid.tall) for side in (-1, 1)]
        middle = self.ellipse(solid.middle)
        return [*ends, *middle, *middle, ELLIPSOID]


def _headpiece(body: BodyModel, shaped: ShapedBody, piece: Headpiece) -> list[Tensor]:
    head = _Head.of(body, shaped)
    return [torch.tensor(head.volume(solid)) for solid in piece.solids]


def _region(body: BodyModel, shaped: ShapedBody, name: str) -> Tensor:
    if name not in body.region_names:
        raise BodyError(f"the body labels no {name}: hats and big hair cannot be placed on it; wear none")
    return shaped.vertices[body.regions == body.region_names.index(name)].cpu()
