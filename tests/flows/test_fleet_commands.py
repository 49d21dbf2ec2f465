"""`avatars cancel`, `retry`, `compact`, `clean` and `costs`, as users give them."""

import json
import os
from pathlib import Path

import pytest
from click.testing import Result
from small_library import avatars, fail, finish, plan, row
from typer.testing import CliRunner

from avatar_core.storage import ArtifactStore
from flows.cli.app import app
from flows.limits import asked_to_stop
from flows.outcome import Outcome
from flows.run_state import note_end

LONG_AGO = 1_000_000_000


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs `avatars` in this process, without a Prefect server."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "no-profiles.toml"))

    def run(*arguments: object, status: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "200"})
        assert result.exit_code == status, result.output
        return result

    return run


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return tmp_path / "library"


def test_cancelling_asks_the_newest_run_to_stop_and_says_how_to_go_on(library: Path, command) -> None:
    session = plan(library, [row("ada")])
    text = command("cancel", "--library", library).stdout
    assert session.run.run_id in text
    assert "To go on, give the run's command again" in text
    assert "avatars cancel" in asked_to_stop(str(library), session.run.run_id)


def test_a_run_is_cancelled_by_its_id(library: Path, command) -> None:
    older, newer = plan(library, [row("ada")]), plan(library, [row("ben")])
    command("cancel", older.run.run_id, "--library", library)
    assert asked_to_stop(str(library), older.run.run_id)
    assert not asked_to_stop(str(library), newer.run.run_id)


def test_there_is_nothing_to_cancel_where_all_runs_have_ended(library: Path, command) -> None:
    session = plan(library, [row("ada")])
    note_end(session.run, Outcome())
    assert "No run" in command("cancel", "--library", library, status=2).stderr
    assert "has ended already" in command("cancel", session.run.run_id, "--library", library, status=2).stderr


def test_a_run_that_nobody_planned_cannot_be_cancelled(library: Path, command) -> None:
    plan(library, [row("ada")])
    assert "no run 'unknown'" in command("cancel", "unknown", "--library", library, status=2).stderr


def test_there_is_nothing_to_retry_where_nothing_failed(library: Path, command) -> None:
    session = plan(library, [row("ada")])
    finish(session, avatars(session)[0])
    assert "Nothing failed" in command("retry", "--library", library).stdout


def test_retrying_what_did_not_fail_is_a_mistake(library: Path, command) -> None:
    plan(library, [row("ada")])
    assert "ada did not fail" in command("retry", "ada", "--library", library, status=2).stderr


@pytest.mark.parametrize("name", ["retry", "cancel", "status", "costs", "metrics", "compact", "clean"])
def test_a_library_that_is_not_there_is_named(tmp_path: Path, command, name: str) -> None:
    assert "no library at" in command(name, "--library", tmp_path / "nowhere", status=2).stderr


def test_compaction_says_what_it_merged_and_keeps_every_state(library: Path, command) -> None:
    session = plan(library, [row("ada"), row("ben")])
    ada, ben = avatars(session)
    finish(session, ada)
    fail(session, ben)
    before = json.loads(command("status", "--library", library, "--json").stdout)
    assert "merged to 9 records" in command("compact", "--library", library).stdout
    after = json.loads(command("status", "--library", library, "--json").stdout)
    for key in ("counts", "stages", "seconds", "failures", "gpu_hours"):
        assert after[key] == before[key]
    assert "Nothing to merge" in command("compact", "--library", library).stdout


@pytest.fixture
def littered(library: Path) -> Path:
    """A library with an old artifact that no avatar needs; returns its folder."""
    session = plan(library, [row("ada")])
    finish(session, avatars(session)[0])
    store = ArtifactStore(str(library))
    ref = store.publish("motion", "f" * 32, lambda folder: (folder / "m.bin").write_bytes(bytes(2000)), {})
    for path in (library / "store").rglob("*"):
        if path.is_file():
            os.utime(path, (LONG_AGO, LONG_AGO))
    return library / ref.uri


def test_cleaning_only_says_what_would_go(library: Path, littered: Path, command) -> None:
    text = command("clean", "--library", library).stdout
    assert "Would be deleted" in text
    assert f"store/motion/{'f' * 32}" in text
    assert "give --yes" in text
    assert littered.is_dir()


def test_cleaning_deletes_when_told_to_and_nothing_that_avatars_need(library: Path, littered: Path, command) -> None:
    needed = {path for path in (library / "store").glob("*/*") if path != littered and "_" not in path.parent.name[:1]}
    report = json.loads(command("clean", "--library", library, "--yes", "--json").stdout)
    assert report["counts"] == {"artifact": 1}
    assert report["bytes"]["artifact"] >= 2000
    assert not littered.exists()
    assert all(path.exists() for path in needed)
    assert "nothing to clean" in command("clean", "--library", library).stdout


def test_what_is_younger_than_the_grace_period_stays(library: Path, command) -> None:
    session = plan(library, [row("ada")])
    finish(session, avatars(session)[0])
    ArtifactStore(str(library)).publish("motion", "f" * 32, lambda folder: (folder / "m.bin").touch(), {})
    assert "nothing to clean" in command("clean", "--library", library, "--yes").stdout


def test_costs_are_summed_up_by_stage_and_device_and_in_all(library: Path, command) -> None:
    session = plan(library, [row("ada"), row("ben")])
    ada, ben = avatars(session)
    finish(session, ada, seconds=3600.0)
    finish(session, ben, ["texturing"], seconds=1800.0, device="cpu", peak_mb=300.0)
    report = json.loads(
        command("costs", "--library", library, "--by", "stage", "--by", "device", "--price", "2.5", "--json").stdout
    )
    by = {(one["stage"], one["device"]): one for one in report["costs"]}
    assert by["texturing", "cpu"]["cost"] == pytest.approx(1.25)
    assert by["texturing", "cpu"]["gpu_seconds"] == 0.0
    assert by["texturing", "NVIDIA H100"]["computations"] == 1
    assert report["total"]["seconds"] == pytest.approx(6.5 * 3600)
    assert report["total"]["gpu_seconds"] == pytest.approx(6 * 3600)
    assert report["total"]["cost"] == pytest.approx(16.25)
    assert report["total"]["peak_mb"] == 300.0
    table = command("costs", "--library", library, "--by", "run", "--price", "2.5").stdout
    assert session.run.run_id in table
    assert "16.25" in table


def test_costs_need_no_price(library: Path, command) -> None:
    session = plan(library, [row("ada")])
    finish(session, avatars(session)[0])
    report = json.loads(command("costs", "--library", library, "--json").stdout)
    assert report["by"] == ["stage"]
    assert len(report["costs"]) == 6
    assert "cost" not in report["total"]
