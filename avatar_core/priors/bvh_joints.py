"""Finds the body's joints in a BVH skeleton by the names that capture software gives them.

Case, punctuation and prefixes do not count: `mixamorig:LeftUpLeg`, `Bip01_L_Thigh`, `lThigh` and `thigh_l` are one
joint. The spine is found by the tree instead, because no two conventions agree on the number of its joints, and so is a
pelvis of another name.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from avatar_core.priors.motion_data import MotionDataError

# In this order, and each source joint once: "LeftShoulder" is the upper arm only where nothing else is, "LeftFoot" the
# toes only where there is a "LeftAnkle".
_SIDED: dict[str, tuple[str, ...]] = {
    "thigh": ("upleg", "upperleg", "thigh", "hip"),
    "shin": ("leg", "lowerleg", "lowleg", "calf", "shin", "knee"),
    "ankle": ("ankle", "foot"),
    "toe": ("toebase", "toe0", "toes", "toe", "ball", "foot"),
    "upper_arm": ("upperarm", "uparm", "arm", "shldr", "shoulder"),
    "forearm": ("forearm", "lowerarm", "lowarm", "elbow"),
    "hand": ("hand", "wrist"),
    "collar": ("collar", "clavicle", "collarbone", "shoulder"),
}
_PELVIS, _HEAD = ("hips", "pelvis", "hip"), ("head",)
_OPTIONAL = {"toe", "collar"}
_PREFIXES = re.compile(r"^(mixamorig\d*|bip\d+|valvebiped|character\d*|[mf]avg|jbip|def)")
CONVENTIONS = "MotionBuilder (CMU), Mixamo, 3ds Max biped, Biovision, Xsens, Rokoko, DAZ, Unreal or SMPL"


@dataclass(frozen=True)
class BodyJoints:
    """Indices of the source's joints.

    sided: by part ("thigh", "shin", "ankle", "toe", "upper_arm", "forearm", "hand", "collar"), left and right; toes and
    collars may be missing. spine: from above the pelvis to the chest. neck: from the chest to below the head.
    """

    pelvis: int
    spine: tuple[int, ...]
    neck: tuple[int, ...]
    head: int
    sided: dict[str, tuple[int, int]]


def find_joints(name: object, names: Sequence[str], parents: Sequence[int]) -> BodyJoints:
    """Find the body in a skeleton of joints `names` (J) with `parents` (J), -1 for the root.

    Raises MotionDataError, with the file's `name`, that lists the joints which are missing.
    """
    bare = _bare_names(names)
    found = _first("head", [*_HEAD, *(f"c{alias}" for alias in _HEAD)], bare, {})
    for part, aliases in _SIDED.items():
        for side in ("left", "right"):
            spelled = [
                spelling
                for alias in aliases
                for spelling in (f"{side}{alias}", f"{alias}{side}", f"{side[0]}{alias}", f"{alias}{side[0]}")
            ]
            found |= _first(f"{side} {part}", spelled, bare, found)
    wanted = ["head", *(f"{side} {part}" for part in _SIDED for side in ("left", "right") if part not in _OPTIONAL)]
    missing = [part for part in wanted if part not in found]
    if missing:
        raise MotionDataError(
            f"{name}: unknown skeleton: no {', '.join(part.replace('_', ' ') for part in missing)} among its joints "
            f"{_listed(names)}; rename the joints to those of {CONVENTIONS}"
        )
    found["pelvis"] = _pelvis(bare, parents, found)
    _check_chains(name, names, parents, found)
    spine, neck = _trunk(name, bare, parents, found)
    pairs = {part: (found.get(f"left {part}"), found.get(f"right {part}")) for part in _SIDED}
    sided = {part: (left, right) for part, (left, right) in pairs.items() if left is not None and right is not None}
    return BodyJoints(found["pelvis"], spine, neck, found["head"], sided)


def ancestry(joint: int, parents: Sequence[int]) -> list[int]:
    """Return `joint` and its ancestors, the root last."""
    line = [joint]
    while parents[line[-1]] >= 0:
        line.append(parents[line[-1]])
    return line


def _bare_names(names: Sequence[str]) -> list[str]:
    """Reduce names to lower-case letters and digits, without namespaces and prefixes that are known or shared."""
    bare = [re.sub(r"[^a-z0-9]", "", name.rsplit(":", 1)[-1].lower()) for name in names]
    shared = _common_start(bare) if len(bare) > 1 else ""
    return [_PREFIXES.sub("", name.removeprefix(shared)) for name in bare]


def _common_start(names: Sequence[str]) -> str:
    """Return what all `names` begin with."""
    lowest, highest = min(names), max(names)
    length = next((at for at, pair in enumerate(zip(lowest, highest)) if pair[0] != pair[1]), len(lowest))
    return lowest[:length]


def _first(part: str, spelled: Sequence[str], bare: Sequence[str], taken: dict[str, int]) -> dict[str, int]:
    """Return {part: index} for the first spelling that an untaken joint has, else nothing."""
    for spelling in spelled:
        for index, name in enumerate(bare):
            if name == spelling and index not in taken.values():
                return {part: index}
    return {}


def _pelvis(bare: Sequence[str], parents: Sequence[int], found: dict[str, int]) -> int:
    """Return the joint that bears thighs and head: the one with a pelvis's name, else the lowest in the tree."""
    lines = [ancestry(found[part], parents)[1:] for part in ("left thigh", "right thigh", "head")]
    bearing = [joint for joint in lines[0] if joint in lines[1] and joint in lines[2]]
    named = [joint for alias in _PELVIS for joint in bearing if bare[joint] in (alias, f"c{alias}")]
    return next(iter(named or bearing), 0)


def _check_chains(name: object, names: Sequence[str], parents: Sequence[int], found: dict[str, int]) -> None:
    """Check that the joints of each limb hang on one another, and the limbs on the pelvis."""
    legs = [["pelvis", *(f"{side} {part}" for part in ("thigh", "shin", "ankle"))] for side in ("left", "right")]
    arms = [["pelvis", *(f"{side} {part}" for part in ("upper_arm", "forearm", "hand"))] for side in ("left", "right")]
    for chain in [*legs, *arms, ["pelvis", "head"]]:
        for upper, lower in itertools.pairwise(chain):
            if found[upper] not in ancestry(found[lower], parents)[1:]:
                raise MotionDataError(
                    f"{name}: unknown skeleton: {names[found[lower]]} does not hang on {names[found[upper]]}; export "
                    f"it with the joints of {CONVENTIONS}"
                )


def _trunk(
    name: object, bare: Sequence[str], parents: Sequence[int], found: dict[str, int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the joints of the spine and of the neck, upwards."""
    line = ancestry(found["head"], parents)[1:][::-1]
    line = line[line.index(found["pelvis"]) + 1 :]
    arms = [ancestry(found[f"{side} upper_arm"], parents) for side in ("left", "right")]
    neck = [joint for joint in line if "neck" in bare[joint] or not all(joint in arm for arm in arms)]
    spine = [joint for joint in line if joint not in neck]
    if not spine or not neck:
        what = "spine" if not spine else "neck"
        raise MotionDataError(
            f"{name}: unknown skeleton: no {what} between pelvis and head; export it with the joints of {CONVENTIONS}"
        )
    return tuple(spine), tuple(neck)


def _listed(names: Sequence[str], most: int = 40) -> str:
    """List at most `most` names in brackets, each cut to a length that a hostile file cannot abuse."""
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return "(" + ", ".join(name[:40] for name in names[:most]) + more + ")"
