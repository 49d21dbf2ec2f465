"""The GLB with its mesh in KHR_draco_mesh_compression."""

from __future__ import annotations

from pathlib import Path

from avatar_core.export.finished import FinishedAvatar
from avatar_core.export.formats.compression import compress

FILE = "avatar.draco.glb"


def write(avatar: FinishedAvatar, folder: Path) -> None:
    """Write avatar.draco.glb; raises ConfigError where glTF-Transform is not installed."""
    compress(avatar, folder / FILE, "draco")
