"""How far runs are, by the files in their folders."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_library import avatars, finish, plan, row

from avatar_core.errors import ConfigError
from flows.limits import ask_to_stop
from flows.outcome import Outcome, write_outcome
from flows.run_plan import run_folder
from flows.run_state import BEGUN_NAME, newest_run, newest_unended, note_begin, note_end, read_state

BEGIN = """
import sys
from flows.run_plan import read_run
from flows.run_state import note_begin
note_begin(read_run(sys.argv[1], sys.argv[2]), 7)
"""


def test_a_run_goes_on_from_its_plan_to_its_end(tmp_path: Path) -> None:
    assert newest_run(str(tmp_path)) is None
    session = plan(tmp_path, [row("ada"), row("ben")])
    state = newest_run(str(tmp_path))
    assert state is not None
    assert state.plan.run_id == session.run.run_id
    assert (state.avatars, state.shards_ended, state.going, state.stopped) == (2, 0, True, "")
    write_outcome(session.run.library, session.run.run_id, 0, Outcome(done=2))
    note_end(session.run, Outcome(done=2))
    state = newest_run(str(tmp_path))
    assert state is not None
    assert state.ended_at is not None
    assert (state.shards_ended, state.going) == (1, False)
    assert newest_unended(str(tmp_path)) is None


def test_a_run_sets_out_to_make_what_is_not_finished(tmp_path: Path) -> None:
    first = plan(tmp_path, [row("ada"), row("ben")])
    finish(first, avatars(first)[0])
    again = plan(tmp_path, [row("ada"), row("ben")])
    assert read_state(str(tmp_path), again.run.run_id).avatars == 1


def test_a_run_with_nothing_left_has_ended(tmp_path: Path) -> None:
    first = plan(tmp_path, [row("ada")])
    finish(first, avatars(first)[0])
    assert plan(tmp_path, [row("ada")]).shards == []
    state = newest_run(str(tmp_path))
    assert state is not None
    assert state.ended_at is not None


def test_a_run_whose_process_died_does_not_go_on_and_has_not_ended(tmp_path: Path) -> None:
    session = plan(tmp_path, [row("ada")])
    arguments = [sys.executable, "-c", BEGIN, str(tmp_path), session.run.run_id]
    subprocess.run(arguments, check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    state = newest_unended(str(tmp_path))
    assert state is not None
    assert state.avatars == 7
    assert not state.going


def test_a_run_that_is_asked_to_stop_says_why(tmp_path: Path) -> None:
    session = plan(tmp_path, [row("ada")])
    ask_to_stop(session.run.library, session.run.run_id, "enough")
    assert read_state(str(tmp_path), session.run.run_id).stopped == "enough"


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"at": "noon"}'])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    session = plan(tmp_path, [row("ada")])
    note_begin(session.run, 1)
    run_folder(session.run.library, session.run.run_id).write(BEGUN_NAME, content)
    with pytest.raises(ConfigError, match=r"begun.json"):
        read_state(str(tmp_path), session.run.run_id)
