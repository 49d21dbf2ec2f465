"""Levels of detail: GLBs of fewer triangles and smaller pictures, with the same bones and clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from avatar_core.export.finished import FinishedAvatar
from avatar_core.export.level_of_detail import reduced

SHARES = (0.5, 0.2, 0.05)
"""Parts of the triangles that each level keeps."""


def write(avatar: FinishedAvatar, folder: Path) -> None:
    """Write avatar.lod1.glb, avatar.lod2.glb and avatar.lod3.glb, the coarsest last."""
    for level, share in enumerate(SHARES, start=1):
        mesh, skin = reduced(avatar, share)
        (folder / f"avatar.lod{level}.glb").write_bytes(replace(avatar, mesh=mesh, skin=skin).to_glb())
