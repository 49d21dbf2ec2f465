"""USDZ: the USD stage and its pictures in one uncompressed archive, as Apple's AR Quick Look opens it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from avatar_core.errors import AvatarError
from avatar_core.export.finished import FinishedAvatar
from avatar_core.export.formats import usd

FILE = "avatar.usdz"


def write(avatar: FinishedAvatar, folder: Path) -> None:
    """Write avatar.usdz; raises ConfigError when usd-core is missing."""
    pxr: Any = usd.load_pxr()
    with tempfile.TemporaryDirectory(prefix="avatar-") as scratch:
        stage = Path(scratch) / usd.FILE
        usd.write_stage(avatar, stage)
        if not pxr.UsdUtils.CreateNewUsdzPackage(pxr.Sdf.AssetPath(str(stage)), str(folder / FILE)):
            raise AvatarError(f"{avatar.name}: OpenUSD could not pack {FILE}; see its messages above")
