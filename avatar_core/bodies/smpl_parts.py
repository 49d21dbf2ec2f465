"""Which part of an SMPL body each vertex belongs to, and where that part is on the embedded body.

Clothes, hair and faces are cut in the terms of the embedded body's neutral shape (`surface_chart`). An SMPL head is
laid over that head by its eyes, crown and nose, and the rest by the height of the trunk.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar_core.bodies.anatomy import REGION_NAMES, on_ear, on_scalp
from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.bodies.smpl_kinds import SmplKind

EYES = np.array([0.0, 1.7225, 0.1171])
"""Middle between the embedded body's eyes, metres."""
CROWN, NOSE_TIP = 1.8379, 0.1621
"""Height of its crown, and depth of the tip of its nose."""
EYE_ASIDE = 0.032
EYE_OVER_NOSE = 0.252
"""Height of the eyes over the tip of the nose, as a part of the crown's over it."""
PELVIS, NECK = 0.986, 1.572
"""Heights of its joints."""
EYE_VERTICES: dict[int, tuple[int, int]] = {6890: (2800, 6260)}
"""Vertices in the middle of the left and right eye, by the number of vertices: of SMPL's and SMPL-H's mesh."""
EYES_ALIKE = 0.01
"""How far one eye may be from where the other is mirrored, metres."""
EYE_OPENING = (0.014, 0.010)
"""Half-width and half-height of what is labelled as an eye, metres."""
NEAREST_TO_EYE = 3
"""Vertices of each eye that are labelled at least."""

_REGIONS = {
    "pelvis": "hips", "spine1": "belly", "spine2": "chest", "spine3": "chest", "neck": "neck", "head": "face",
    "jaw": "face",
}  # fmt: skip
_SIDED = {
    "collar": "chest", "hip": "thigh", "knee": "shin", "ankle": "foot", "foot": "foot", "shoulder": "upper_arm",
    "elbow": "forearm", "eye": "eyes",
}  # fmt: skip
_HEAD = ("head", "jaw", "left_eye", "right_eye")


@dataclass(frozen=True, eq=False)
class SmplParts:
    """The parts of a neutral body of V vertices."""

    regions: NDArray[np.int64]
    """(V,) indices into REGION_NAMES."""
    charted: NDArray[np.float32]
    """(V, 3) where the same part of the embedded body's neutral bind pose is, metres."""

    @classmethod
    def of(
        cls, kind: SmplKind, vertices: NDArray[np.floating], joints: NDArray[np.floating], weights: NDArray[np.floating]
    ) -> SmplParts:
        """Find the parts of a model.

        Args:
            kind: of the model.
            vertices: (V, 3) of the neutral body in the bind pose, metres.
            joints: (J, 3) in the same pose.
            weights: (V, J) skinning weights.
        """
        shares = np.zeros((len(vertices), len(REGION_NAMES)))
        for joint, name in enumerate(kind.joints):
            shares[:, REGION_NAMES.index(_region(name))] += weights[:, joint]
        regions = shares.argmax(1)
        head = weights[:, [joint for joint, name in enumerate(kind.joints) if name in _HEAD]].sum(1)
        charted = _charted(vertices, joints, head, _eyes(kind, vertices, joints, head))
        face = regions == REGION_NAMES.index("face")
        regions[face & on_scalp(charted, EYES)] = REGION_NAMES.index("scalp")
        regions[face & on_ear(charted, EYES)] = REGION_NAMES.index("ears")
        regions[_at_eyes(charted, face)] = REGION_NAMES.index("eyes")
        return cls(regions, charted.astype(np.float32))


def _region(joint: str) -> str:
    if joint in _REGIONS:
        return _REGIONS[joint]
    side, _, part = joint.partition("_")
    found = _SIDED.get(part, "hand")
    return found if found in REGION_NAMES else f"{side}_{found}"


def _eyes(
    kind: SmplKind, vertices: NDArray[np.floating], joints: NDArray[np.floating], head: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return how far aside an eye is and how high (2,), metres: by joints, by known vertices, or by proportion."""
    if "left_eye" in kind.joints:
        return joints[kind.joints.index("left_eye"), :2]
    if len(vertices) in EYE_VERTICES:
        numbers = list(EYE_VERTICES[len(vertices)])
        left, right = vertices[numbers]
        if head[numbers].min() > 0.5 and np.abs(left * [-1, 1, 1] - right).max() < EYES_ALIKE:  # no other mesh's
            return np.array([(left[0] - right[0]) / 2, (left[1] + right[1]) / 2])
    own = vertices[head > 0.5]
    nose, crown = own[own[:, 2].argmax(), 1], own[:, 1].max()
    return np.array([EYE_ASIDE * (crown - nose) / 0.155, nose + EYE_OVER_NOSE * (crown - nose)])


def _charted(
    vertices: NDArray[np.floating], joints: NDArray[np.floating], head: NDArray[np.floating], eyes: NDArray[np.floating]
) -> NDArray[np.floating]:
    own = vertices[head > 0.5]
    scale = (CROWN - EYES[1]) / (own[:, 1].max() - eyes[1])
    across = np.array([EYE_ASIDE / eyes[0], scale, scale])
    over_head = (vertices - [0.0, eyes[1], own[:, 2].max()]) * across + [0.0, EYES[1], NOSE_TIP]
    pelvis, neck = joints[JOINT_INDEX["pelvis"]], joints[JOINT_INDEX["neck"]]
    over_trunk = (vertices - pelvis) * (NECK - PELVIS) / (neck[1] - pelvis[1]) + [0.0, PELVIS, 0.0]
    return head[:, None] * over_head + (1 - head[:, None]) * over_trunk


def _at_eyes(charted: NDArray[np.floating], face: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which vertices (V,) of the face are the eyes."""
    found = np.zeros(len(charted), bool)
    wide, high = EYE_OPENING
    for side in (-1, 1):
        across = (charted[:, 0] - side * EYE_ASIDE) / wide
        away = np.hypot(across, (charted[:, 1] - EYES[1]) / high)
        away[~face | (charted[:, 2] < EYES[2] - 0.03)] = np.inf
        found |= away < 1
        found[np.argsort(away, kind="stable")[:NEAREST_TO_EYE]] = True
    return found & face
