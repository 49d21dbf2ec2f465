"""How what stands away from the body moves with it: hats and hair with the head, skirts with both legs and the hips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatar_core.bodies.rig import Rig
from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.fields.garment_volume import volume_distance
from avatar_core.rigging.skinning import LoosePart
from avatar_core.stages.garment_shapes import Hang
from avatar_core.stages.wearables import INDEX, WEARABLES

NEAR, FAR = 0.02, 0.05
"""Distances from a volume's side up to which a point is fully of it, and from which it is not, metres."""
ALONE = 0.28
"""Distance from the middle at which a skirt follows one leg alone, metres, where it is as wide."""
UNDER = 0.45
"""Part of the way from the hem to the hips over which legs come to go with the skirt that hides them: so they never
come through it."""
SWING = 0.8
"""Part of a leg's turn that a skirt takes at the height of the knee and below; the hips hold the rest."""
SHIN = 0.6
"""Part of that which the shin has at the ankle, the thigh having the rest."""


def loose_parts(
    rig: Rig, volumes: Tensor, regions: Sequence[str], vertices: NDArray[np.floating]
) -> tuple[LoosePart, ...]:
    """Return how the vertices of a mesh follow what each volume is.

    Args:
        rig: of the body.
        volumes: (M, 12) of the field, see `garment_volume`.
        regions: names of the wearables, in the order of the field's regions.
        vertices: (V, 3) of the mesh, bind pose, metres.
    """
    points = torch.from_numpy(np.asarray(vertices, np.float32))
    parts = []
    for volume in volumes.cpu():
        away = volume_distance(points, volume[None]).squeeze(1).numpy()
        share = np.clip((FAR - np.abs(away)) / (FAR - NEAR), 0.0, 1.0)
        if isinstance(WEARABLES[INDEX[regions[int(volume[-1])]]].shape, Hang):
            hidden = np.clip((FAR - away) / (FAR - NEAR), 0.0, 1.0) * _out_of_sight(
                rig, volume.numpy(), points[:, 1].numpy()
            )
            parts.append(LoosePart(share, hidden, _skirt_weights(rig, volume.numpy(), points.numpy())))
        else:
            parts.append(LoosePart(share, np.zeros(len(points)), _only(rig, "head", len(points))))
    return tuple(parts)


def _only(rig: Rig, bone: str, count: int) -> NDArray[np.float64]:
    weights = np.zeros((count, len(rig.names)))
    weights[:, rig.armature.index[bone]] = 1.0
    return weights


def _out_of_sight(rig: Rig, cone: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.floating]:
    """How little (V,) heights under a skirt are seen: nothing at its hem, nor where the waist begins."""
    low, high = cone[:2]
    hip = float(rig.heads[JOINT_INDEX["left_hip"], 1])
    return np.clip((y - low) / (UNDER * (hip - low)), 0.0, 1.0) * np.clip((high - y) / (high - hip), 0.0, 1.0)


def _skirt_weights(rig: Rig, cone: NDArray[np.floating], points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(V, B): the hips' alone at the waist; farther down more and more the legs', the left one's to the left."""
    low, high, x_low, _, a_low, _, x_high, _, a_high, *_ = cone
    hip, knee, ankle = (float(rig.heads[JOINT_INDEX[f"left_{name}"], 1]) for name in ("hip", "knee", "ankle"))
    x, y = points[:, 0], points[:, 1]
    up = np.clip((y - low) / (high - low), 0.0, 1.0)
    half = np.minimum(a_low + up * (a_high - a_low), ALONE)
    across = np.clip((x - (x_low + up * (x_high - x_low))) / half, -1.0, 1.0)
    left = 0.5 + 0.5 * np.sin(0.5 * np.pi * across)
    swing = SWING * np.clip((hip - y) / (hip - knee), 0.0, 1.0)
    shin = SHIN * np.clip((knee - y) / (knee - ankle), 0.0, 1.0)
    weights = _only(rig, "pelvis", len(points)) * (1.0 - swing)[:, None]
    for side, share in (("left", left), ("right", 1.0 - left)):
        # None in the middle, where both shins would make more influences than a vertex can have.
        bent = shin * np.clip(2.0 * share - 1.0, 0.0, 1.0)
        weights[:, rig.armature.index[f"{side}_hip"]] = share * swing * (1.0 - bent)
        weights[:, rig.armature.index[f"{side}_knee"]] = share * swing * bent
    return weights
