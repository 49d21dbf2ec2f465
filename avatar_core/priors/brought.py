"""Priors that users brought: recognised by their tensors, converted once, kept as safe files, found by name.

A prior is a folder NAME-DIGEST with model.safetensors (and what else it needs), and NAME.json, which says what it is.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from avatar_core.bodies.smpl_files import ModelFile, model_files
from avatar_core.errors import ConfigError, WeightsError
from avatar_core.licences.registry import registry
from avatar_core.licences.terms import AUTHORS_SAY
from avatar_core.priors.avatarclip_codebooks import (
    is_pose_codebook,
    is_shape_codebook,
    is_shape_vae,
    read_pose_codebook,
    read_shape_codebook,
    read_shape_vae,
)
from avatar_core.priors.avatarclip_flow import is_flow, read_flow
from avatar_core.priors.avatarclip_motion import is_motion, read_motion
from avatar_core.priors.checkpoint_tensors import SUFFIXES, read_checkpoint, state_dict_of
from avatar_core.priors.own_priors import OWN_KINDS, own_kind, own_licence, read_own
from avatar_core.priors.vposer import is_vposer, read_vposer
from avatar_core.priors.weights import file_digest
from avatar_core.storage.model_folder import ADD, DIGITS, is_kept, keep, models_root, read_record, remove

logger = logging.getLogger(__name__)

MODEL = "model.safetensors"


@dataclass(frozen=True)
class PriorKind:
    """One of the priors that can be brought."""

    title: str
    licence: str
    """Name in the registry of licences."""
    use: str
    """The setting that chooses it."""
    fits: Callable[[Any], bool]
    """Whether a checkpoint's content may be it."""
    read: Callable[[Any, str], dict[str, Tensor]]
    """From content and name of the file to its tensors by our names; raises WeightsError."""


def _by_state(
    fits: Callable[[dict[str, Any]], bool], read: Callable[[dict[str, Any], str], dict[str, Tensor]]
) -> tuple[Callable[[Any], bool], Callable[[Any, str], dict[str, Tensor]]]:
    return lambda content: fits(state_dict_of(content)), lambda content, name: read(state_dict_of(content), name)


def _kinds() -> dict[str, PriorKind]:
    poses, shapes = "candidate_poses.prior: avatarclip", "coarse_shape.prior: avatarclip"
    theirs = "LicenseRef-S-Lab-1.0"
    return {
        "vposer": PriorKind(
            "VPoser v2", "LicenseRef-VPoser", "candidate_poses.prior: vposer", *_by_state(is_vposer, read_vposer)
        ),
        "avatarclip-poses": PriorKind(
            "AvatarCLIP's codebook of poses", theirs, poses, is_pose_codebook, read_pose_codebook
        ),
        "avatarclip-flow": PriorKind(
            "AvatarCLIP's pose flow", theirs, f"{poses} with method: realnvp", *_by_state(is_flow, read_flow)
        ),
        "avatarclip-motion": PriorKind(
            "AvatarCLIP's motion VAE", theirs, "motion.prior: avatarclip", *_by_state(is_motion, read_motion)
        ),
        "avatarclip-shape-vae": PriorKind(
            "AvatarCLIP's shape VAE", theirs, shapes, *_by_state(is_shape_vae, read_shape_vae)
        ),
        "avatarclip-shapes": PriorKind(
            "AvatarCLIP's codebook of shapes", theirs, shapes, is_shape_codebook, read_shape_codebook
        ),
    }


CHECKPOINTS: dict[str, PriorKind] = _kinds()
"""The priors that come as PyTorch checkpoints, by name."""
PRIOR_NAMES: tuple[str, ...] = (*CHECKPOINTS, *OWN_KINDS)
"""All names that brought priors can have."""


@dataclass(frozen=True)
class PriorRecord:
    """What is known of one prior."""

    name: str
    title: str
    digest: str
    """sha256 (hex) of the converted files."""
    source: str
    """Name of the file or folder that it came from, without where that lay."""
    licence: str
    tensors: int
    numbers: int
    file: str
    """Name of the folder of converted files."""

    @property
    def contents(self) -> str:
        """What it consists of, in words."""
        return f"{self.title}, {self.tensors} {'tensor' if self.tensors == 1 else 'tensors'}, {self.numbers:,} numbers"

    @property
    def facts(self) -> tuple[str, str, str]:
        """Name, digest and licence: what a result records of it."""
        return self.name, self.digest, self.licence

    @property
    def use(self) -> str:
        """The setting that chooses it."""
        return CHECKPOINTS[self.name].use if self.name in CHECKPOINTS else OWN_KINDS[self.name].use


@dataclass(frozen=True)
class AddedPriors:
    """What adding a download did."""

    records: tuple[PriorRecord, ...]
    skipped: dict[str, str]
    """Files that were not taken, and why."""
    replaced: tuple[str, ...]
    """Names that stood for another prior before."""


def holds_priors(path: Path) -> bool:
    """Tell whether a download holds checkpoints, or is a folder of priors that were trained here."""
    if path.is_file() and path.suffix.lower() != ".zip":
        return path.suffix.lower() in SUFFIXES
    if not path.exists():
        return False
    return own_kind(path) is not None or any(True for _ in model_files(path, SUFFIXES))


