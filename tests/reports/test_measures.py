"""The table of measures: what it reads of a report, and how it is shown."""

import math

import pytest
from sample_reports import sample_report

from avatar_core.export.report import Report
from avatar_core.reports.measures import MEASURES, STAGES, Measure, at, number

BY_NAME = {measure.name: measure for measure in MEASURES}


def test_a_whole_report_has_every_measure():
    report = sample_report(timings_s=dict.fromkeys(STAGES, 1.0))
    assert [measure.name for measure in MEASURES if measure.read(report) is None] == []
    Report.model_validate(sample_report(body={}, outfit={}))


def test_names_are_unique_and_what_is_better_has_a_least_difference():
    assert len(BY_NAME) == len(MEASURES)
    assert all(measure.least > 0 for measure in MEASURES if measure.better)
    assert all(measure.better for measure in MEASURES if measure.limit is not None)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("mesh.faces", 36000.0, "36,000"),
        ("mesh.watertight", 0.0, "no"),
        ("mesh.self_intersecting", 0.001, "0.10 %"),
        ("skin.worst_stretch", 2.345, "×2.35"),
        ("texture.relief", 4.04, "4.0°"),
        ("motion.ground_penetration", 0.0124, "12.4 mm"),
        ("judge.body", -0.0214, "−0.021"),
        ("mesh.faces", None, "–"),
    ],
)
def test_numbers_are_shown_with_their_units(name, value, shown):
    assert BY_NAME[name].shown(value).replace("\N{NO-BREAK SPACE}", " ") == shown


def test_limits_are_crossed_on_the_bad_side_only():
    up = Measure("x", "mesh", "X", "", at("x"), better=1, limit=1.0)
    down = Measure("x", "mesh", "X", "", at("x"), better=-1, limit=1.0)
    assert [up.is_odd(value) for value in (0.5, 1.0, 2.0)] == [True, False, False]
    assert [down.is_odd(value) for value in (0.5, 1.0, 2.0)] == [False, False, True]
    assert not up.is_odd(None)
    assert not Measure("x", "mesh", "X", "", at("x")).is_odd(5.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, 10**400, "3", None, [], {}])
def test_only_numbers_of_a_measured_size_are_numbers(value):
    assert number(value) is None


def test_the_export_s_time_is_the_sum_of_its_parts():
    assert BY_NAME["time.export"].read(sample_report()) == 5.0
    assert BY_NAME["time.texturing"].read(sample_report()) == 60.0
    assert BY_NAME["time.motion"].read(sample_report()) is None
