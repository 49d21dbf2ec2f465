"""How Anny's bones map onto SMPL's 22 joints, and which part of the body each vertex belongs to."""

from __future__ import annotations

import numpy as np

from avatar_core.bodies.skeleton import JOINT_INDEX

REGION_NAMES: tuple[str, ...] = (
    "face", "scalp", "ears", "eyes", "mouth", "neck", "chest", "belly", "hips",
    "left_upper_arm", "right_upper_arm", "left_forearm", "right_forearm", "left_hand", "right_hand",
    "left_thigh", "right_thigh", "left_shin", "right_shin", "left_foot", "right_foot",
)  # fmt: skip

# Each joint turns about the head of its Anny bone (the mean of the heads, for the toes).
JOINT_BONES: dict[str, tuple[str, ...]] = {
    "pelvis": ("root",),
    "spine1": ("spine04",),
    "spine2": ("spine02",),
    "spine3": ("spine01",),
    "neck": ("neck01",),
    "head": ("head",),
} | {
    f"{side}_{joint}": tuple(f"{bone}.{side[0].upper()}" for bone in bones)
    for side in ("left", "right")
    for joint, bones in {
        "hip": ("upperleg01",),
        "knee": ("lowerleg01",),
        "ankle": ("foot",),
        "foot": tuple(f"toe{toe}-1" for toe in range(1, 6)),
        "collar": ("clavicle",),
        "shoulder": ("upperarm01",),
        "elbow": ("lowerarm01",),
        "wrist": ("wrist",),
    }.items()
}


def bone_joint_map(bone_labels: list[str], bone_parents: list[int]) -> list[int]:
    """Return for each bone the joint that carries it: its own, or that of its nearest mapped ancestor."""
    own = {bone: JOINT_INDEX[joint] for joint, bones in JOINT_BONES.items() for bone in bones}
    joints: list[int] = []
    for label, parent in zip(bone_labels, bone_parents):
        joints.append(own[label] if label in own else joints[int(parent)])
    return joints


def _region_of_bone(label: str) -> str:
    stem, _, side = label.partition(".")
    side = {"L": "left_", "R": "right_", "": ""}[side]
    if stem in ("root", "pelvis", "spine05"):
        return "hips"
    if stem in ("spine04", "spine03"):
        return "belly"
    if stem.startswith("spine") or stem in ("clavicle", "shoulder01"):
        return "chest"
    if stem.startswith("neck"):
        return "neck"
    if stem == "eye":
        return "eyes"
    if stem == "head":
        return "face"
    for prefix, region in (
        ("upperarm", "upper_arm"), ("lowerarm", "forearm"), ("wrist", "hand"), ("finger", "hand"),
        ("metacarpal", "hand"), ("upperleg", "thigh"), ("lowerleg", "shin"), ("foot", "foot"), ("toe", "foot"),
    ):  # fmt: skip
        if stem.startswith(prefix):
            return side + region
    raise ValueError(f"bone {label!r} belongs to no region")


def label_regions(template: np.ndarray, faces: np.ndarray, bone_weights: np.ndarray, model) -> np.ndarray:
    """Label each vertex with an index into REGION_NAMES.

    Args:
        template: (V, 3) neutral vertices, metres, Y up, +Z forward.
        faces: (F, 3) triangles.
        bone_weights: (V, bones) skinning weights over Anny's bones.
        model: the `anny.Anny` model, for its bone labels and its segmentation of eyes and mouth.
    Returns:
        (V,) uint8.
    """
    from anny.face_segmentation import get_face_segmentation_mask

    by_region = np.zeros((len(template), len(REGION_NAMES)))
    for bone, label in enumerate(model.bone_labels):
        by_region[:, REGION_NAMES.index(_region_of_bone(label))] += bone_weights[:, bone]
    regions = by_region.argmax(1).astype(np.uint8)
    for name, labels in {
        "eyes": ("eye_front.L", "eye_front.R", "eye_back.L", "eye_back.R"),
        "mouth": ("mouth_cavity", "tongue", "eye_cavity.L", "eye_cavity.R"),
    }.items():
        mask = get_face_segmentation_mask(model, labels).cpu().numpy()
        inner = np.zeros(len(template), dtype=int)
        np.add.at(inner, faces.reshape(-1), np.repeat(mask, 3))
        degree = np.bincount(faces.reshape(-1), minlength=len(template))
        regions[(inner == degree) & (degree > 0)] = REGION_NAMES.index(name)
    head = regions == REGION_NAMES.index("face")
    eyes = template[regions == REGION_NAMES.index("eyes")].mean(0)
    regions[head & on_scalp(template, eyes)] = REGION_NAMES.index("scalp")
    regions[head & on_ear(template, eyes)] = REGION_NAMES.index("ears")
    return regions


def on_scalp(points: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Where hair grows: above the hairline in front, and behind the ears down to the nape."""
    above, behind = points[:, 1] - eyes[1], eyes[2] - points[:, 2]
    front = above > 0.075 - 0.25 * np.clip(behind, 0, None)
    back = (behind > 0.095) & (above > -0.055)
    temples = (behind > 0.055) & (above > 0.025)
    return front | back | temples


def on_ear(points: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """The ears: the parts of the head farthest to the sides, at eye height."""
    above, behind, aside = points[:, 1] - eyes[1], eyes[2] - points[:, 2], np.abs(points[:, 0])
    return (aside > 0.074) & (above > -0.045) & (above < 0.03) & (behind > 0.04) & (behind < 0.125)
