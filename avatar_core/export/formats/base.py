"""What a file format is to the rest of the project."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from avatar_core.export.finished import FinishedAvatar

Writer = Callable[[FinishedAvatar, Path], None]
"""Writes the files of one avatar into an existing folder; raises AvatarError where a tool or package is missing."""


@dataclass(frozen=True)
class Format:
    """One way to write an avatar down."""

    name: str
    """What a user calls it."""
    summary: str
    """What it holds and who reads it."""
    files: tuple[str, ...]
    """Names of the files that it consists of, the main one first."""
    module: str
    """Module of this package whose `write` is its Writer; loaded when it is first used."""
    version: int = 1
    """Raised when the files that it writes change."""
