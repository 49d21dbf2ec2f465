"""Damaged files: valid small ones with bytes turned, cut, repeated and replaced by what parsers stumble over."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hypothesis import strategies as st

TOKENS = (
    b"NaN", b"-Infinity", b"inf", b"1e999", b"-1", b"0", b"1e-320", b"2147483648", b"18446744073709551616", b"9" * 5000,
    b"0x" + b"f" * 4000, b"../../../../tmp/outside", b"/etc/passwd", b"C:\\x", b"%2e%2e%2f", b"~nobody/x", b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80", b"\r\n", b"=cmd|' /C calc'!A0", b'"', b'"' * 300, b"," * 300, b"[" * 3000, b"{" * 3000, b"(" * 500,
    b'{"a":' * 500, b"- " * 500, b"!!python/object/apply:os.system [id]", b"!!int ''", b"!!timestamp x", b"&a [*a]",
    b"&a [x]\nb: [*a, *a, *a]", b"<<: ", b"null", b"true", b"[]", b"{}", b"'", b"<script>", b"{{ 7 * 7 }}", b"::",
    b"//[",
    b"s3://", b"zip://", b"cos\nsystem\n(S'id'\ntR.", b"\x80\x04", b"PK\x03\x04", "\u202e\u0000é".encode(),
)  # fmt: skip
_WORD = re.compile(rb"[-+.\w]+")
_PLACE = st.integers(0, 2**20)
_CHANGES = st.one_of(
    st.tuples(st.just("turn"), _PLACE, st.integers(1, 255)),
    st.tuples(st.just("cut"), _PLACE, st.just(0)),
    st.tuples(st.just("drop"), _PLACE, st.integers(1, 64)),
    st.tuples(st.just("repeat"), _PLACE, st.integers(1, 64)),
    st.tuples(st.just("insert"), _PLACE, st.sampled_from(TOKENS)),
    st.tuples(st.just("replace"), _PLACE, st.sampled_from(TOKENS)),
    st.tuples(st.just("swap"), _PLACE, _PLACE),
)


def damaged(samples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Inputs of a parser: mostly samples with up to five changes, some made of tokens alone or of any bytes."""
    changed = st.builds(_changed, st.sampled_from(samples), st.lists(_CHANGES, min_size=1, max_size=5))
    loose = st.lists(st.one_of(st.sampled_from(TOKENS), st.text(max_size=20).map(_encoded)), max_size=8).map(b"".join)
    return st.one_of(changed, changed, changed, loose, st.binary(max_size=200))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _changed(sample: bytes, changes: list[tuple]) -> bytes:
    for kind, place, value in changes:
        sample = _change(sample, kind, place % max(len(sample), 1), value)
    return sample


def _change(data: bytes, kind: str, at: int, value) -> bytes:
    if not data:
        return data
    if kind == "turn":
        return data[:at] + bytes([data[at] ^ value]) + data[at + 1 :]
    if kind == "cut":
        return data[:at]
    if kind == "drop":
        return data[:at] + data[at + value :]
    if kind == "repeat":
        return data[:at] + data[at : at + value] * 20 + data[at + value :]
    if kind == "insert":
        return data[:at] + value + data[at:]
    words = list(_WORD.finditer(data))
    if not words:
        return data
    one = words[at % len(words)]
    if kind == "replace":
        return data[: one.start()] + value + data[one.end() :]
    other = words[value % len(words)]
    first, last = sorted((one, other), key=lambda word: word.start())
    if first.end() > last.start():
        return data
    return data[: first.start()] + last[0] + data[first.end() : last.start()] + first[0] + data[last.end() :]
