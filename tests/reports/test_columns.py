"""Reports as columns: how measures are spread, and who is worst for what reason."""

import numpy as np
import pytest
from sample_reports import sample_report

from avatar_core.reports.columns import MAX_NAMES, OTHERS, Columns
from avatar_core.reports.measures import MEASURES
from avatar_core.reports.worst import FROM, worst

BY_NAME = {measure.name: measure for measure in MEASURES}
ENCODER = {"name": "other", "digest": "0" * 64, "licence": "unknown"}


def columns_of(*reports: dict) -> Columns:
    columns = Columns()
    for index, report in enumerate(reports):
        columns.add(f"a{index:02d}", report)
    return columns


def crowd(count: int = 30, **changes: object) -> list[dict]:
    """Reports that differ a little, as those of a library do."""
    return [
        sample_report(skin__worst_stretch=2.0 + 0.01 * (index % 7), judge__scores={"body": 0.3 + 0.002 * (index % 5)},
                      **changes)
        for index in range(count)
    ]  # fmt: skip


def test_a_measure_s_spread_is_that_of_the_avatars_that_have_it():
    reports = [sample_report(mesh__faces=value) for value in (10, 20, 30, 40, 50)]
    columns = columns_of(*reports, {"mesh": {"faces": "many"}})
    spread = columns.spread(BY_NAME["mesh.faces"])
    assert (spread.avatars, spread.lowest, spread.median, spread.highest) == (5, 10, 30, 50)
    assert columns.values(BY_NAME["mesh.faces"]).shape == (6,)
    assert columns_of({}).spread(BY_NAME["mesh.faces"]) is None
    assert columns_of().spread(BY_NAME["mesh.faces"]) is None


def test_what_lies_beyond_the_limit_is_counted():
    columns = columns_of(*(sample_report(motion__foot_skate_mm=value) for value in (1.0, 5.0, 5.1, 9.0)))
    assert columns.spread(BY_NAME["motion.foot_skate"]).beyond == 2


def test_fit_is_told_apart_by_the_guiding_encoder():
    other = [sample_report(final_scores__body=0.9, weights__encoder=ENCODER) for _ in range(3)]
    columns = columns_of(sample_report(), *other)
    assert columns.encoders == ["bodyclip", "other"]
    assert columns.spread(BY_NAME["fit.body"], 0).median == 0.3
    assert columns.spread(BY_NAME["fit.body"], 1).avatars == 3


def test_hostile_names_fill_no_memory():
    columns = columns_of(*(sample_report(preset=f"p{index}" * 500) for index in range(MAX_NAMES + 5)))
    assert len(columns.presets) == MAX_NAMES + 1
    assert columns.presets[OTHERS] == 5
    assert max(map(len, columns.presets)) <= 200


def test_the_worst_have_the_reason_that_makes_them_so():
    reports = crowd()
    reports[7]["skin"]["worst_stretch"] = 9.0
    reports[21]["judge"]["scores"]["body"] = 0.1
    reports[21]["motion"]["foot_skate_mm"] = 8.0
    found = worst(columns_of(*reports), 20)
    assert [bad.avatar_id for bad in found[:2]] == ["a21", "a07"]
    assert {reason.measure.name for reason in found[0].reasons} == {"judge.body", "motion.foot_skate"}
    (reason,) = found[1].reasons
    assert reason.told == "worst stretch: ×9.00; the middle is ×2.03"
    assert reason.deviations >= FROM
    assert found[0].badness > found[1].badness > found[2].badness == 0
    assert len(found) == 20
    assert all(bad.reasons for bad in found)


def test_being_better_than_others_is_not_bad():
    reports = crowd()
    reports[3]["judge"]["scores"]["body"] = 0.9
    reports[3]["skin"]["worst_stretch"] = 1.0
    found = {bad.avatar_id: bad for bad in worst(columns_of(*reports), 30)}
    assert found["a03"].badness == 0
    assert found["a03"].reasons[0].deviations <= 0


def test_one_wild_number_does_not_outweigh_several_bad_ones():
    reports = crowd()
    reports[1]["skin"]["worst_stretch"] = 1e9
    for name, value in (("foot_skate_mm", 9.0), ("self_penetration_m", 0.5)):
        reports[2]["motion"][name] = value
    assert [bad.avatar_id for bad in worst(columns_of(*reports), 2)] == ["a02", "a01"]


def test_encoders_are_not_compared_with_each_other():
    low = [sample_report(final_scores={"body": 0.05}, weights__encoder=ENCODER) for _ in range(10)]
    found = worst(columns_of(*crowd(10), *low), 20)
    assert {bad.badness for bad in found} == {0}


def test_small_differences_are_no_reason():
    reports = [sample_report(motion__foot_skate_mm=1.0) for _ in range(20)]
    reports[4]["motion"]["foot_skate_mm"] = 1.2
    assert worst(columns_of(*reports), 1)[0].badness == 0


def test_avatars_without_any_number_are_not_judged():
    assert worst(columns_of({}, {"mesh": 3}), 5) == []
    assert worst(columns_of(), 5) == []
    assert [bad.avatar_id for bad in worst(columns_of({}, sample_report()), 5)] == ["a01"]


@pytest.mark.parametrize("count", [1, 50, 2000])
def test_columns_are_what_numpy_says(count):
    values = np.random.default_rng(count).random(count)
    columns = columns_of(*({"mesh": {"height_m": value}} for value in values))
    spread = columns.spread(BY_NAME["mesh.height"])
    np.testing.assert_allclose([spread.p05, spread.p95], np.quantile(values, [0.05, 0.95]))
