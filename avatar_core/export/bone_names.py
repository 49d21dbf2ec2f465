"""What the bones of an avatar are called in files, and which bones of a VRM humanoid they are.

The names are Mixamo's without its prefix (`mixamorig:`), which are also those of MotionBuilder and HumanIK: Unity,
Unreal, Blender's retargeting add-ons and this project's own BVH reader know them without being told. A bone that takes
a share of a twist between two joints is called after the first of them: LeftArm, LeftArmTwist, LeftForeArm. SMPL's
joint of all fingers of a hand, for which Mixamo has none, is called LeftFingers.
"""

from __future__ import annotations

from avatar_core.bodies.armatures import ARMATURES
from avatar_core.bodies.rig import FINGERS, SIDES

_TRUNK = {
    "pelvis": "Hips", "waist": "HipsTwist", "spine1": "Spine", "abdomen": "SpineTwist", "spine2": "Spine1",
    "spine3": "Spine2", "neck": "Neck", "neck2": "NeckTwist", "neck3": "NeckTwist1", "head": "Head",
    "jaw": "Jaw",
}  # fmt: skip
_SIDED = {
    "hip": "UpLeg", "thigh_twist": "UpLegTwist", "knee": "Leg", "shin_twist": "LegTwist", "ankle": "Foot",
    "foot": "ToeBase", "collar": "Shoulder", "shoulder": "Arm", "upper_arm_twist": "ArmTwist", "elbow": "ForeArm",
    "forearm_twist": "ForeArmTwist", "wrist": "Hand", "hand": "Fingers", "eye": "Eye",
}  # fmt: skip
_FINGERS = {"thumb": "Thumb", "index": "Index", "middle": "Middle", "ring": "Ring", "little": "Pinky"}
_VRM_TRUNK = {
    "hips": "pelvis", "spine": "spine1", "chest": "spine2", "upperChest": "spine3", "neck": "neck", "head": "head",
    "jaw": "jaw",
}  # fmt: skip
_VRM_SIDED = {
    "UpperLeg": "hip", "LowerLeg": "knee", "Foot": "ankle", "Toes": "foot", "Shoulder": "collar",
    "UpperArm": "shoulder", "LowerArm": "elbow", "Hand": "wrist", "Eye": "eye",
}  # fmt: skip
_VRM_PHALANGES = {"Thumb": ("Metacarpal", "Proximal", "Distal")}
_PHALANGES = ("Proximal", "Intermediate", "Distal")


def _file_name(bone: str) -> str:
    if bone in _TRUNK:
        return _TRUNK[bone]
    side, _, part = bone.partition("_")
    if part in _SIDED:
        return side.capitalize() + _SIDED[part]
    return f"{side.capitalize()}Hand{_FINGERS[part[:-1]]}{part[-1]}"


FILE_NAMES: dict[str, str] = {bone: _file_name(bone) for armature in ARMATURES for bone in armature.names}
"""Names in files, by the rigs' own."""


def _humanoid() -> dict[str, str]:
    bones = dict(_VRM_TRUNK)
    for side in SIDES:
        bones |= {f"{side}{part}": f"{side}_{joint}" for part, joint in _VRM_SIDED.items()}
        for finger in FINGERS:
            word = finger.capitalize()
            for part, phalanx in enumerate(_VRM_PHALANGES.get(word, _PHALANGES), start=1):
                bones[f"{side}{word}{phalanx}"] = f"{side}_{finger}{part}"
    return bones


VRM_HUMANOID: dict[str, str] = _humanoid()
"""The rigs' bones by their names in VRM 1.0 humanoids; an avatar has those that its armature has."""
