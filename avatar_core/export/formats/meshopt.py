"""The GLB with its mesh in EXT_meshopt_compression."""

from __future__ import annotations

from pathlib import Path

from avatar_core.export.finished import FinishedAvatar
from avatar_core.export.formats.compression import compress

FILE = "avatar.meshopt.glb"


def write(avatar: FinishedAvatar, folder: Path) -> None:
    """Write avatar.meshopt.glb; raises ConfigError where glTF-Transform is not installed."""
    compress(avatar, folder / FILE, "meshopt")
