"""HOCON files are read as plain values; what would reach beyond the file, or take long, is refused by line or key."""

import os
from pathlib import Path

import pyparsing
import pytest
from avatarclip_confs import CONFS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avatar_core.avatarclip import hocon
from avatar_core.avatarclip.hocon import MOST_BRACKETS, MOST_BYTES, MOST_TOKENS, read_hocon
from avatar_core.errors import ConfigError


def read(tmp_path: Path, text: str | bytes) -> dict:
    path = tmp_path / "mine.conf"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_hocon(path)


def read_or_refuse(tmp_path: Path, text: str) -> list[str] | None:
    """The keys of a text that is a configuration, or None; whatever is raised but the project's own error fails."""
    try:
        return list(read(tmp_path, text.encode("utf-8", "surrogatepass")))
    except ConfigError:
        return None


def refusal(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert "mine.conf" in str(caught.value)
    return str(caught.value)


def test_values_come_by_dotted_key_in_the_files_order(tmp_path):
    text = 'b { a = 1, c : [1.5, 2,] }\na.x = -5e-4 # so\n// no\nb.d = True\nt = some words\nq = "a, b" \nn = null\n'
    assert list(read(tmp_path, text).items()) == [
        ("b.a", 1), ("b.c", [1.5, 2]), ("b.d", True), ("a.x", -5e-4), ("t", "some words"), ("q", "a, b"), ("n", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("t = a rendered 3d man is walking", "a rendered 3d man is walking"),
        ("t = a 3 day walk  # long", "a 3 day walk"),
        ("t = a 3d man // so", "a 3d man"),
        ('t = "x: a 3d man, tall"', "x: a 3d man, tall"),
        ("t { u = a 3d man }", "a 3d man"),
        ("t = a 3D man\r\n", "a 3D man"),
    ],
)
def test_three_d_is_not_three_days(text, value, tmp_path):
    assert list(read(tmp_path, text).values()) == [value]


@pytest.mark.parametrize(
    "include",
    [
        'include "{}"', 'include file("{}")', 'include required(file("{}"))', 'a {{ INCLUDE "{}" }}',
        'a = [include "{}"]', 'include url("file://{}")', 'include\t"{}"', 'include"{}"', 'a = 1, incLude "{}"',
        'ınclude "{}"', 'include package("avatar_core:{}")', 'include classpath("{}")', 'include "http://127.0.0.1:1{}"',
    ],
)  # fmt: skip
def test_includes_are_refused_and_never_followed(include, tmp_path, monkeypatch):
    secret = tmp_path / "secret.conf"
    secret.write_text("password = hunter2")

    def opened(*args, **kwargs):
        pytest.fail("the include was followed")

    monkeypatch.setattr(hocon.ConfigFactory, "parse_file", opened)
    monkeypatch.setattr(hocon.ConfigFactory, "parse_URL", opened)
    message = refusal(tmp_path, "first = 1\n" + include.format(secret))
    assert "line 2" in message
    assert "include" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "text", ["a = ${SECRET}", "a = ${?SECRET}", "SECRET = ${SECRET}x", "a = [1]\na += 2", 'b = "x"${SECRET}']
)
def test_substitutions_are_refused_and_the_environment_is_not_read(text, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    message = refusal(tmp_path, text)
    assert "substitution" in message
    assert "write the value itself" in message
    assert "hunter2" not in message


def test_a_bomb_of_substitutions_ends_at_once(tmp_path):
    lines = ["a0 = xxxxxxxxxx", *(f"a{level} = {f'${{a{level - 1}}}' * 10}" for level in range(1, 30))]
    assert "substitution" in refusal(tmp_path, "\n".join(lines))


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 5000, "9" * 400, "1e10"])
def test_numbers_beyond_all_settings_are_refused_by_key(number, tmp_path):
    assert "train.end_iter" in refusal(tmp_path, f"train {{ end_iter = {number} }}")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("x" * (MOST_BYTES + 1), "bytes"),
        ("a = [" + "1," * MOST_TOKENS + "1]", "words and brackets"),
        ("a" + "{a" * MOST_BRACKETS + "=[1]" + "}" * MOST_BRACKETS, "brackets"),
        ("[" * 5000, "words and brackets"),
        ("{" * MOST_BRACKETS, "HOCON"),
        ("a = [{b = 1}]", "a: is neither"),
        ("a = [3 d]", "a: is neither"),
        ("", "no settings"),
        ("[1, 2]", "no settings"),
        ("a = b = c", "line 1"),
        ("train {", "HOCON"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_what_is_no_configuration_says_so(text, word, tmp_path):
    assert word in refusal(tmp_path, text)


@pytest.mark.parametrize("depth", range(5, MOST_BRACKETS, 9))
def test_depth_within_the_limit_is_read_or_refused(depth, tmp_path):
    assert read_or_refuse(tmp_path, "a" + "{a" * depth + "=1" + "}" * depth) in (["a" + ".a" * depth], None)


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    for path in (tmp_path, tmp_path / "none.conf"):
        with pytest.raises(ConfigError, match=path.name):
            read_hocon(path)


def test_a_failure_leaves_nothing_behind_in_the_parser(tmp_path):
    before = pyparsing.ParserElement.DEFAULT_WHITE_CHARS
    refusal(tmp_path, "train {")
    assert before == pyparsing.ParserElement.DEFAULT_WHITE_CHARS


PIECES = st.sampled_from(
    ["{", "}", "[", "]", "=", ":", ",", "\n", '"', '"""', "\\", "#", "//", " ", "train", "include", "$", "{a", "1e9",
     "nan", "3 d", "0x", "+", "-", ".", "\t", "é", "\x00", "true", "null", "a.b", "..", "\u2028"]
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.lists(PIECES, max_size=60).map("".join), st.text(max_size=200)))
def test_any_text_is_values_or_one_error(tmp_path, text):
    environment = dict(os.environ)
    keys = read_or_refuse(tmp_path, text)
    assert keys is None or all(isinstance(key, str) for key in keys)
    assert dict(os.environ) == environment


def test_the_references_own_kinds_are_within_the_limits():
    for text in CONFS.values():
        assert len(text) < MOST_BYTES / 4
        assert text.count("{") + text.count("[") < MOST_BRACKETS / 2