def add_priors(path: Path) -> AddedPriors:
    """Convert and keep every prior of a download; one of a name that is there already is replaced.

    Args:
        path: a checkpoint, a folder or zip of such, or the folder that training wrote.
    Raises:
        WeightsError: the download is not safe to read, a tensor does not fit, or no prior is in it.
    """
    converted: dict[str, tuple[PriorRecord, dict[str, bytes]]] = {}
    skipped: dict[str, str] = {}
    kind = own_kind(path)
    if kind is not None:
        files, tensors = read_own(kind, path)
        title, licence = OWN_KINDS[kind].title, own_licence(path)
        converted[kind] = _record(kind, title, licence, path.absolute().name, tensors, files), files
    else:
        for file in sorted(model_files(path, SUFFIXES), key=_newest_first):
            _convert(file, converted, skipped)
    if not converted:
        reasons = "\n".join(skipped.values()) or f"it holds no {', '.join(SUFFIXES)}"
        raise WeightsError(f"{path}: there is no prior in it that is known:\n{reasons}")
    before = {name: find_prior(name).digest for name in converted if is_kept(name)}
    for record, files in converted.values():
        keep(record, files)
    records = tuple(record for record, _ in converted.values())
    return AddedPriors(
        records, skipped, tuple(one.name for one in records if before.get(one.name, one.digest) != one.digest)
    )


def find_prior(name: str) -> PriorRecord:
    """Return the record of a prior; raises ConfigError when there is none, WeightsError when it is damaged."""
    title = CHECKPOINTS[name].title if name in CHECKPOINTS else OWN_KINDS[name].title
    return read_record(
        name,
        PriorRecord,
        f"{title} ({name}) is not on this machine: add yours once, with `{ADD}`, which keeps it in {models_root()}; "
        "docs/priors.md says where to get it",
    )


def list_priors() -> list[PriorRecord]:
    """Return what is known of every prior that is there; raises WeightsError when a record is damaged."""
    return [find_prior(name) for name in PRIOR_NAMES if is_kept(name)]


def prior_folder(name: str) -> tuple[PriorRecord, Path]:
    """Return a prior's record and the folder of its files, which are checked to be what was added.

    Raises ConfigError when it is not there, WeightsError when it is damaged.
    """
    record = find_prior(name)
    folder = models_root() / record.file
    try:
        digest = _digest({path.name: file_digest(path) for path in folder.iterdir()})
    except OSError as error:
        raise WeightsError(f"{folder} cannot be read ({error}); add the model again: `{ADD}`") from error
    if digest != record.digest:
        raise WeightsError(f"{folder} was altered since it was added; add the model again: `{ADD}`")
    return record, folder


def load_prior(name: str) -> tuple[PriorRecord, dict[str, Tensor]]:
    """Return a prior that came as a checkpoint: its record and tensors by our names; raises as `prior_folder` does."""
    record, folder = prior_folder(name)
    try:
        return record, load_file(folder / MODEL)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{folder} cannot be read ({error}); add the model again: `{ADD}`") from error


def remove_prior(name: str) -> PriorRecord:
    """Delete a prior from this machine and return what it was; raises ConfigError when it is not there."""
    if name not in PRIOR_NAMES:
        raise ConfigError(f"{name!r} is no prior that can be added; they are called {', '.join(PRIOR_NAMES)}")
    record = find_prior(name)
    remove(name)
    return record


def _convert(
    file: ModelFile, converted: dict[str, tuple[PriorRecord, dict[str, bytes]]], skipped: dict[str, str]
) -> None:
    content = read_checkpoint(file)
    name = next((name for name, kind in CHECKPOINTS.items() if kind.fits(content)), None)
    if name is None:
        titles = ", ".join(kind.title for kind in CHECKPOINTS.values())
        skipped[file.name] = f"{file.name} is none of {titles}: it holds {_outline(content)}"
    elif name in converted:
        skipped[file.name] = f"{file.name}: {converted[name][0].source} is taken as {name}"
    else:
        kind = CHECKPOINTS[name]
        tensors = kind.read(content, file.name)
        files = {MODEL: save({key: value.contiguous() for key, value in sorted(tensors.items())})}
        licence = AUTHORS_SAY + registry().licences[kind.licence].title
        converted[name] = _record(name, kind.title, licence, Path(file.name).name, tensors, files), files


def _record(
    name: str, title: str, licence: str, source: str, tensors: dict[str, Tensor], files: dict[str, bytes]
) -> PriorRecord:
    digest = _digest({file: hashlib.sha256(content).hexdigest() for file, content in files.items()})
    return PriorRecord(
        name=name,
        title=title,
        digest=digest,
        source=source,
        licence=licence,
        tensors=len(tensors),
        numbers=sum(value.numel() for value in tensors.values()),
        file=f"{name}-{digest[:DIGITS]}",
    )


def _digest(files: dict[str, str]) -> str:
    """Digest of a prior's files, from their digests by name."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()


def _newest_first(file: ModelFile) -> tuple[int, str]:
    """Snapshots of one training have the epoch in their name; the last one is taken."""
    epoch = re.search(r"epoch=(\d+)", file.name)
    return -int(epoch.group(1)) if epoch else 0, file.name


def _outline(content: Any) -> str:
    """A few names of what a checkpoint holds."""
    names: Iterable[Any] = state_dict_of(content) or (content if isinstance(content, dict) else [])
    shown = [str(name)[:40] for name, _ in zip((name for name in names if isinstance(name, str)), range(5))]
    return f"{', '.join(shown)}, …" if shown else f"a {type(content).__name__}"
