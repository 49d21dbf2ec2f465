"""One run at a time in a library."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.lock import LibraryBusyError, library_lock, running

HOLD = """
import sys, time
from flows.lock import library_lock
with library_lock(sys.argv[1], "avatars run theirs.csv"):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(library: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(library)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_told_who_works_there(tmp_path: Path) -> None:
    other = hold(tmp_path / "library")
    try:
        holder = running(str(tmp_path / "library"))
        assert holder is not None
        assert (holder.pid, holder.command) == (other.pid, "avatars run theirs.csv")
        with (
            pytest.raises(LibraryBusyError, match=f"process {other.pid}"),
            library_lock(str(tmp_path / "library"), "avatars run mine.csv"),
        ):
            pass
    finally:
        other.communicate("", timeout=30)
    assert running(str(tmp_path / "library")) is None


def test_the_lock_of_a_killed_run_does_not_stay(tmp_path: Path) -> None:
    other = hold(tmp_path)
    os.kill(other.pid, signal.SIGKILL)
    other.communicate(timeout=30)
    assert running(str(tmp_path)) is None
    with library_lock(str(tmp_path), "avatars run mine.csv"):
        assert (tmp_path / ".lock").exists()


def test_libraries_do_not_hinder_each_other(tmp_path: Path) -> None:
    with library_lock(str(tmp_path / "one"), "a"), library_lock(str(tmp_path / "two"), "b"):
        assert running(str(tmp_path / "three")) is None
