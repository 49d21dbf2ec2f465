"""What `avatars status` shows and says to scripts."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from small_library import avatars, fail, finish, plan, row
from typer.testing import CliRunner

from flows.census import take_census
from flows.cli.app import app
from flows.cli.status_view import overview, watch
from flows.outcome import Outcome
from flows.run_state import note_end

PRESENT_KEYS = {"library", "running", "counts", "stages", "seconds", "avatars", "rejected"}


@pytest.fixture
def session(tmp_path: Path):
    """One avatar done, one failed, one not begun; two are alike but for a letter's case."""
    found = plan(tmp_path, [row("ada"), row("ben", appearance="a Cook"), row("cid", appearance="a cook")])
    ada, ben, _ = avatars(found)
    finish(found, ada)
    fail(found, ben)
    return found


@pytest.fixture
def status():
    """Runs `avatars status` in this process."""

    def run(library: str, *arguments: str) -> str:
        result = CliRunner().invoke(app, ["status", "--library", library, *arguments], env={"COLUMNS": "250"})
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_the_numbers_are_shown_with_reasons_time_and_cost(session, status) -> None:
    text = status(session.run.library, "--price", "2.5")
    for part in (
        "1 done",
        "1 failed",
        "3 min 36 s of computing, 0.06 GPU-hours, cost 0.15 at 2.5 an hour",
        f"Run {session.run.run_id} of people.csv: 1 avatar of 3 left, 0 of 1 shard ended",
        "avatars/h in the last",
        "3 rows: 1 body, 1 motion, 3 textures. 1 row nearly repeats another",
        "ben: the loss is not finite",
        "Give the row another seed.",
    ):
        assert part in text
    assert text.index("ben    │ failed") < text.index("ada    │ done")


def test_scripts_find_the_keys_that_they_always_had_and_the_new_ones(session, status) -> None:
    report = json.loads(status(session.run.library, "--json", "--price", "10"))
    assert report.keys() >= PRESENT_KEYS
    assert report["counts"] == {"done": 1, "failed": 1, "accepted": 1, "rejected": 0}
    assert sorted(one["avatar_id"] for one in report["avatars"]) == ["ada", "ben", "cid"]
    assert report["failures"][0]["kind"] == "DivergenceError"
    assert report["gpu_hours"] == pytest.approx(0.06)
    assert report["cost"] == pytest.approx(0.6)
    assert report["run"]["avatars"] == 3
    assert report["run"]["unique"]["motion"] == 1
    assert report["run"]["near_duplicates"] == 1
    assert report["quarantined"] == 0


def test_watching_ends_with_the_run(session) -> None:
    file = io.StringIO()
    console = Console(file=file, width=200, force_terminal=True, color_system=None)
    waited = []

    def until_the_end(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            note_end(session.run, Outcome(done=1, failed=1, stopped="it was cancelled"))

    library = session.run.library
    census = watch(
        console,
        lambda previous: take_census(library, previous=previous),
        lambda now: overview(now, library, None),
        until_the_end,
    )
    assert len(waited) == 2
    assert not census.going
    assert "ended, 0 of 1 shard ended; it stopped: it was cancelled" in file.getvalue()


def test_watching_a_run_that_has_ended_shows_it_once(session, status) -> None:
    note_end(session.run, Outcome(done=1, failed=1))
    assert status(session.run.library, "--watch").count("people.csv: ended") == 1


def test_names_and_messages_with_brackets_are_shown_as_they_are(tmp_path: Path, status) -> None:
    found = plan(tmp_path, [row("ada")], catalog="[red]people.csv")
    assert "[red]people.csv" in status(found.run.library)
