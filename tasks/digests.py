"""Which weight files each stage reads, and their digests: what makes a key change when weights do."""

import functools
import hashlib
import importlib.resources
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avatar_core.errors import WeightsError
from avatar_core.storage.refs import file_digest

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".json", ".txt", ".model")
"""Files that decide what a model computes: weights, settings, tokenizers. Cards do not."""
NO_WEIGHTS = frozenset({"measures.json"})

EMBEDDED_BODY, EMBEDDED_BODY_FOLDER = "anny", "anny_compact"
DEFAULT_ENCODER = "bodyclip"

READS: Mapping[str, tuple[str, ...]] = {
    "coarse_shape": ("body", "encoder", "shape_codebook", "view_readers"),
    "implicit_init": ("body",),
    "candidate_poses": ("body", "encoder", "pose_vae", "view_readers"),
    "motion": ("body", "encoder", "pose_vae", "motion_vae", "view_readers"),
    "texturing": ("body", "encoder"),
    "export": ("body", "encoder", "judge"),
}
"""The models that each stage reads, by role; roles other than body and encoder are folders of the shipped weights."""
METHOD_READS: Mapping[tuple[str, str], tuple[str, ...]] = {("candidate_poses", "realnvp"): ("real_nvp",)}
"""What a stage reads besides when its settings choose a method, by stage and method."""
OPTIONAL = frozenset({"view_readers"})
"""Folders that a stage does without when they are not there."""


def weights_root() -> Path:
    """Return the folder of the weights that are shipped with the package."""
    return Path(str(importlib.resources.files("avatar_core") / "weights"))


@functools.cache
def folder_digest(folder: Path) -> str:
    """Return the SHA-256 of the names and contents of a model's files.

    Raises WeightsError when the folder holds none.
    """
    files = sorted(path for path in folder.rglob("*") if _decides(path))
    if not files:
        raise WeightsError(f"{folder}: no weights there; install the package again, or give the folder of a model.")
    listing = "\n".join(f"{path.relative_to(folder).as_posix()} {file_digest(path)}" for path in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def _decides(path: Path) -> bool:
    return path.is_file() and path.suffix in WEIGHT_SUFFIXES and path.name not in NO_WEIGHTS


def encoder_digest(name_or_path: str) -> str:
    """Return the digest of an encoder: the embedded one, a folder, a model by its hub name or one of OpenAI's clip."""
    if name_or_path == DEFAULT_ENCODER:
        return folder_digest(weights_root() / DEFAULT_ENCODER)
    folder = Path(name_or_path).expanduser()
    return folder_digest(folder.resolve()) if folder.is_dir() else _fetched_digest(name_or_path)


@functools.cache
def _fetched_digest(name: str) -> str:
    from avatar_core.perception.encoder import load_encoder

    return load_encoder(name, "cpu").digest


def body_digest(name: str) -> str:
    """Return the digest of a body model: the embedded one, or one that a user added.

    Raises ConfigError, which says how to add it, when it is not on this machine.
    """
    if name == EMBEDDED_BODY:
        return folder_digest(weights_root() / EMBEDDED_BODY_FOLDER)
    from avatar_core.bodies import check_body
    from avatar_core.bodies.brought import find_model

    check_body(name)
    return find_model(name).digest


def _codebook_digest(body: str) -> str:
    """Return what tells one codebook of a body's shapes from another: its files, or how it is sampled."""
    if body == EMBEDDED_BODY:
        return folder_digest(weights_root() / "shape_codebook")
    from avatar_core.priors.body_codebook import SAMPLING

    return f"sampled {SAMPLING}"


def stage_weights(stage: str, *, config: Mapping[str, Any], body: str, encoder: str) -> dict[str, str]:
    """Return the digests of all weights that `stage` reads with the settings `config`, by role.

    Raises ConfigError when there is no such body or brought prior here, WeightsError when weights are missing.
    """
    digests = {}
    for role in (*READS[stage], *METHOD_READS.get((stage, config.get("method", "")), ())):
        if role == "encoder":
            digests[role] = encoder_digest(encoder)
        elif role == "body":
            digests[role] = body_digest(body)
        elif role == "shape_codebook":
            digests[role] = _codebook_digest(body)
        elif role not in OPTIONAL or (weights_root() / role).is_dir():
            digests[role] = folder_digest(weights_root() / role)
    return digests | _brought_digests(stage, config, body)


def _brought_digests(stage: str, config: Mapping[str, Any], body: str) -> dict[str, str]:
    """Return the digests of the priors that users brought, where the settings choose any.

    Raises ConfigError when one is not on this machine, or is of another body.
    """
    if "prior" not in config:
        return {}
    from avatar_core.priors.brought import find_prior
    from avatar_core.priors.choices import brought_reads, check_shapes_of

    if stage == "coarse_shape":
        check_shapes_of(body, config["prior"])
    return {name: find_prior(name).digest for name in brought_reads(stage, config)}
