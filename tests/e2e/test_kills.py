"""Kill -9 at random moments: `avatars run`, its private server and a compaction, in turn.

The long form, which kills workers and a shared server, too, is the same benchmark with `--pool`.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
KILLS, ROWS = 5, 3
ALLOWED_SECONDS = 30


def test_a_catalog_survives_kills_at_random_moments(tmp_path: Path) -> None:
    out = tmp_path / "kills.json"
    options = ["--kills", KILLS, "--rows", ROWS, "--seed", 4, "--out", out]
    command = [sys.executable, "-m", "tests.benchmarks.kills", *map(str, options)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    figures = {one["name"]: one["value"] for one in found["figures"] if one["part"] == "trial"}
    assert found["problems"] == []
    assert figures["catalogs finished"] >= 1
    assert figures["avatars"] == ROWS * figures["catalogs finished"]
    assert figures["results computed twice"] == 0
    kills = found["kills"]
    assert len(kills) == KILLS
    assert {kill["victim"] for kill in kills} == {"command", "server", "compaction"}
    assert max(kill["lost_seconds"] for kill in kills) <= ALLOWED_SECONDS
