"""Where the priors' weights lie, and how their files are checked."""

import hashlib
from pathlib import Path
from typing import Any

import avatar_core
from avatar_core.documents import read_json
from avatar_core.errors import WeightsError


def weights_folder(name: str) -> Path:
    """Return the folder of the weights shipped as `name` (it may not exist)."""
    return Path(avatar_core.__file__).parent / "weights" / name


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex characters."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_config(folder: Path, kind: str) -> dict[str, Any]:
    """Read `folder`/config.json, which must be of `kind`, without that entry.

    Raises WeightsError when it is missing, no JSON object, or of another kind.
    """
    path = folder / "config.json"
    try:
        config = read_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path}: no readable configuration ({error}); give a folder of {kind} weights"
        ) from error
    if not isinstance(config, dict) or config.pop("kind", None) != kind:
        raise WeightsError(f"{path}: not the configuration of a {kind}; give a folder of {kind} weights")
    return config
