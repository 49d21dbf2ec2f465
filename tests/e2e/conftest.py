"""The real command in a process of its own, as users run it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TIMEOUT = 1800  # seconds; only a hang is that slow


class Command:
    """Runs `avatars`."""

    def __init__(self, cache: Path) -> None:
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        self.environment |= {"AVATARS_CACHE": str(cache), "COLUMNS": "200"}

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start the command in a process group of its own."""
        code = "from flows.cli import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=self.environment,
            start_new_session=True,
            # a shell starts its background jobs, and so these tests in one, with Ctrl-C ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=TIMEOUT)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def json(self, *arguments: object) -> Any:
        """Return what the command prints with --json."""
        return json.loads(self(*arguments, "--json").stdout)


@pytest.fixture(scope="session")
def avatars(tmp_path_factory: pytest.TempPathFactory) -> Command:
    return Command(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def stage_artifacts() -> Callable[[Path], dict[str, int]]:
    """Return a function: library -> modification time of each stage's artifact, by `stage/key`."""

    def artifacts(library: Path) -> dict[str, int]:
        markers = (library / "store").glob("*/*/artifact.json")
        return {f"{path.parts[-3]}/{path.parts[-2]}": path.stat().st_mtime_ns for path in markers}

    return artifacts
