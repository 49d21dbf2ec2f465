"""An avatar that fails, is looked at and made again: the real commands, a real divergence."""

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CATALOG = "id,shape,appearance,motion,seed\nada,a tall man,a man in a red shirt,walking,3\n"
QUICK = "extends: tiny\ntexturing:\n  outfit_search: false\n"
DIVERGING = QUICK + "  rates: { heads: 1.0e+30, palette: 1.0e+38, color_table: 1.0e+30 }\n"


def test_a_row_that_diverges_fails_goes_into_quarantine_and_is_made_by_a_retry(avatars: Any, tmp_path: Path) -> None:
    catalog, preset, library = tmp_path / "people.csv", tmp_path / "diverging.yaml", tmp_path / "library"
    catalog.write_text(CATALOG)
    preset.write_text(DIVERGING)
    run = (catalog, "--library", library, "--preset", preset, "--device", "cpu", "--max-attempts", 2)

    first = avatars("--log-format", "json", "run", *run)
    assert first.returncode == 1, first.stdout + first.stderr
    assert "1 row: 1 body, 1 motion, 1 texture" in first.stdout
    (log,) = library.glob("runs/*/run.log")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    failed = next(line for line in lines if "exception" in line and line["level"] == "ERROR")
    assert (failed["avatar_id"], failed["stage"]) == ("ada", "texturing")
    assert failed["run_id"] == log.parent.name

    preset.unlink()  # the plan of the run has its settings
    again = avatars("retry", "--library", library, "--device", "cpu")
    assert again.returncode == 1, again.stdout + again.stderr
    report = avatars.json("status", "--library", library)
    assert report["counts"] == {"failed": 1, "rejected": 0}
    assert report["quarantined"] == 1
    assert [(one["stage"], one["kind"]) for one in report["failures"]] == [("texturing", "DivergenceError")]

    preset.write_text(QUICK)
    made = avatars("retry", "ada", "--library", library, "--preset", preset, "--new-seed", "--device", "cpu")
    assert made.returncode == 0, made.stdout + made.stderr
    assert "New seeds: ada 4" in made.stdout
    report = avatars.json("status", "--library", library)
    assert report["counts"] == {"done": 1, "rejected": 0}
    assert report["run"]["ended_at"] is not None
    costs = avatars.json("costs", "--library", library, "--by", "device")
    assert [one["device"] for one in costs["costs"]] == ["cpu"]
    assert costs["total"]["gpu_seconds"] == 0
    assert costs["total"]["seconds"] > 0
