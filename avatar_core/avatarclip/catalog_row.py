"""Prompts of AvatarCLIP's files as a row of a catalog."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass

from avatar_core.avatarclip.hocon import Value
from avatar_core.catalog import RejectedRow, read_catalog
from avatar_core.errors import ConfigError

FILLED_IN = {"shape": "a person", "appearance": "a person", "motion": "standing"}
"""Prompts of which the file says nothing."""
PROMPT_KEYS = {"appearance": "clip.prompt", "motion": "general.text"}
"""Where the reference's files have prompts."""

_APPEARANCE = re.compile(r"an? 3d rendering of (.+) in unreal engine", re.IGNORECASE)
_MOTION = re.compile(r"a rendered 3d man (?:is )?(.+)", re.IGNORECASE)
_FORMULA = ("=", "+", "-", "@")
"""What makes a spreadsheet compute the text of a field."""


@dataclass(frozen=True)
class Row:
    """One row of a catalog, as text."""

    fields: Mapping[str, str]
    """By column: id, shape, appearance, motion."""
    filled_in: tuple[str, ...]
    """Columns of which the file says nothing."""

    def csv(self) -> str:
        """Return a catalog of this one row."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([self.fields.keys(), self.fields.values()])
        return text.getvalue()


def row_of(source: str, stem: str, conf: Mapping[str, Value]) -> Row:
    """Return the row of a file called `source`, whose name without its ending is `stem`.

    Raises ConfigError where a prompt cannot be one of a catalog's.
    """
    prompts: dict[str, str] = {}
    for (column, key), template in zip(PROMPT_KEYS.items(), (_APPEARANCE, _MOTION)):
        if key not in conf:
            continue
        text = " ".join(str(conf[key]).split())
        if text.startswith(_FORMULA):
            raise ConfigError(f"{source}: {key}: begins like a spreadsheet's formula; begin it with a word.")
        found = template.fullmatch(text)
        prompts[column] = found[1] if found else text
    folder = str(conf.get("general.base_exp_dir", "")).rstrip("/").rpartition("/")[2]
    fields = {"id": _id(folder) or _id(stem), **FILLED_IN, **prompts}
    row = Row(fields, tuple(column for column in FILLED_IN if column not in prompts))
    checked = next(iter(read_catalog(io.BytesIO(row.csv().encode()))))
    if isinstance(checked, RejectedRow):
        key = PROMPT_KEYS.get(checked.field, "general.base_exp_dir")
        raise ConfigError(f"{source}: {key}: {checked.reason}; {checked.remedy}.")
    return row


def _id(text: str) -> str:
    """Return a name of the letters, digits, points and dashes of a text."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:80]
