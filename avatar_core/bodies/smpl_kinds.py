"""The members of SMPL's family: their joints, and the terms that they come under.

Source: SMPL (Loper et al. 2015), SMPL-H (Romero et al. 2017) and SMPL-X (Pavlakos et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

from avatar_core.bodies.skeleton import JOINT_INDEX, JOINT_NAMES, PARENTS

GENDERS = ("neutral", "male", "female")
_FINGERS = ("index", "middle", "little", "ring", "thumb")


def _hand(side: str) -> tuple[tuple[str, str], ...]:
    """The 15 joints of a hand with the joints that they hang on."""
    found: list[tuple[str, str]] = []
    for finger in _FINGERS:
        found.append((f"{side}_{finger}1", f"{side}_wrist"))
        found += [(f"{side}_{finger}{part}", f"{side}_{finger}{part - 1}") for part in (2, 3)]
    return tuple(found)


@dataclass(frozen=True)
class SmplKind:
    """One of SMPL, SMPL-H and SMPL-X."""

    name: str
    title: str
    more: tuple[tuple[str, str], ...]
    """Joints after the body's 22, each with the one that it hangs on."""
    licence: str

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of all J joints."""
        return (*JOINT_NAMES, *(name for name, _ in self.more))

    @property
    def parents(self) -> tuple[int, ...]:
        """Joint that each hangs on; -1 for the pelvis."""
        index = {name: number for number, name in enumerate(self.joints)}
        return (*PARENTS, *(index[parent] for _, parent in self.more))

    @property
    def body_joints(self) -> tuple[int, ...]:
        """The joint of the body's 22 that each turns with."""
        owners: list[int] = []
        for number, parent in enumerate(self.parents):
            owners.append(number if number < len(JOINT_INDEX) else owners[parent])
        return tuple(owners)


_HANDS = (*_hand("left"), *_hand("right"))


def _terms(title: str, page: str) -> str:
    return f"{title} body model licence: non-commercial scientific research only ({page})"


KINDS: dict[str, SmplKind] = {
    kind.name: kind
    for kind in (
        SmplKind(
            "smpl",
            "SMPL",
            (("left_hand", "left_wrist"), ("right_hand", "right_wrist")),
            _terms("SMPL", "https://smpl.is.tue.mpg.de/modellicense.html"),
        ),
        SmplKind("smplh", "SMPL-H", _HANDS, _terms("SMPL-H", "https://mano.is.tue.mpg.de/license.html")),
        SmplKind(
            "smplx",
            "SMPL-X",
            (("jaw", "head"), ("left_eye", "head"), ("right_eye", "head"), *_HANDS),
            _terms("SMPL-X", "https://smpl-x.is.tue.mpg.de/modellicense.html"),
        ),
    )
}


def model_name(kind: str, gender: str) -> str:
    """Return what a body is called in catalogs: `smpl`, `smpl-male`, `smplx-female`."""
    return kind if gender == GENDERS[0] else f"{kind}-{gender}"


MODEL_NAMES: tuple[str, ...] = tuple(model_name(kind, gender) for kind in KINDS for gender in GENDERS)
"""All names that models can have."""
