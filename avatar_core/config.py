"""Presets: the settings of all stages together, as short YAML files of differences from the defaults."""

import difflib
import importlib.resources
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from avatar_core.documents import DocumentError, read_yaml, read_yaml_file, shown
from avatar_core.errors import ConfigError
from avatar_core.stages.candidate_poses import Config as CandidatePosesConfig
from avatar_core.stages.coarse_shape import Config as CoarseShapeConfig
from avatar_core.stages.export import Config as ExportConfig
from avatar_core.stages.implicit_init import Config as ImplicitInitConfig
from avatar_core.stages.motion import Config as MotionConfig
from avatar_core.stages.texturing import Config as TexturingConfig

DEFAULT_PRESETS = {"cpu": "draft", "cuda": "standard"}
"""Which preset a kind of device gets when the user names none."""

_SUFFIXES = (".yaml", ".yml")
_PARENT_KEY = "extends"
_MAX_PARENTS = 16


class Preset(BaseModel):
    """The settings of one run; each stage's part is defined beside the stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """The packaged preset's name, or the stem of the user's file."""
    description: str = ""
    """One sentence on what the preset is for."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """The seed of rows that give none."""
    body: str = "anny"
    """The body of rows that give none: the embedded one, or one that was added with `avatars models add`."""
    coarse_shape: CoarseShapeConfig = CoarseShapeConfig()
    implicit_init: ImplicitInitConfig = ImplicitInitConfig()
    texturing: TexturingConfig = TexturingConfig()
    candidate_poses: CandidatePosesConfig = CandidatePosesConfig()
    motion: MotionConfig = MotionConfig()
    export: ExportConfig = ExportConfig()

    def stage(self, name: str) -> BaseModel:
        """Return the settings of the stage called `name`."""
        return getattr(self, name)


def preset_names() -> tuple[str, ...]:
    """Return the names of the packaged presets, sorted."""
    folder = importlib.resources.files("configs") / "presets"
    return tuple(sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(_SUFFIXES)))


def load_preset(name_or_path: str | os.PathLike[str]) -> Preset:
    """Return the packaged preset of that name, or the one in a YAML file of the user's.

    A file holds differences only: `extends: draft` (any packaged preset or a path beside the file) names what it
    starts from, and what is not mentioned keeps its value.

    Raises ConfigError for an unknown name, an unreadable file, an unknown key or a value that does not validate;
    the message names the file, the key and the remedy.
    """
    source, settings = _read(os.fspath(name_or_path), base=Path.cwd(), seen=())
    return _validated(source, settings)


def preset_of(settings: Mapping[str, Any], source: str) -> Preset:
    """Return the preset that a file called `source` with these settings would be, without there being such a file.

    Raises ConfigError as `load_preset` does.
    """
    return _validated(source, _resolved(source, dict(settings), folder=Path.cwd(), seen=()))


def _validated(source: str, settings: dict[str, Any]) -> Preset:
    settings.setdefault("name", Path(source).stem)
    try:
        return Preset.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(_explain(source, error)) from error


def _read(name: str, base: Path, seen: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Return the source's name for messages and its settings merged over those of its parents."""
    source, settings, folder = _open(name, base)
    if source in seen:
        raise ConfigError(f"{source}: extends itself through {' -> '.join(seen)}; remove one `{_PARENT_KEY}`.")
    if len(seen) == _MAX_PARENTS:
        raise ConfigError(f"{source}: is the {_MAX_PARENTS}th file that another `{_PARENT_KEY}`; join some of them.")
    settings = {} if settings is None else settings
    if not isinstance(settings, dict):
        raise ConfigError(f"{source}: holds a {type(settings).__name__}; write settings as `stage:` and keys under it.")
    return source, _resolved(source, settings, folder, seen)


def _resolved(source: str, settings: dict[str, Any], folder: Path, seen: tuple[str, ...]) -> dict[str, Any]:
    """Return settings merged over those of the parent that they name."""
    parent = settings.pop(_PARENT_KEY, None)
    if parent is None:
        return settings
    if not isinstance(parent, str):
        raise ConfigError(f"{source}: {_PARENT_KEY}: is {shown(parent)}; give the name of one preset or one file.")
    _, inherited = _read(parent, folder, (*seen, source))
    for key in ("name", "description"):
        inherited.pop(key, None)
    return _merge(inherited, settings)


def _open(name: str, base: Path) -> tuple[str, Any, Path]:
    """Return (name for messages, what the file holds, folder that relative parents are sought in)."""
    if name in preset_names():
        resource = importlib.resources.files("configs") / "presets" / f"{name}.yaml"
        return f"configs/presets/{name}.yaml", read_yaml(resource.read_text(encoding="utf-8")), base
    if not name.endswith(_SUFFIXES) and os.sep not in name:
        names = preset_names()
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigError(
            f"There is no preset {name!r}: {hint}the presets are {', '.join(names)}; "
            "a file of your own is given by its path, ending in .yaml."
        )
    try:
        path = base / Path(name).expanduser()
        return str(path), read_yaml_file(path), path.parent
    except DocumentError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a home that there is not
        raise ConfigError(f"{shown(name)}: cannot be read as a preset ({error}); give a YAML file.") from error


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            merged[key] = _merge(inner, value)
        else:
            merged[key] = value
    return merged


def _explain(source: str, error: ValidationError) -> str:
    """Return one line a problem: file, key, what is wrong and what would be right."""
    lines = []
    for problem in error.errors():
        path = [str(part) for part in problem["loc"]]
        key = ".".join(path)
        if problem["type"] == "extra_forbidden":
            known = _known_keys(path[:-1])
            close = difflib.get_close_matches(path[-1], known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            lines.append(f"{source}: {key}: no such setting; {hint}There are: {', '.join(known)}.")
        else:
            lines.append(f"{source}: {key}: {problem['msg']} (it is {shown(problem['input'])}).")
    return "\n".join(lines)


def _known_keys(path: list[str]) -> list[str]:
    """Return the settings that exist at `path` below a preset."""
    model: Any = Preset
    for part in path:
        field = model.model_fields.get(part)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        model = field.annotation
    return [name for name in model.model_fields if name != "name"]
