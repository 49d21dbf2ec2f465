"""Reads actions written as key poses from a YAML file, strictly; `authored_actions.yaml` says how they are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from avatar_core.documents import DocumentError, read_yaml, read_yaml_file
from avatar_core.errors import AvatarError
from avatar_core.priors.joint_angles import AUTHORED_ONLY_BY_LEVELLING, CENTRAL, LIMITS, SIDED, SIDES

Range = tuple[float, float]
"""Lowest and highest value of a draw; equal where the script gives one number."""

Direction = tuple[float, float, float]

DIRECTIONS: dict[str, Direction] = {
    "out": (1, 0, 0), "in": (-1, 0, 0), "up": (0, 1, 0), "down": (0, -1, 0), "forward": (0, 0, 1), "back": (0, 0, -1),
}  # fmt: skip
ORIGINS = ("mouth", "chest", "waist", "pelvis", "knee")
EASES = ("smooth", "linear", "in", "out")
MOST = 1000
"""Largest number of a script, whatever its unit."""
BRIEFEST = 0.01
"""Seconds from one key to the next, at least."""
ANCHORS = ("feet", "left foot", "right foot", "pelvis", "steps")

_PLURALS = {joint + "s": joint for joint in SIDED} | {"hips": "hip", "toes": "toes"}
_ACTION_FIELDS = {"captions", "cycle", "mirror", "anchor", "base", "keys"}
_HAND_FIELDS = {"from", "at", "elbow", "fingers", "palm"}
_FOOT_FIELDS = {"at", "knee", "ankle"}
_ARM, _LEG = ("shoulder", "elbow", "forearm", "wrist"), ("hip", "knee")


class ActionScriptError(AvatarError):
    """An action script that cannot be used; names the file, the action, the key and the remedy."""


@dataclass(frozen=True)
class HandReach:
    """Where a palm's middle is, and how the hand is turned.

    origin: one of `ORIGINS`. at: outward to the hand's own side, up, forward; centimetres from the origin.
    elbow: degrees from hanging to lifted sideways, or a direction from the chest. fingers, palm: directions. All
    directions are unit vectors (out, up, forward).
    """

    origin: str
    at: tuple[Range, Range, Range]
    elbow: Range | Direction
    fingers: Direction
    palm: Direction


@dataclass(frozen=True)
class FootReach:
    """Where an ankle is: outward, up, forward in centimetres from the pelvis along the world's axes.

    knee: degrees that the knee points outward. ankle: degrees that the toes are lifted, None for a level sole.
    """

    at: tuple[Range, Range, Range]
    knee: Range
    ankle: Range | None


@dataclass(frozen=True)
class Key:
    """One key pose. angles: `{"left_elbow": {"flexion": (low, high)}}` in degrees; lift: metres above the ground."""

    time: float
    ease: str
    lift: float
    angles: dict[str, dict[str, Range]] = field(default_factory=dict)
    hands: dict[str, HandReach] = field(default_factory=dict)
    feet: dict[str, FootReach] = field(default_factory=dict)


@dataclass(frozen=True)
class Action:
    """An action: its name, captions and key poses.

    cycle: seconds after which the first key comes again, None when the action ends with its last key.
    mirror: whether its mirror image is the same action. anchor: what stays in place, one of `ANCHORS`.
    """

    name: str
    captions: tuple[str, ...]
    cycle: float | None
    mirror: bool
    anchor: str
    keys: tuple[Key, ...]


def load_actions(path: Path | None = None) -> tuple[Action, ...]:
    """Read the actions of a YAML file (by default those of the package); raises ActionScriptError."""
    if path is None:
        source = "authored_actions.yaml"
        return parse_actions((files("avatar_core.priors") / source).read_text(encoding="utf-8"), source)
    try:
        return _actions(read_yaml_file(path), str(path))
    except (OSError, DocumentError) as error:
        raise ActionScriptError(f"{path}: cannot be read ({error}); give a UTF-8 YAML file") from error


def parse_actions(text: str, source: str) -> tuple[Action, ...]:
    """Read actions from YAML; `source` names the file in errors. Raises ActionScriptError."""
    try:
        return _actions(read_yaml(text), source)
    except DocumentError as error:
        raise ActionScriptError(f"{source}: cannot be read ({error}); mend the syntax") from error


def _actions(document: Any, source: str) -> tuple[Action, ...]:
    if not isinstance(document, dict) or not document:
        raise ActionScriptError(f"{source}: holds no actions; write `name: {{captions: [...], keys: [...]}}`")
    return tuple(_Reader(source, str(name)).action(entry) for name, entry in document.items())


class _Reader:
    """Reads one action; knows where it is, for its errors."""

    def __init__(self, source: str, name: str) -> None:
        self._source, self._name, self._place = source, name, ""

    def fail(self, problem: str, remedy: str) -> ActionScriptError:
        return ActionScriptError(f"{self._source}: action {self._name!r}{self._place}: {problem}; {remedy}")

    def action(self, entry: Any) -> Action:
        if not self._name[:1].isalpha():  # it becomes a file's name, and the cell of a table
            raise self.fail("its name does not begin with a letter", "name it by a phrase")
        self._fields(entry, _ACTION_FIELDS, {"captions", "keys"})
        captions, keys = entry["captions"], entry["keys"]
        if not isinstance(captions, list) or not 2 <= len(captions) <= 6 or not all(map(_is_phrase, captions)):
            raise self.fail("captions are not 2 to 6 phrases without '|'", "write a list of verb phrases")
        if not isinstance(keys, list) or not 1 <= len(keys) <= 8:
            raise self.fail("keys are not a list of 1 to 8 key poses", "write a list of mappings")
        mirror = entry.get("mirror", True)
        if not isinstance(mirror, bool):
            raise self.fail(f"mirror is {mirror!r}", "write true or false")
        base = entry.get("base", {})
        self._place = " base"
        shared = self._pose(base)
        read = []
        for number, key in enumerate(keys, 1):
            self._place = f" key {number}"
            read.append(self._key(key, shared, first=number == 1))
        self._place = ""
        times = [key.time for key in read]
        if times[0] != 0 or any(late <= soon for soon, late in pairwise(times)):
            raise self.fail(f"key times {times} do not rise from 0", "order the keys by time, the first at 0")
        cycle = entry.get("cycle")
        if cycle is not None and self._number(cycle, "cycle") <= times[-1]:
            raise self.fail(f"cycle {cycle} ends before the last key", "give the seconds until the first key returns")
        if any(late - soon < BRIEFEST for soon, late in pairwise([*times, *([] if cycle is None else [cycle])])):
            raise self.fail(f"keys are less than {BRIEFEST} seconds apart", "leave one out")
        anchor = self._choice(entry.get("anchor", "feet"), ANCHORS, "anchor")
        return Action(self._name, tuple(captions), cycle, mirror, anchor, tuple(read))

    def _key(self, entry: Any, shared: Key, first: bool) -> Key:
        if not isinstance(entry, dict):
            raise self.fail("is not a mapping", "write `time: ..., joint: {angle: degrees}`")
        pose = self._pose({name: value for name, value in entry.items() if name not in ("time", "ease", "lift")})
        time = self._number(entry.get("time", 0.0 if first else None), "time")
        ease = self._choice(entry.get("ease", "smooth"), EASES, "ease")
        lift = self._number(entry.get("lift", 0.0), "lift")
        angles = {name: dict(terms) for name, terms in shared.angles.items()}
        hands, feet = dict(shared.hands), dict(shared.feet)
        for reach, joints in ((hands, _ARM), (feet, _LEG)):
            for side in [side for side in reach if any(f"{side}_{joint}" in pose.angles for joint in joints)]:
                del reach[side]
        for joint, terms in pose.angles.items():
            angles.setdefault(joint, {}).update(terms)
        return Key(time, ease, lift / 100, angles, hands | pose.hands, feet | pose.feet)

    def _pose(self, entry: Any) -> Key:
        if not isinstance(entry, dict):
            raise self.fail("is not a mapping of joints", "write `joint: {angle: degrees}`")
        angles: dict[str, dict[str, Range]] = {}
        hands: dict[str, HandReach] = {}
        feet: dict[str, FootReach] = {}
        for name, value in sorted(entry.items(), key=lambda item: str(item[0]).startswith(SIDES)):
            sides, joint = self._joint(str(name))
            if joint == "hand":
                hands |= dict.fromkeys(sides, self._hand(value, str(name)))
            elif joint == "foot":
                feet |= dict.fromkeys(sides, self._foot(value, str(name)))
            else:
                terms = self._angles(value, joint, str(name))
                for full in [f"{side}_{joint}" for side in sides] or [joint]:
                    angles[full] = angles.get(full, {}) | terms
        return Key(0.0, "smooth", 0.0, angles, hands, feet)

    def _joint(self, name: str) -> tuple[tuple[str, ...], str]:
        """Sides and joint that `name` means: left_knee one, knees both, spine none."""
        side, _, joint = name.partition("_")
        plurals = _PLURALS | {"hands": "hand", "feet": "foot"}
        if name in CENTRAL:
            return (), name
        if name in plurals:
            return SIDES, plurals[name]
        if side in SIDES and (joint in SIDED or joint in ("hand", "foot")):
            return (side,), joint
        known = ", ".join([*CENTRAL, *plurals])
        raise self.fail(f"joint {name!r} is unknown", f"use {known}, or one side as in left_knee")

    def _angles(self, value: Any, joint: str, name: str) -> dict[str, Range]:
        limits = {term: pair for term, pair in LIMITS[joint].items() if (joint, term) not in AUTHORED_ONLY_BY_LEVELLING}
        if not isinstance(value, dict) or not value:
            raise self.fail(f"{name} is {value!r}", f"write `{name}: {{{next(iter(limits))}: degrees}}`")
        read = {}
        for term, number in value.items():
            if term not in limits:
                raise self.fail(f"{name} has no angle {term!r}", f"use {', '.join(limits)}")
            low, high = self._range(number, f"{name} {term}")
            if low < limits[term][0] or high > limits[term][1]:
                least, most = limits[term]
                raise self.fail(f"{name} {term} of {low:g} to {high:g} degrees", f"keep to {least:g} to {most:g}")
            read[term] = (low, high)
        return read

    def _hand(self, value: Any, name: str) -> HandReach:
        self._fields(value, _HAND_FIELDS, _HAND_FIELDS - {"elbow"}, name)
        elbow = value.get("elbow", 30)
        pointed = isinstance(elbow, str) or (isinstance(elbow, list) and len(elbow) == 3)
        origin = self._choice(value["from"], ORIGINS, f"{name} from")
        return HandReach(
            origin,
            self._position(value["at"], name),
            self._direction(elbow, f"{name} elbow") if pointed else self._range(elbow, f"{name} elbow"),
            self._direction(value["fingers"], f"{name} fingers"),
            self._direction(value["palm"], f"{name} palm"),
        )

    def _foot(self, value: Any, name: str) -> FootReach:
        self._fields(value, _FOOT_FIELDS, {"at"}, name)
        ankle = value.get("ankle")
        return FootReach(
            self._position(value["at"], name),
            self._range(value.get("knee", 8), f"{name} knee"),
            None if ankle is None else self._range(ankle, f"{name} ankle"),
        )

    def _position(self, value: Any, name: str) -> tuple[Range, Range, Range]:
        if not isinstance(value, list) or len(value) != 3:
            raise self.fail(f"{name} at is {value!r}", "write [out, up, forward] in centimetres")
        out, up, forward = (self._range(number, f"{name} at") for number in value)
        return out, up, forward

    def _direction(self, value: Any, what: str) -> Direction:
        """A unit vector from `up`, `up+in` or [out, up, forward]."""
        if isinstance(value, str) and all(word in DIRECTIONS for word in value.split("+")):
            vector = np.sum([DIRECTIONS[word] for word in value.split("+")], axis=0, dtype=float)
        elif isinstance(value, list) and len(value) == 3:
            vector = np.array([self._number(number, what) for number in value])
        else:
            raise self.fail(f"{what} is {value!r}", f"join {', '.join(DIRECTIONS)} by '+' or write [out, up, forward]")
        length = float(np.linalg.norm(vector))
        if length < 1e-6:
            raise self.fail(f"{what} has no direction", "let its parts not cancel")
        out, up, forward = (vector / length).tolist()
        return out, up, forward

    def _range(self, value: Any, what: str) -> Range:
        if isinstance(value, list) and len(value) == 2:
            low, high = (self._number(number, what) for number in value)
            if low <= high:
                return low, high
            raise self.fail(f"{what} has the range {value}", "write the lower number first")
        number = self._number(value, what)
        return number, number

    def _number(self, value: Any, what: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MOST:
            raise self.fail(f"{what} is {value!r}", f"write a number between {-MOST} and {MOST}")
        return float(value)

    def _choice(self, value: Any, known: tuple[str, ...], what: str) -> str:
        if value not in known:
            raise self.fail(f"{what} is {value!r}", f"use one of {', '.join(known)}")
        return str(value)

    def _fields(self, value: Any, known: set[str], needed: set[str], what: str = "the entry") -> None:
        if not isinstance(value, dict):
            raise self.fail(f"{what} is not a mapping", f"write the fields {', '.join(sorted(known))}")
        unknown, missing = sorted(map(str, value.keys() - known)), sorted(needed - value.keys())
        if unknown or missing:
            problem = f"{what} has unknown fields {unknown}" if unknown else f"{what} lacks {', '.join(missing)}"
            raise self.fail(problem, f"use {', '.join(sorted(known))}")


def _is_phrase(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "|" not in value
