"""The folder of what users brought: each model's converted files, and NAME.json, which is written last and says what
they are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

from avatar_core.documents import read_json
from avatar_core.errors import ConfigError, WeightsError
from avatar_core.storage.paths import remove_entry, remove_stale, write_atomic

ADD = "avatars models add PATH"
"""The command that adds a model."""
DIGITS = 16
"""Of a digest, in the name of what is kept."""
_STALE_SECONDS = 3600.0


class Record(Protocol):
    """What is known of one model; a frozen dataclass."""

    @property
    def name(self) -> str:
        """By which it is found."""
        ...

    @property
    def file(self) -> str:
        """Name of the converted file, or of the folder of such files."""
        ...


Known = TypeVar("Known", bound=Record)


def models_root() -> Path:
    """Return the folder of the models: `AVATARS_MODELS`, else under `~/.local/share`."""
    override = os.environ.get("AVATARS_MODELS")
    return Path(override).expanduser() if override else Path.home() / ".local/share/avatar-foundry/models"


def is_kept(name: str) -> bool:
    """Tell whether there is a model of that name."""
    return (models_root() / f"{name}.json").is_file()


def read_record(name: str, make: Callable[..., Known], missing: str) -> Known:
    """Return the record of a model.

    Args:
        name: of the model; one of the caller's own names.
        make: the record's class.
        missing: what to say when it is not there.
    Raises:
        ConfigError: it is not there.
        WeightsError: its record is damaged.
    """
    path = models_root() / f"{name}.json"
    try:
        record = make(**read_json(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(missing) from None
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} is damaged ({error}); add the model again: `{ADD}`") from error
    if record.name != name or not isinstance(record.file, str) or Path(record.file).name != record.file:
        raise WeightsError(f"{path} is the record of something else; add the model again: `{ADD}`")
    return record


def keep(record: Record, content: bytes | dict[str, bytes]) -> None:
    """Write a model's converted file, or files by name into a folder, and then its record; older ones of its name go.

    Raises WeightsError when nothing can be written there.
    """
    root = models_root()
    files = {record.file: content} if isinstance(content, bytes) else {
        f"{record.file}/{name}": data for name, data in content.items()
    }  # fmt: skip
    try:
        for name, data in files.items():
            write_atomic(root / name, data)
        facts: Any = record
        write_atomic(root / f"{record.name}.json", (json.dumps(asdict(facts), indent=2) + "\n").encode())
    except OSError as error:
        raise WeightsError(f"{root}: nothing can be written there ({error.strerror}); set AVATARS_MODELS") from error
    _drop_files(record.name, but=record.file)
    remove_stale(root, _STALE_SECONDS)


def remove(name: str) -> None:
    """Delete a model's record and files."""
    (models_root() / f"{name}.json").unlink(missing_ok=True)
    _drop_files(name)


def _drop_files(name: str, but: str = "") -> None:
    """Delete the converted files of a name."""
    for path in models_root().glob(f"{name}-{'[0-9a-f]' * DIGITS}*"):
        if path.name != but:
            remove_entry(path)
