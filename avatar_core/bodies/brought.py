"""Body models that users brought: converted once, kept as safe files in a folder of their own, found by name.

A model is two files: NAME-DIGEST.npz with its arrays, and NAME.json, which is written last and says what it is.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from avatar_core.bodies.smpl_files import ModelFile, model_files
from avatar_core.bodies.smpl_format import SmplArrays, read_model
from avatar_core.bodies.smpl_kinds import GENDERS, MODEL_NAMES, model_name
from avatar_core.bodies.smpl_pickle import UnsuitableModel
from avatar_core.documents import read_json
from avatar_core.errors import ConfigError, WeightsError
from avatar_core.storage.paths import remove_stale, write_atomic

logger = logging.getLogger(__name__)

ADD = "avatars models add PATH"
"""The command that adds a model."""
_STALE_SECONDS = 3600.0
_DIGITS = 16


@dataclass(frozen=True)
class ModelRecord:
    """What is known of one model."""

    name: str
    """As catalogs call it: smpl, smplx-female."""
    kind: str
    """smpl, smplh or smplx."""
    gender: str
    """neutral, male or female."""
    digest: str
    """sha256 (hex) of the converted arrays."""
    source: str
    """Name of the file that it came from, without its folder."""
    licence: str
    vertices: int
    joints: int
    file: str
    """Name of the converted file."""


@dataclass(frozen=True)
class Added:
    """What adding a download did."""

    records: tuple[ModelRecord, ...]
    skipped: dict[str, str]
    """Files that were not taken, and why."""
    replaced: tuple[str, ...]
    """Names that stood for another model before."""


def models_root() -> Path:
    """Return the folder of the models: `AVATARS_MODELS`, else under `~/.local/share`."""
    override = os.environ.get("AVATARS_MODELS")
    return Path(override).expanduser() if override else Path.home() / ".local/share/avatar-foundry/models"


def brought_names() -> tuple[str, ...]:
    """Return the names of the models that are there."""
    return tuple(name for name in MODEL_NAMES if (models_root() / f"{name}.json").is_file())


def list_models() -> list[ModelRecord]:
    """Return what is known of every model that is there; raises WeightsError when a record is damaged."""
    return [find_model(name) for name in brought_names()]


def find_model(name: str) -> ModelRecord:
    """Return the record of a model; raises ConfigError when there is none, WeightsError when it is damaged."""
    if name not in MODEL_NAMES:
        raise ConfigError(f"{name!r} is no model that can be added; they are called {', '.join(MODEL_NAMES)}")
    path = models_root() / f"{name}.json"
    try:
        record = ModelRecord(**read_json(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(
            f"body {name!r} is not on this machine: add your own download of it once, with `{ADD}` (a zip, folder, "
            f".npz or .pkl), which keeps it in {models_root()}"
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} is damaged ({error}); add the model again: `{ADD}`") from error
    if record.name != name or Path(record.file).name != record.file:
        raise WeightsError(f"{path} is the record of something else; add the model again: `{ADD}`")
    return record


def load_model(name: str) -> tuple[ModelRecord, SmplArrays]:
    """Return a model with its arrays; raises ConfigError when there is none, WeightsError when it is damaged."""
    record = find_model(name)
    path = models_root() / record.file
    try:
        arrays = SmplArrays.from_bytes(path.read_bytes(), str(path))
    except (OSError, WeightsError) as error:
        raise WeightsError(f"{path} cannot be read ({error}); add the model again: `{ADD}`") from error
    if arrays.digest != record.digest:
        raise WeightsError(f"{path} was altered since it was added; add the model again: `{ADD}`")
    return record, arrays


def add_models(path: Path, gender: str | None = None) -> Added:
    """Convert and keep every model of a download; one of a name that is there already is replaced.

    Args:
        path: a zip, folder, .npz or .pkl of SMPL, SMPL-H or SMPL-X.
        gender: neutral, male or female; None: as the files' names say.
    Raises:
        WeightsError: the download is not safe to read, or no model is in it.
        ConfigError: there is no such gender, or neither it nor a file's name says whose body it is.
    """
    if gender is not None and gender not in GENDERS:
        raise ConfigError(f"--gender {gender!r} is none of {', '.join(GENDERS)}")
    converted: dict[str, tuple[ModelRecord, SmplArrays]] = {}
    skipped: dict[str, str] = {}
    for file in model_files(path):
        try:
            arrays = read_model(file.content, file.name)
        except UnsuitableModel as error:
            skipped[file.name] = str(error)
            continue
        record = _record(file, arrays, gender)
        if record.name in converted:
            skipped[file.name] = f"{file.name}: {converted[record.name][0].source} is the same body, {record.name}"
        else:
            converted[record.name] = record, arrays
    if not converted:
        reasons = "\n".join(skipped.values()) or "it holds no .npz and no .pkl"
        raise WeightsError(f"{path}: there is no SMPL, SMPL-H or SMPL-X model in it:\n{reasons}")
    before = {record.name: record.digest for record in _readable()}
    for record, arrays in converted.values():
        _keep(record, arrays)
    records = tuple(record for record, _ in converted.values())
    replaced = tuple(one.name for one in records if before.get(one.name, one.digest) != one.digest)
    return Added(records, skipped, replaced)


def remove_model(name: str) -> ModelRecord:
    """Delete a model from this machine and return what it was; raises ConfigError when it is not there."""
    record = find_model(name)
    (models_root() / f"{name}.json").unlink(missing_ok=True)
    _drop_files(name)
    return record


def _record(file: ModelFile, arrays: SmplArrays, gender: str | None) -> ModelRecord:
    said = gender or file.gender
    if said is None:
        raise ConfigError(
            f"{file.name}: its name does not say whose body it is; give --gender {', '.join(GENDERS[:-1])} or "
            f"{GENDERS[-1]}"
        )
    kind, digest = arrays.kind, arrays.digest
    name = model_name(kind.name, said)
    return ModelRecord(
        name=name,
        kind=kind.name,
        gender=said,
        digest=digest,
        source=Path(file.name).name,
        licence=kind.licence,
        vertices=len(arrays.template),
        joints=len(arrays.regressor),
        file=f"{name}-{digest[:_DIGITS]}.npz",
    )


def _keep(record: ModelRecord, arrays: SmplArrays) -> None:
    root = models_root()
    try:
        write_atomic(root / record.file, arrays.to_bytes())
        write_atomic(root / f"{record.name}.json", (json.dumps(asdict(record), indent=2) + "\n").encode())
    except OSError as error:
        raise WeightsError(f"{root}: nothing can be written there ({error.strerror}); set AVATARS_MODELS") from error
    _drop_files(record.name, but=record.file)
    remove_stale(root, _STALE_SECONDS)


def _drop_files(name: str, but: str = "") -> None:
    """Delete the converted files of a name."""
    for path in models_root().glob(f"{name}-{'[0-9a-f]' * _DIGITS}.npz"):
        if path.name != but:
            path.unlink(missing_ok=True)


def _readable() -> Iterator[ModelRecord]:
    for name in brought_names():
        try:
            yield find_model(name)
        except WeightsError as error:
            logger.warning("%s", error)
