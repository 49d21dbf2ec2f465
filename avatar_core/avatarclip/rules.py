"""What can become of a key of AvatarCLIP's: the vocabulary that the tables of keys are written in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from avatar_core.avatarclip.hocon import Value
from avatar_core.errors import ConfigError


class Fate(StrEnum):
    """What becomes of a key."""

    MAPPED = "mapped"
    """A setting of ours, or what is always so, says the same."""
    CORRECTED = "corrected"
    """A setting of ours takes its part, without a trap of the reference's code."""
    IGNORED = "ignored"
    """Nothing here corresponds to it; the reason says why."""
    UNKNOWN = "unknown"
    """AvatarCLIP's code reads no such key: likely a slip of the pen."""


@dataclass(frozen=True)
class Outcome:
    """What a rule makes of a key."""

    fate: Fate
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Values of a preset by dotted path."""
    reason: str = ""


@dataclass(frozen=True)
class Entry:
    """One key of a file, with its neighbours."""

    source: str
    """The file's name, for messages."""
    key: str
    value: Value
    conf: Mapping[str, Value]
    """All keys of the file, the reference's defaults among them."""

    def wrong(self, wanted: str) -> ConfigError:
        """Return the error that names file, key and remedy."""
        return ConfigError(f"{self.source}: {self.key}: is {str(self.value)[:60]!r}; give {wanted}.")

    def whole(self, low: int, high: int) -> int:
        """Return the value as a whole number of a range."""
        value = self.number(low, high)
        if value != int(value):
            raise self.wrong(f"a whole number from {low:,} to {high:,}")
        return int(value)

    def number(self, low: float, high: float) -> float:
        """Return the value as a number of a range."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise self.wrong(f"a number from {low:g} to {high:g}")
        return float(value)

    def switch(self) -> bool:
        """Return the value as true or false."""
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value

    def choice(self, names: Mapping[str, str]) -> str:
        """Return our name for one of the reference's names."""
        if not isinstance(self.value, str) or self.value not in names:
            raise self.wrong(f"one of {', '.join(names)}")
        return names[self.value]

    def other(self, key: str) -> Entry:
        """Return another key of the file; its value is None where the file has none."""
        return Entry(self.source, key, self.conf.get(key), self.conf)


Rule = Callable[[Entry], Outcome]


def whole(*paths: str, low: int = 1, high: int = 10_000_000, reason: str = "") -> Rule:
    """A whole number that some settings take over."""
    return lambda entry: Outcome(Fate.MAPPED, dict.fromkeys(paths, entry.whole(low, high)), reason)


def number(*paths: str, low: float = 0.0, high: float = 1_000.0, fate: Fate = Fate.MAPPED, reason: str = "") -> Rule:
    """A number that some settings take over."""
    return lambda entry: Outcome(fate, dict.fromkeys(paths, entry.number(low, high)), reason)


def ignored(reason: str) -> Rule:
    """A key without counterpart."""
    return lambda entry: Outcome(Fate.IGNORED, reason=reason)


def always(wanted: Value, reason: str) -> Rule:
    """A key of which only one value has a counterpart, and needs no setting; `reason` says what is done here."""

    def rule(entry: Entry) -> Outcome:
        same = isinstance(entry.value, bool) == isinstance(wanted, bool) and entry.value == wanted
        return Outcome(Fate.MAPPED if same else Fate.IGNORED, reason=f"always so: {reason}" if same else reason)

    return rule
