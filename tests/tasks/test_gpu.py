"""Slots of a CUDA device, without a device: they are locks on files."""

import subprocess
import sys
import tempfile

import pytest

from avatar_core.errors import ConfigError
from tasks.gpu import SLOTS_VARIABLE, gpu_slot, slot_count

TRY = """
import fcntl, os, sys
from pathlib import Path
import tempfile
path = Path(tempfile.gettempdir()) / f"avatar-foundry-{os.getuid()}" / f"cuda-7.{sys.argv[1]}.lock"
handle = os.open(path, os.O_RDWR | os.O_CREAT)
try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("free")
except BlockingIOError:
    print("taken")
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def seen_by_another_process(slot: int) -> str:
    command = [sys.executable, "-c", TRY, str(slot)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_slot_is_taken_while_the_block_runs_and_free_afterwards() -> None:
    with gpu_slot("cuda:7"):
        assert seen_by_another_process(0) == "taken"
    assert seen_by_another_process(0) == "free"


def test_as_many_slots_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SLOTS_VARIABLE, "2")
    with gpu_slot("cuda:7"), gpu_slot("cuda:7"):
        assert [seen_by_another_process(slot) for slot in (0, 1)] == ["taken", "taken"]


def test_a_cpu_needs_no_slot(tmp_path: object) -> None:
    with gpu_slot("cpu"), gpu_slot("cpu"):
        assert not list(tmp_path.iterdir())  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["0", "-1", "many", ""])
def test_a_count_that_is_none_is_an_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SLOTS_VARIABLE, text)
    with pytest.raises(ConfigError, match=SLOTS_VARIABLE):
        slot_count()
