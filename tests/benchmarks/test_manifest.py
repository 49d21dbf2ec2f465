"""The manifest's benchmarks run, on a small scale, and what they check holds there."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .machine import ROOT


def run(module: str, *arguments: object, out: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, arguments), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(out.read_text(encoding="utf-8"))


def test_every_figure_of_a_large_manifest_is_measured(tmp_path: Path) -> None:
    result = run("manifest", "--rows", 1500, "--random-ids", out=tmp_path / "figures.json")
    figures = {(figure["part"], figure["name"], figure["unit"]): figure["value"] for figure in result["figures"]}
    assert figures["write", "records", "rows"] == 1500 * 7
    assert figures["compaction", "records kept", "rows"] == 1500 * 7
    assert figures["query", "states of all avatars", "s wall"] > 0
    assert figures["query", "where all avatars are", "s wall"] > 0
    assert figures["query", "references", "MiB peak"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["flaky", "local"])
def test_writers_compactions_and_readers_at_once_lose_and_double_nothing(tmp_path: Path, storage: str) -> None:
    options = ("--writers", 4, "--flushes", 100, "--rounds", 3, "--grace", 0.5, "--storage", storage)
    result = run("manifest_stress", *options, out=tmp_path / "stress.json")
    assert result["whole"]
    assert result["records"] == 4 * (100 * 3 + 1)
    assert result["counts"]["flushes"] == 400
    assert result["counts"]["readings"] >= 2
    # whether files were old enough to be deleted by then is a matter of the machine's speed
    assert storage == "local" or result["counts"]["failed flushes"] > 0
