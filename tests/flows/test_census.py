"""The numbers of a library: states, reasons, rate and cost."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from small_library import DIVERGED, avatars, fail, finish, plan, row

from flows.census import WINDOW, take_census
from flows.limits import ask_to_stop
from flows.lock import library_lock
from flows.options import RunOptions
from flows.outcome import Outcome
from flows.run_state import note_end
from tasks.failures import Failure
from tasks.work import STAGES

NAMES = ("ada", "ben", "cid", "dot", "eve", "fay")


@pytest.fixture
def session(tmp_path: Path):
    """Of six avatars two are done, three failed (one of them too often), and one has begun."""
    found = plan(tmp_path, [row(name) for name in NAMES], RunOptions(max_attempts=3))
    ada, ben, cid, dot, eve, fay = avatars(found)
    finish(found, ada)
    finish(found, ben, device="cpu")
    fail(found, cid)
    fail(found, dot, replace(DIVERGED, message="another message"), attempt=3)
    fail(found, eve, Failure("export", "OSError", "no space left", "Check free disk space."), attempt=1)
    finish(found, fay, STAGES[:2])
    return found


def test_avatars_are_counted_by_state_and_failures_by_stage_and_kind(session) -> None:
    census = take_census(session.run.library)
    assert census.counts == {"done": 2, "failed": 3, "running": 1, "rejected": 0}
    assert census.quarantined == 1
    found = [(one.stage, one.kind, one.avatars, one.example, one.message) for one in census.failures]
    assert found == [
        ("texturing", "DivergenceError", 2, "cid", "the loss is not finite"),
        ("export", "OSError", 1, "eve", "no space left"),
    ]
    assert census.failures[1].remedy == "Check free disk space."


def test_what_failed_since_the_census_before_is_looked_at_for_quarantine(session) -> None:
    before = take_census(session.run.library)
    assert take_census(session.run.library, previous=before).quarantined == 1
    fail(session, avatars(session)[2], attempt=3)
    after = take_census(session.run.library, previous=before)
    assert after.failed == before.failed
    assert after.quarantined == 2


def test_computing_time_is_told_apart_by_device(session) -> None:
    census = take_census(session.run.library)
    assert census.seconds == pytest.approx(36.0 * 14)
    assert census.gpu_seconds == pytest.approx(36.0 * 8)
    assert census.price(10.0) == pytest.approx(1.4)
    assert {(cost.stage, cost.device) for cost in census.costs if cost.stage == "export"} == {
        ("export", "NVIDIA H100"),
        ("export", "cpu"),
    }


def test_the_rate_is_that_of_the_time_since_the_run_began(session) -> None:
    begun = take_census(session.run.library).run.begun_at
    census = take_census(session.run.library, now=begun + timedelta(minutes=6))
    assert census.window == timedelta(minutes=6)
    assert census.per_hour == pytest.approx(20.0)
    assert census.left == 1
    assert census.seconds_left == pytest.approx(180.0)


def test_what_was_finished_long_ago_is_no_part_of_the_rate(session) -> None:
    census = take_census(session.run.library, now=datetime.now(UTC) + WINDOW + timedelta(minutes=1))
    assert census.window == WINDOW
    assert census.per_hour == 0.0
    assert census.seconds_left is None


def test_a_run_that_has_ended_has_nothing_left_and_leaves_what_it_began_unfinished(session) -> None:
    note_end(session.run, Outcome(done=2, failed=3))
    census = take_census(session.run.library)
    assert not census.going
    assert census.left == 0
    assert census.counts["unfinished"] == 1
    assert "running" not in census.counts


def test_whoever_holds_the_library_is_at_work(session) -> None:
    note_end(session.run, Outcome())
    with library_lock(session.run.library, "avatars run people.csv"):
        census = take_census(session.run.library)
    assert census.going
    assert census.holder.command == "avatars run people.csv"


def test_avatars_that_an_earlier_run_finished_are_no_part_of_a_new_ones_progress(session) -> None:
    note_end(session.run, Outcome())
    plan(Path(session.run.library), [row(name) for name in NAMES])
    census = take_census(session.run.library)
    assert census.run.avatars == 3  # two are done, and one is in quarantine
    assert census.left == 3


def test_a_library_without_runs_has_no_numbers(tmp_path: Path) -> None:
    census = take_census(str(tmp_path))
    assert census.counts == {"rejected": 0}
    assert (census.run, census.failures, census.per_hour, census.seconds) == (None, (), 0.0, 0.0)


def test_a_request_to_stop_shows_while_the_run_goes_on(session) -> None:
    ask_to_stop(session.run.library, session.run.run_id, "enough for today")
    assert take_census(session.run.library).run.stopped == "enough for today"
