"""The skeleton of a finished avatar as files hold it: bones in the bind pose, and how they turn to the T-pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from avatar_core.bodies.armature import Armature, HasArmature
from avatar_core.bodies.rig import Rig
from avatar_core.bodies.rotations import matrix_to_quaternion


@dataclass(frozen=True)
class Skeleton(HasArmature):
    """The bones of one avatar."""

    heads: NDArray[np.float64]
    """(B, 3) where they begin in the bind pose, metres."""
    tpose: NDArray[np.float64]
    """(B, 4) unit quaternions x, y, z, w: the turn of each bone, in the world's axes, from the bind to the T-pose."""
    armature: Armature
    """The bones' names and how they hang together."""

    @classmethod
    def of(cls, rig: Rig) -> Skeleton:
        """Return the skeleton of a rig."""
        turns = rig.shaped.to_tpose[list(rig.joint_of_bone)].double()
        return cls(rig.heads.cpu().double().numpy(), matrix_to_quaternion(turns).cpu().numpy(), rig.armature)

    @property
    def offsets(self) -> NDArray[np.float64]:
        """Heads (B, 3) relative to the bone that each hangs on, in the bind pose, metres; the pelvis stays absolute."""
        above = np.array([self.heads[parent] if parent >= 0 else np.zeros(3) for parent in self.parents])
        return self.heads - above

    def transforms(self, rotations: NDArray[np.floating], root: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the transforms (T, B, 4, 4) from bind space to posed space.

        rotations: (T, B, 4) unit quaternions relative to the parent bone; root: (T, 3) pelvis positions, metres.
        """
        local = Rotation.from_quat(rotations.reshape(-1, 4)).as_matrix().reshape(*rotations.shape[:2], 3, 3)
        offsets = self.offsets
        world, placed = np.empty_like(local), np.empty((*rotations.shape[:2], 3))
        for bone in self.armature.order:
            parent = self.parents[bone]
            if parent < 0:
                world[:, bone], placed[:, bone] = local[:, bone], root
                continue
            world[:, bone] = world[:, parent] @ local[:, bone]
            placed[:, bone] = placed[:, parent] + world[:, parent] @ offsets[bone]
        matrices = np.zeros((*rotations.shape[:2], 4, 4))
        matrices[..., :3, :3] = world
        matrices[..., :3, 3] = placed - (world @ self.heads[..., None])[..., 0]
        matrices[..., 3, 3] = 1.0
        return matrices

    def local_tpose(self) -> NDArray[np.float64]:
        """Return the T-pose as quaternions (B, 4) relative to the parent bone."""
        world = Rotation.from_quat(self.tpose)
        above = Rotation.from_quat([self.tpose[parent] if parent >= 0 else [0, 0, 0, 1] for parent in self.parents])
        turns = (above.inv() * world).as_quat()
        return np.where(turns[:, 3:] < 0, -turns, turns)
