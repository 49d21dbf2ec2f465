"""Reports are arranged for a page, whatever is in them."""

import json

import pytest
from gallery_library import REPORT
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.gallery.facts import Score, Timing, read_facts


def test_a_reports_figures_get_their_names_and_units() -> None:
    facts = read_facts(json.dumps(REPORT).encode())
    assert facts is not None
    assert facts.scores[0] == Score("finished: body", 0.31)
    assert facts.scores[-1] == Score("texturing", 0.4, 0.05)
    assert facts.groups["Mesh"] == (("height", "1.72 m"), ("triangles", "1,992"), ("watertight", "yes"))
    assert facts.timings == (Timing("texturing", 5.5, 1.0), Timing("export: preview", 0.5, 0.5 / 5.5))
    assert facts.weights == (("body", "anny", "CC0-1.0", "f3a9" * 16),)
    assert facts.versions == (("numpy", "2.0"),)


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b"{", b"\xff", b"[" * 100_000, b"{}" + b" " * 5_000_000])
def test_what_is_no_report_is_none(content: bytes) -> None:
    assert read_facts(content) is None


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "1" + "0" * 400, '"0.5"', "null", "true", "[]"])
def test_what_is_no_number_is_left_out(number: str) -> None:
    report = f'{{"final_scores": {{"body": {number}}}, "timings_s": {{"x": {number}}}, "mesh": {{"faces": {number}}}}}'
    facts = read_facts(report.encode())
    assert facts is not None
    assert facts.scores == ()
    assert facts.timings == ()
    assert "Mesh" not in facts.groups or number == "true"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*REPORT, "body", "skin", "preset"]), ANYTHING, max_size=8))
def test_any_json_makes_facts_or_none(report: dict) -> None:
    facts = read_facts(json.dumps(report).encode())
    assert facts is not None
    assert all(isinstance(value, str) for rows in facts.groups.values() for row in rows for value in row)
