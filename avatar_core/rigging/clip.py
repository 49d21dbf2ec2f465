"""Motion on one avatar's bones: what animations in files are written from and read into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from avatar_core.rigging.skinning import Skin, deform

BATCH = 64
"""Frames posed at once, which bounds the memory that a long clip takes."""


@dataclass(frozen=True)
class Clip:
    """T frames of motion over B bones."""

    transforms: NDArray[np.float32]
    """(T, B, 4, 4) bind space to posed space."""
    rotations: NDArray[np.float32]
    """(T, B, 4) unit quaternions x, y, z, w relative to the parent bone; identity is the bind pose."""
    root: NDArray[np.float32]
    """(T, 3) pelvis positions, metres."""
    fps: int
    loops: bool = field(default=False, kw_only=True)
    """Whether it is meant to be played over and over."""

    def __len__(self) -> int:
        return len(self.root)

    def posed(self, vertices: NDArray[np.floating], skin: Skin) -> Iterator[NDArray[np.float32]]:
        """Yield the vertices (n, V, 3) of a mesh over the clip, at most BATCH frames at a time.

        vertices: (V, 3) in the bind pose, metres; skin: their weights.
        """
        for start in range(0, len(self), BATCH):
            yield deform(vertices, skin, self.transforms[start : start + BATCH])

    def bounds(self, vertices: NDArray[np.floating], skin: Skin) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the lowest and the highest corner (3,) of the box that a mesh moves in; arguments as in `posed`."""
        parts = [(points.min(axis=(0, 1)), points.max(axis=(0, 1))) for points in self.posed(vertices, skin)]
        lows, highs = zip(*parts)
        return np.min(lows, axis=0), np.max(highs, axis=0)
