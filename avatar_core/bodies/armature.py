"""The bones of a finished avatar: their names, how they hang together, and how they follow the 22 joints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from avatar_core.bodies.skeleton import JOINT_INDEX, JOINT_NAMES, PARENTS


@dataclass(frozen=True)
class Between:
    """A bone between a joint and the next one, which turns with the joint and takes a share of a twist.

    parent: the bone it hangs on. child: the bone that hangs on it instead of on `parent`.
    joint: whose rotation it has. shared: the joint whose twist it has `share` of, on top of that.
    """

    parent: str
    child: str
    joint: str
    shared: str = ""
    share: float = 0.0


@dataclass(frozen=True, eq=False)
class Armature:
    """B bones, of which the first 22 are the joints."""

    names: tuple[str, ...]
    """The rig's own names; `export.bone_names` has those in files."""
    parents: tuple[int, ...]
    """Bone that each hangs on; -1 for the pelvis."""
    between: Mapping[str, Between] = field(default_factory=dict)
    """Bones that share a joint's rotation, by name."""
    held_back: Mapping[str, float] = field(default_factory=dict)
    """Share of their own twist that the bones of these joints leave to the bone between them and the next joint."""

    @classmethod
    def of(
        cls, extra: Mapping[str, str], between: Mapping[str, Between], held_back: Mapping[str, float]
    ) -> Armature:
        """Return the joints with the bones of `between` among them, and with those of `extra`, which name what they
        hang on."""
        parents = {name: JOINT_NAMES[parent] for name, parent in zip(JOINT_NAMES, PARENTS) if parent >= 0}
        for name, bone in between.items():
            parents[name] = bone.parent
            parents[bone.child] = name
        parents |= extra
        names = (*JOINT_NAMES, *between, *extra)
        index = {name: number for number, name in enumerate(names)}
        return cls(names, tuple(index[parents[name]] if name in parents else -1 for name in names), between, held_back)

    @cached_property
    def index(self) -> dict[str, int]:
        """The bones' numbers by their names."""
        return {name: number for number, name in enumerate(self.names)}

    @cached_property
    def joint_of_bone(self) -> tuple[int, ...]:
        """The joint that each bone turns with."""
        return tuple(self._joint(bone) for bone in range(len(self.names)))

    def _joint(self, bone: int) -> int:
        if self.names[bone] in self.between:
            return JOINT_INDEX[self.between[self.names[bone]].joint]
        while bone >= len(JOINT_NAMES):
            bone = self.parents[bone]
        return bone

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The bones, each after the one that it hangs on."""
        found: list[int] = []
        left = list(range(len(self.names)))
        while left:
            found += [bone for bone in left if self.parents[bone] < 0 or self.parents[bone] in found]
            left = [bone for bone in left if bone not in found]
        return tuple(found)


class HasArmature:
    """What has an armature tells its bones' names and parents."""

    armature: Armature

    @property
    def names(self) -> tuple[str, ...]:
        """The bones' own names; `export.bone_names` has those in files."""
        return self.armature.names

    @property
    def parents(self) -> tuple[int, ...]:
        """Bone that each hangs on; -1 for the pelvis."""
        return self.armature.parents
