"""All armatures that finished avatars can have."""

from __future__ import annotations

from avatar_core.bodies.armature import Armature
from avatar_core.bodies.rig import EMBEDDED
from avatar_core.bodies.smpl_kinds import KINDS

SMPL_ARMATURES: dict[str, Armature] = {kind.name: Armature(kind.joints, kind.parents) for kind in KINDS.values()}
"""Those of SMPL's family, by kind: one bone for each joint."""
ARMATURES: tuple[Armature, ...] = (EMBEDDED, *SMPL_ARMATURES.values())
