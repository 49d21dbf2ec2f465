"""PLY: the still mesh in the A-pose with a colour for each vertex."""

from __future__ import annotations

from pathlib import Path

from avatar_core.export.finished import FinishedAvatar
from avatar_core.export.mesh import ply_bytes

FILE = "mesh.ply"


def write(avatar: FinishedAvatar, folder: Path) -> None:
    """Write mesh.ply."""
    (folder / FILE).write_bytes(ply_bytes(avatar.mesh))
