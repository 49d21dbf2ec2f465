"""`avatars status` says what the manifest says, before and after compaction."""

import json
from pathlib import Path
from typing import Any

import pytest

from avatar_core.catalog import RejectedRow
from avatar_core.manifest import ManifestRecord, ManifestWriter, compact
from flows.cli.inspection import MAX_ROWS, show, status


@pytest.fixture(params=[False, True], ids=["parts", "compacted"])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Two avatars of interest among many that are done, and a rejected row."""
    rejected = RejectedRow(9, None, "seed", "no integer", "use an integer", "raw")
    with ManifestWriter(tmp_path, "run") as writer:
        for index in range(MAX_ROWS):
            writer.append(ManifestRecord(f"walker-{index:03d}", "export", "done", key=f"k{index}", seconds=2.0))
        writer.append(ManifestRecord("ada", "motion", "failed", error_kind="E", error_message="no", remedy="retry"))
        writer.append(ManifestRecord("ben", "motion", "done", key="k", seconds=0.5, shape="a tall man"))
        writer.append(ManifestRecord.review("ben", "requested", None))
        writer.append(ManifestRecord.review("walker-003", "approved", "k3"))
        writer.append(ManifestRecord.review("walker-004", "approved", "an earlier result's"))
        writer.append([ManifestRecord.catalog_read("c.csv"), ManifestRecord.rejected(rejected, catalog="c.csv")])
    if request.param:
        compact(tmp_path)
    return str(tmp_path)


def reported(library: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    status(library, as_json=True)
    return json.loads(capsys.readouterr().out)


def test_the_report_counts_and_lists_everything(library: str, capsys: pytest.CaptureFixture[str]) -> None:
    report = reported(library, capsys)
    assert report["counts"] == {"done": MAX_ROWS, "failed": 1, "unfinished": 1, "rejected": 1}
    assert report["stages"] == {"export": {"done": MAX_ROWS}, "motion": {"done": 1, "failed": 1}}
    assert report["seconds"] == 2.0 * MAX_ROWS + 0.5
    assert len(report["avatars"]) == MAX_ROWS + 2
    states = {row["avatar_id"]: row for row in report["avatars"]}
    ada = states["ada"]
    assert (ada["state"], ada["error_message"], ada["remedy"]) == ("failed", "no", "retry")
    assert states["ben"]["state"] == "unfinished"
    assert report["reviews"] == {"approved": 1, "requested": 1}
    assert (states["walker-003"]["review"], states["walker-004"]["review"]) == ("approved", None)
    (rejected,) = report["rejected"]
    assert rejected == {
        "catalog": "c.csv",
        "line": 9,
        "field": "seed",
        "reason": "no integer",
        "remedy": "use an integer",
    }


def test_the_screen_lists_some_and_says_how_many_more(library: str, capsys: pytest.CaptureFixture[str]) -> None:
    status(library)
    shown = capsys.readouterr().out
    assert f"{MAX_ROWS} done" in shown
    assert "1 failed" in shown
    assert "… and 2 more" in shown
    assert "Reviews: 1 approved, 1 asked for from a new seed." in shown


def test_an_avatar_shows_its_review(library: str, capsys: pytest.CaptureFixture[str]) -> None:
    show("ben", library, as_json=True)
    report = json.loads(capsys.readouterr().out)
    assert (report["review"], report["shape"]) == ("requested", "a tall man")
    assert report["reviewed_at"]
    show("ben", library)
    assert "asked for from a new seed" in capsys.readouterr().out
    show("walker-004", library, as_json=True)
    assert json.loads(capsys.readouterr().out)["review"] is None
