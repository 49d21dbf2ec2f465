"""AvatarCLIP's configuration files as presets: what is mapped, what is corrected, what is ignored and why."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from avatar_core.avatarclip import appearance_keys, motion_keys, network_keys
from avatar_core.avatarclip.catalog_row import Row, row_of
from avatar_core.avatarclip.hocon import Value, read_hocon
from avatar_core.avatarclip.rules import Entry, Fate, Outcome, Rule
from avatar_core.config import Preset, load_preset, preset_of
from avatar_core.errors import ConfigError

PARENT = "paper"
"""The preset that imported ones differ from."""


@dataclass(frozen=True)
class Note:
    """What became of one key."""

    key: str
    value: str
    fate: Fate
    settings: Mapping[str, Any]
    """Of the preset, by dotted path."""
    reason: str


@dataclass(frozen=True)
class Kind:
    """A kind of the reference's files."""

    name: str
    rules: Mapping[str, Rule]
    prefixes: Mapping[str, Rule]
    """Rules of all keys that begin so and have none of their own."""
    defaults: Mapping[str, Value]
    """What the reference takes where a file is silent."""
    told: bool
    """Whether those defaults decide settings, and are told of."""
    traps: Mapping[str, str]
    """What is corrected without a key."""


_APPEARANCE = {**appearance_keys.GENERAL, **network_keys.MODEL}
KINDS = {
    "motion": Kind("motion", motion_keys.RULES, {}, motion_keys.DEFAULTS, False, motion_keys.ALWAYS_CORRECTED),
    "appearance": Kind(
        "appearance",
        {**_APPEARANCE, **appearance_keys.TRAIN, **appearance_keys.PROMPTS},
        network_keys.MODEL_PREFIXES,
        appearance_keys.TRAIN_DEFAULTS,
        True,
        appearance_keys.ALWAYS_CORRECTED,
    ),
    "base model": Kind(
        "base model",
        _APPEARANCE,
        {**network_keys.MODEL_PREFIXES, "train.": appearance_keys.BASE_MODEL},
        {},
        False,
        {},
    ),
}


@dataclass(frozen=True)
class Imported:
    """A file of AvatarCLIP's as a preset and a row of a catalog."""

    source: str
    """The file's name."""
    kind: str
    """`appearance`, `base model` or `motion`."""
    notes: tuple[Note, ...]
    """One for each key, in the file's order, and for what is corrected without one."""
    differences: Mapping[str, Any]
    """From the preset PARENT, nested."""
    preset: Preset
    row: Row

    def yaml(self) -> str:
        """Return the preset's file: a short YAML of differences."""
        head = {"extends": PARENT, "description": f"Imported from AvatarCLIP's {self.source}."}
        texts = [yaml.safe_dump(head, sort_keys=False, allow_unicode=True)]
        if self.differences:
            texts.append(yaml.safe_dump(self.differences, sort_keys=False, default_flow_style=None))
        return "".join(texts)


def import_conf(path: Path) -> Imported:
    """Read one of AvatarCLIP's HOCON files; see `docs/paper.md` for what becomes of its keys.

    Raises ConfigError where the file cannot be read, is none of AvatarCLIP's, or holds a value that no setting can
    take over; the message names the file, the key and the remedy.
    """
    values = read_hocon(path)
    kind = KINDS[_kind(path.name, values)]
    conf = {**kind.defaults, **values}
    silent = [key for key in kind.defaults if key not in values] if kind.told else []
    notes = [_note(Entry(path.name, key, conf[key], conf), kind, key in values) for key in [*values, *silent]]
    notes += [Note(key, "", Fate.CORRECTED, {}, reason) for key, reason in kind.traps.items()]
    differences = _differences(notes)
    preset = preset_of({"extends": PARENT, **differences}, path.name)
    return Imported(path.name, kind.name, tuple(notes), differences, preset, row_of(path.name, path.stem, values))


def _kind(source: str, values: Mapping[str, Value]) -> str:
    sections = {key.partition(".")[0] for key in values}
    if sections & {"pose_generator", "motion_generator"}:
        return "motion"
    if "clip" in sections:
        return "appearance"
    if sections & {"model", "train"}:
        return "base model"
    raise ConfigError(
        f"{source}: is no configuration of AvatarCLIP's: it has none of the sections clip, train, model, "
        "pose_generator and motion_generator. Give one of AppearanceGen/confs or AvatarAnimate/confs."
    )


def _note(entry: Entry, kind: Kind, written: bool) -> Note:
    outcome = _outcome(entry, kind)
    value = str(entry.value) if written else f"{entry.value} (AvatarCLIP's default)"
    return Note(entry.key, value, outcome.fate, outcome.settings, outcome.reason)


def _outcome(entry: Entry, kind: Kind) -> Outcome:
    if entry.key in kind.rules:
        return kind.rules[entry.key](entry)
    for prefix, rule in kind.prefixes.items():
        if entry.key.startswith(prefix):
            return rule(entry)
    close = difflib.get_close_matches(entry.key[:80], kind.rules, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return Outcome(Fate.UNKNOWN, reason=f"AvatarCLIP reads no such key{hint}")


def _differences(notes: list[Note]) -> dict[str, Any]:
    """Return the settings of all notes that the parent does not have already, nested."""
    parent = load_preset(PARENT)
    nested: dict[str, Any] = {}
    for path, value in {path: value for note in notes for path, value in note.settings.items()}.items():
        *sections, name = path.split(".")
        inherited = getattr(reduce(getattr, sections, parent), name)
        if value == (list(inherited) if isinstance(inherited, tuple) else inherited):
            continue
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return nested
