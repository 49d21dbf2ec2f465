"""Reads YAML and JSON that somebody else wrote: plain data alone, and no more work than a short file is worth."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

MAX_YAML = 1 << 20
"""Bytes of the longest YAML file that is read."""
MAX_NODES = 100_000
MAX_DEPTH = 32
MAX_SCALAR = 2000
"""Characters of one value: also bounds the digits of a number, whose arithmetic is quadratic in them."""
SHOWN = 80
"""Characters of a value that a message quotes."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MALFORMED = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What PyYAML raises for text that is no YAML, and for values that are not what their tags say."""


class DocumentError(ValueError):
    """A document that is not read: the message says why, without the file's name."""


def read_yaml(text: str) -> Any:
    """Return the one document of a YAML text as plain data: no objects, no aliases, nothing deep or endless.

    An alias costs a few bytes and may stand for a billion values, so that none is read.
    Raises DocumentError.
    """
    if len(text) > MAX_YAML:
        raise DocumentError(f"it has more than {MAX_YAML >> 10} KiB; cut it")
    try:
        _check_events(text)
        return yaml.load(text, Loader=_Loader)
    except DocumentError:
        raise
    except _MALFORMED as error:
        raise DocumentError(f"it is not valid YAML: {error}") from error


def _check_events(text: str) -> None:
    depth = 0
    events: Iterable[Any] = yaml.parse(text, Loader=_Loader)
    for count, event in enumerate(events):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise DocumentError(f"line {line} repeats a value by an alias; write it out")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_SCALAR:
            raise DocumentError(f"line {line} has a value of more than {MAX_SCALAR} characters; shorten it")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or count > MAX_NODES:
            raise DocumentError(f"it has more than {MAX_NODES:,} values or {MAX_DEPTH} levels; cut it")


def read_yaml_file(path: Path) -> Any:
    """Return the document of a YAML file as `read_yaml` does; raises OSError and DocumentError."""
    if not path.is_file():  # a pipe or a device would never end
        raise FileNotFoundError("there is no such file")
    with path.open("rb") as file:
        content = file.read(MAX_YAML + 1)
    try:
        return read_yaml(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DocumentError(f"it is not UTF-8 text ({error})") from error


def read_json(content: bytes | str) -> Any:
    """Return what a JSON text holds; raises ValueError for anything else, however deep it is nested."""
    try:
        return json.loads(content)
    except RecursionError as error:
        raise DocumentError("it is nested too deep") from error


def shown(value: Any) -> str:
    """Return a value of plain data as a message quotes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
