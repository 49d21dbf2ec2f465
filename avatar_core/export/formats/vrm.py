"""VRM 1.0: a GLB in the T-pose that says which of its bones are a human's, and what its licence allows.

Source: the VRM consortium's specification of the glTF extension VRMC_vrm, version 1.0. Clips are left out, because
VRM keeps motion in files of its own.
"""

from __future__ import annotations

import re
from pathlib import Path

from scipy.spatial.transform import Rotation

from avatar_core.export.bone_names import VRM_HUMANOID
from avatar_core.export.finished import FinishedAvatar
from avatar_core.export.glb import FIRST_BONE, build_document, document_bytes
from avatar_core.export.provenance import GENERATOR

FILE = "avatar.vrm"
EXTENSION = "VRMC_vrm"
LICENCE_URL = "https://vrm.dev/licenses/1.0/"
"""The VRM public licence, whose terms are the other fields of the meta."""
_PERMISSIVE = re.compile(r"\b(Apache-2\.0|CC0|MIT|BSD|Unlicense|public domain)\b", re.IGNORECASE)
_RESTRICTED = re.compile(r"non-?commercial|research only|\bNC\b|own terms", re.IGNORECASE)
_EYE_RANGE = {"inputMaxValue": 90.0, "outputScale": 10.0}
"""Degrees that an eye turns at most, for a look of so many degrees to the side."""


def write(avatar: FinishedAvatar, folder: Path) -> None:
    """Write avatar.vrm."""
    document = build_document(
        avatar.mesh, avatar.skin, avatar.skeleton, {}, name=avatar.name, rest="T", extras=avatar.extras
    )
    document.extensionsUsed = [EXTENSION]
    document.extensions = {EXTENSION: vrm_extension(avatar)}
    (folder / FILE).write_bytes(document_bytes(document))


def vrm_extension(avatar: FinishedAvatar) -> dict[str, object]:
    """Return the content of VRMC_vrm."""
    index = avatar.skeleton.armature.index
    bones = {bone: {"node": FIRST_BONE + index[name]} for bone, name in VRM_HUMANOID.items() if name in index}
    extension: dict[str, object] = {
        "specVersion": "1.0",
        "meta": _meta(avatar),
        "humanoid": {"humanBones": bones},
        "firstPerson": {"meshAnnotations": [{"node": 0, "type": "auto"}]},
        "expressions": {"preset": {}},  # none, but three-vrm moves no eyes without the field
    }
    if "leftEye" in bones:
        extension["lookAt"] = {
            "type": "bone",
            "offsetFromHeadBone": _eyes_from_head(avatar),
            **{
                f"rangeMap{direction}": dict(_EYE_RANGE)
                for direction in ("HorizontalInner", "HorizontalOuter", "VerticalDown", "VerticalUp")
            },
        }
    return extension


def _meta(avatar: FinishedAvatar) -> dict[str, object]:
    """The terms: free use where every model behind the avatar allows that, and the author's alone elsewhere."""
    weights = avatar.extras.get("weights")
    licences = {role: str(facts["licence"]) for role, facts in weights.items()} if isinstance(weights, dict) else {}
    free = bool(licences) and all(is_permissive(text) for text in licences.values())
    return {
        "name": avatar.name,
        "version": "1.0",
        "authors": [GENERATOR],
        "licenseUrl": LICENCE_URL,
        "references": [f"{column}: {text}" for column, text in sorted(avatar.prompts.items())],
        "thirdPartyLicenses": "\n".join(f"{role}: {text}" for role, text in sorted(licences.items())),
        "avatarPermission": "everyone" if free else "onlyAuthor",
        "allowExcessivelyViolentUsage": False,
        "allowExcessivelySexualUsage": False,
        "commercialUsage": "corporation" if free else "personalNonProfit",
        "allowPoliticalOrReligiousUsage": False,
        "allowAntisocialOrHateUsage": False,
        "creditNotation": "unnecessary" if free else "required",
        "allowRedistribution": free,
        "modification": "allowModificationRedistribution" if free else "prohibited",
    }


def is_permissive(licence: str) -> bool:
    """Tell whether a licence's text names one that allows any use, and nothing that takes that back."""
    return bool(_PERMISSIVE.search(licence)) and not _RESTRICTED.search(licence)


def _eyes_from_head(avatar: FinishedAvatar) -> list[float]:
    """Where the middle between the eyes is, from the head bone, in the T-pose: metres."""
    heads, index = avatar.skeleton.heads, avatar.skeleton.armature.index
    head, eyes = index["head"], (heads[index["left_eye"]] + heads[index["right_eye"]]) / 2
    turn = Rotation.from_quat(avatar.skeleton.tpose[head])
    return [float(value) for value in turn.apply(eyes - heads[head])]
