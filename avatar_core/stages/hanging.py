"""The volumes of skirts and robes on a given body: cones from the waist to the hem that hold hips and legs."""

from __future__ import annotations

import torch
from torch import Tensor

from avatar_core.bodies.base import BodyModel, ShapedBody
from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.fields.garment_volume import PARAMETERS
from avatar_core.stages.wearables import Hang

SLICE = 0.03
"""Half the height of the slices of the body that are measured, metres."""
EASE = 0.012
"""Distance of the cloth from what it holds, metres."""
OVERHANG = 0.07
"""How far a hem may stand out behind or before the whole body, metres: inside the field's box."""
ROUNDNESS = 0.7
"""Depth of a hem as a part of its width, at least."""
LOWER_BODY = ("belly", "hips", "thigh", "shin", "foot")
"""Regions, or ends of their names, that a skirt has to hold."""


def hanging_volumes(body: BodyModel, shaped: ShapedBody, hangs: list[tuple[int, Hang]]) -> Tensor:
    """Return the cones (M, 11) of what hangs about the legs of a body in its bind pose.

    hangs: the number of each one's region, and its cut.
    """
    if not hangs:
        return torch.zeros(0, len(PARAMETERS))
    held = [index for index, name in enumerate(body.region_names) if name.endswith(LOWER_BODY)]
    points = shaped.vertices[torch.isin(body.regions, torch.tensor(held, device=body.regions.device))].cpu()
    z = shaped.vertices[:, 2].cpu()
    depth = z.amin(), z.amax()
    cones = [
        torch.cat([_cone(points, shaped.joints.cpu(), depth, hang), torch.tensor([float(region)])])
        for region, hang in hangs
    ]
    return torch.stack(cones)


def _cone(points: Tensor, joints: Tensor, depth: tuple[Tensor, Tensor], hang: Hang) -> Tensor:
    hip, knee, ankle = (float(joints[JOINT_INDEX[f"left_{name}"], 1]) for name in ("hip", "knee", "ankle"))
    neck = float(joints[JOINT_INDEX["neck"], 1])
    high = hip + hang.waist * (neck - hip)
    low = hip - hang.hem * (hip - knee) if hang.hem < 1 else knee - (hang.hem - 1) * (knee - ankle)
    top, bottom = _ellipse(points, high), _ellipse(points, low)
    hips = _ellipse(points, hip - 0.1 * (hip - knee))
    # Wide enough for the hips where the cone passes them, then flared by the legs' own spread.
    bottom[2:] = torch.maximum(bottom[2:] * hang.flare, hips[2:] * 1.05)
    bottom[3] = torch.maximum(bottom[3], ROUNDNESS * bottom[2])
    back, front = depth
    bottom[3] = torch.minimum(bottom[3], torch.minimum(bottom[1] - back, front - bottom[1]) + OVERHANG)
    return torch.cat([torch.tensor([low, high]), bottom, top])


def _ellipse(points: Tensor, height: float) -> Tensor:
    """Centre (x, z) and half-widths (a, b), metres, that hold a slice of the points at a height."""
    near = points[(points[:, 1] - height).abs() < SLICE]
    near = near if len(near) else points
    low, high = near.amin(0), near.amax(0)
    centre, half = (low + high) / 2, (high - low) / 2 + EASE
    return torch.stack([centre[0], centre[2], half[0], half[2]])
