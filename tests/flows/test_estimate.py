"""The time that is left."""

import pytest

from flows.cli.estimate import TYPICAL_SECONDS, Estimate, clock
from tasks.work import STAGES, StageWork


def work(stage: str) -> StageWork:
    return StageWork(stage, "0" * 32, 0, {}, {}, {})


def test_nothing_is_said_before_there_is_anything_to_go_by() -> None:
    assert Estimate({"texturing": 1}).seconds_left() is None


def test_the_mean_of_what_was_measured_counts_for_the_rest() -> None:
    estimate = Estimate({"texturing": 3})
    for seconds in (10.0, 20.0):
        estimate.start(work("texturing"))
        estimate.finish(work("texturing"), seconds, computed=True)
    assert estimate.seconds_left() == pytest.approx(15.0)


def test_stages_not_seen_yet_are_scaled_by_this_machine_s_pace() -> None:
    estimate = Estimate(dict.fromkeys(STAGES, 1))
    estimate.finish(work("texturing"), 2 * TYPICAL_SECONDS["texturing"], computed=True)
    rest = sum(seconds for stage, seconds in TYPICAL_SECONDS.items() if stage != "texturing")
    assert estimate.seconds_left() == pytest.approx(2 * rest)


def test_the_end_leaves_nothing() -> None:
    estimate = Estimate({"export": 1})
    estimate.start(work("export"))
    estimate.finish(work("export"), 5.0, computed=True)
    assert estimate.seconds_left() == 0
    assert estimate.finished == estimate.count == 1


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text
