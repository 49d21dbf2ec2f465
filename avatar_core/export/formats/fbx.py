"""FBX through Blender, since no free library writes skinned FBX: `blender` on PATH, or else the package bpy."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from avatar_core.errors import AvatarError, ConfigError
from avatar_core.export.finished import FinishedAvatar

FILE = "avatar.fbx"
SCRIPT = Path(__file__).with_name("blender_fbx.py")
SECONDS = 600
"""After which Blender hangs."""
_LAST_WORDS = 600
"""Characters of Blender's output that an error shows."""


def write(avatar: FinishedAvatar, folder: Path) -> None:
    """Write avatar.fbx; raises ConfigError without Blender, and AvatarError when it fails."""
    command = blender_command()
    fps = next((clip.fps for clip in avatar.clips.values()), 30)
    with tempfile.TemporaryDirectory(prefix="avatar-") as scratch:
        source, target = Path(scratch) / "avatar.glb", Path(scratch) / FILE
        source.write_bytes(avatar.to_glb())
        arguments = [*command, "--", str(source), str(target), str(fps)]
        # Blender's own Python must not see this one's packages.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        try:
            done = subprocess.run(
                arguments, env=environment, cwd=scratch, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise AvatarError(f"{avatar.name}: Blender could not write {FILE} ({error})") from error
        if done.returncode or not target.is_file():
            words = (done.stderr + done.stdout).strip()[-_LAST_WORDS:]
            raise AvatarError(f"{avatar.name}: Blender could not write {FILE} (status {done.returncode}): {words}")
        shutil.copyfile(target, folder / FILE)


def blender_command() -> list[str]:
    """Return how Blender runs SCRIPT here; raises ConfigError where it is not installed."""
    program = shutil.which("blender")
    if program is not None:
        return [program, "--background", "--factory-startup", "--python-exit-code", "1", "--python", str(SCRIPT)]
    if importlib.util.find_spec("bpy") is not None:
        return [sys.executable, str(SCRIPT)]
    raise ConfigError(
        "FBX files are written by Blender, which is neither on PATH nor installed as a package: install it from "
        "blender.org or with the system's packages (apt install blender), or: pip install bpy"
    )
