"""A HOCON file as plain values by dotted key: nothing else is opened, nothing of the environment is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pyhocon import ConfigFactory
from pyhocon.config_tree import ConfigTree, NoneValue
from pyparsing import ParseBaseException, ParserElement

from avatar_core.errors import ConfigError

Value = bool | int | float | str | list["Value"] | None
"""What a key of a HOCON file can hold."""

MOST_BYTES, MOST_TOKENS, MOST_BRACKETS = 8_192, 800, 60
"""Limits of a file: AvatarCLIP's have some 2,000 bytes, 200 tokens and 14 brackets. pyhocon takes about a millisecond a
token, and a stack frame or more a bracket."""
LARGEST = 1e9
"""Largest magnitude of a number; no setting needs more."""

_TOKEN = re.compile(r"[{}\[\]]|[^\s,=:{}\[\]]+")
# pyhocon compares `include` as upper case, and opens the file while it parses.
_INCLUDE = re.compile(r"INCLUDE\s*(\"|REQUIRED|URL|FILE|PACKAGE|CLASSPATH)")
_SUBSTITUTION = re.compile(r"\$\{|\+=")
# Text after = or : up to the end of the value, skipping quoted strings and comments.
_QUOTED_OR_TEXT = re.compile(
    r'"(?:[^"\\\n]|\\.)*"|(?:#|//)[^\n]*|([=:][ \t]*)([^\s"{}\[\],#$=:\\][^"{}\[\],#$=:\\\n]*)'
)
_PERIOD = re.compile(
    r"(?<!\S)\d+ *([num]s|mo|[smhdwy]|(nano|micro|milli)(second)?s?|(second|minute|hour|day|week|month|year)s?)"
    r"(?![A-Za-z0-9])"
)


def read_hocon(path: Path) -> dict[str, Value]:
    """Return the values of a HOCON file by dotted key, in the order in which they are written.

    Includes and substitutions are refused, wherever they stand, and never followed.

    Raises ConfigError where the file cannot be read, is too large, is no HOCON, or holds what no setting can be; the
    message names the file, the line or the key, and the remedy.
    """
    text = _text(path)
    _guard(path.name, text)
    return dict(_leaves(path.name, _parse(path.name, _quoted(text)), ""))


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise ConfigError(f"{path}: is no file; give one of AvatarCLIP's .conf files.")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); give a readable UTF-8 file.") from error
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{path}: has more than {MOST_BYTES:,} bytes, and AvatarCLIP's some 2,000; shorten it.")
    return text.replace("\r\n", "\n")


def _guard(name: str, text: str) -> None:
    """Refuse what would have to be followed, and what would take long to parse."""
    for pattern, shown, what, remedy in (
        (_INCLUDE, text.upper(), "an include", "put the settings of that file in its place"),
        (_SUBSTITUTION, text, "a substitution (${…} or +=)", "write the value itself"),
    ):
        found = pattern.search(shown)
        if found:
            line = shown.count("\n", 0, found.start()) + 1
            raise ConfigError(f"{name}: line {line}: holds {what}, which is not followed: {remedy}.")
    tokens = _TOKEN.findall(text)
    if len(tokens) > MOST_TOKENS:
        raise ConfigError(f"{name}: has {len(tokens):,} words and brackets, more than {MOST_TOKENS}; shorten it.")
    brackets = sum(token in "{[" for token in tokens)
    if brackets > MOST_BRACKETS:
        raise ConfigError(f"{name}: opens {brackets} brackets, more than {MOST_BRACKETS}; nest less.")


def _quoted(text: str) -> str:
    """Put free text that holds a number and a word in quotes: pyhocon reads the `3d` of "a 3d man" as three days."""

    def quote(match: re.Match[str]) -> str:
        before, value = match[1], match[2]
        if value is None or not _PERIOD.search(value):
            return match[0]
        words = re.split(r"[ \t]*//", value)[0].rstrip()
        return f'{before}"{words}"{value[len(words) :]}'

    return _QUOTED_OR_TEXT.sub(quote, text)


def _parse(name: str, text: str) -> ConfigTree:
    whitespace = ParserElement.DEFAULT_WHITE_CHARS
    try:
        tree = ConfigFactory.parse_string(text, resolve=False)
    except ParseBaseException as error:
        raise ConfigError(
            f"{name}: line {error.lineno}, column {error.column}: is no HOCON; write `key = value` and "
            '`section { … }`, and put text with any of , : = ! ? ( ) [ ] { } in "quotes".'
        ) from error
    except Exception as error:  # whatever the parser makes of hostile text
        reason = str(error).split("\n")[0][:200]
        raise ConfigError(f"{name}: is no HOCON that can be read ({type(error).__name__}: {reason}).") from error
    finally:
        ParserElement.set_default_whitespace_chars(whitespace)  # pyhocon leaves its own behind where it fails
    if not isinstance(tree, ConfigTree) or not tree:
        raise ConfigError(f"{name}: holds no settings; write `key = value` and `section {{ … }}`.")
    return tree


def _leaves(name: str, tree: Mapping[str, object], prefix: str) -> Iterator[tuple[str, Value]]:
    for part, value in tree.items():
        key = f"{prefix}{part.strip(chr(34))}"
        if isinstance(value, ConfigTree):
            yield from _leaves(name, value, f"{key}.")
        else:
            yield key, _leaf(name, key, value)


def _leaf(name: str, key: str, value: object) -> Value:
    if isinstance(value, list):
        return [_leaf(name, key, one) for one in value]
    if value is None or isinstance(value, NoneValue):
        return None
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)):
        if not abs(value) <= LARGEST:  # nor is NaN
            raise ConfigError(f"{name}: {key}: is no number from {-LARGEST:g} to {LARGEST:g}; correct it.")
        return value
    raise ConfigError(f'{name}: {key}: is neither a number, a switch, a text nor a list; put a text in "quotes".')
