"""Compressed GLBs through glTF-Transform's command, which is the reference's own encoders behind one interface."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

from avatar_core.errors import AvatarError, ConfigError
from avatar_core.export.finished import FinishedAvatar

PROGRAM = "gltf-transform"
SECONDS = 600
"""After which the program hangs."""


def compress(avatar: FinishedAvatar, path: Path, method: Literal["meshopt", "draco"]) -> None:
    """Write an avatar to `path` with its mesh (and, by meshopt, its clips) compressed.

    Raises ConfigError where glTF-Transform is not installed, and AvatarError when it fails.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise ConfigError(
            f"{method} compression needs the program {PROGRAM}, which is not on PATH: "
            "npm install --global @gltf-transform/cli"
        )
    with tempfile.TemporaryDirectory(prefix="avatar-") as scratch:
        source, target = Path(scratch) / "avatar.glb", Path(scratch) / "compressed.glb"
        source.write_bytes(avatar.to_glb())
        try:
            done = subprocess.run(
                [program, method, str(source), str(target)],
                capture_output=True, text=True, timeout=SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise AvatarError(f"{avatar.name}: {PROGRAM} could not compress it ({error})") from error
        if done.returncode or not target.is_file():
            raise AvatarError(f"{avatar.name}: {PROGRAM} could not compress it: {(done.stderr or done.stdout)[-500:]}")
        shutil.copyfile(target, path)
