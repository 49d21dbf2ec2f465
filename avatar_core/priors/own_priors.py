"""Priors that users trained with this project's own commands, checked before they are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from avatar_core.documents import read_json
from avatar_core.errors import WeightsError
from avatar_core.licences.terms import AUTHORS_SAY
from avatar_core.priors.motion_data import MEASURES
from avatar_core.priors.motion_vae import MotionCodebook, MotionVAE
from avatar_core.priors.pose_vae import PoseCodebook, PoseVAE
from avatar_core.storage.model_folder import ADD

OWN_FILES = ("config.json", "model.safetensors", "codebook.safetensors", "codebook.json")
"""What a trained prior consists of."""
FILE_BYTES = 1 << 28
LARGEST_SIZE = 4096
"""Of the networks' sizes in config.json."""


@dataclass(frozen=True)
class OwnKind:
    """One of the priors that this project trains."""

    title: str
    use: str
    """The setting that chooses it."""
    written: str
    """What its config.json calls it."""
    model: Callable[[Path], nn.Module]
    codebook: Callable[[Path], PoseCodebook | MotionCodebook]


OWN_KINDS: dict[str, OwnKind] = {
    "own-poses": OwnKind(
        "A pose prior that you trained", "candidate_poses.prior: own", "pose_vae", PoseVAE.load, PoseCodebook.load
    ),
    "own-motion": OwnKind(
        "A motion prior that you trained", "motion.prior: own", "motion_vae", MotionVAE.load, MotionCodebook.load
    ),
}
"""By the names that they are kept by."""


def own_kind(path: Path) -> str | None:
    """Return the name of the prior that training wrote to a folder; None where it is no such folder."""
    written = _config(path).get("kind")
    return next((name for name, kind in OWN_KINDS.items() if kind.written == written), None)


def read_own(name: str, folder: Path) -> tuple[dict[str, bytes], dict[str, Tensor]]:
    """Return the files and tensors of a trained prior, once they were found to fit each other.

    Raises WeightsError when they do not, are not finite, or are larger than any prior.
    """
    files = {}
    for file in OWN_FILES:
        path = folder / file
        if path.is_symlink() or not path.is_file() or path.stat().st_size > FILE_BYTES:
            raise WeightsError(
                f"{path}: no plain file of at most {FILE_BYTES >> 20} MiB; give the folder that training wrote, whole"
            )
        files[file] = path.read_bytes()
    for key, value in _config(folder).items():
        if key != "kind" and not (isinstance(value, int) and 0 < value <= LARGEST_SIZE):
            raise WeightsError(f"{folder / 'config.json'}: {key} is {value!r}, not 1 to {LARGEST_SIZE}; train it again")
    kind = OWN_KINDS[name]
    try:
        model, codebook = kind.model(folder), kind.codebook(folder)
    except TypeError as error:
        raise WeightsError(f"{folder / 'config.json'}: {error}; train it again with this version") from error
    tensors = model.state_dict() | {"codebook": codebook.latents}
    for tensor, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise WeightsError(f"{folder}: {tensor} holds values that are not finite; train it again, then `{ADD}`")
    return files, tensors


def own_licence(folder: Path) -> str:
    """Return what is recorded of a trained prior's terms: those of its motion, as training noted them."""
    said = _json(folder / MEASURES).get("licences")
    known = [text for text in said if isinstance(text, str) and text] if isinstance(said, list) else []
    return AUTHORS_SAY + "; ".join(known) if known else "trained by the user; mind the terms of the motion"


def _config(folder: Path) -> dict[str, Any]:
    return _json(folder / "config.json")


def _json(path: Path) -> dict[str, Any]:
    """The object in a file; empty where there is none."""
    if not path.is_file() or path.stat().st_size > FILE_BYTES:
        return {}
    try:
        found = read_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
