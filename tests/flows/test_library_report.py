"""The report of a library: of real avatars, of many, and of damaged ones."""

import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sample_reports import HOSTILE, sample_report
from small_library import DIVERGED, avatars, fail, finish, plan, row
from typer.testing import CliRunner

from avatar_core.errors import CatalogError
from avatar_core.storage import open_location
from flows.cli.app import app
from flows.library_report import NAMED, ReportOptions, report_on, write_report
from flows.reading_reports import drawn, read_reports


def add(library: Path, avatar_id: str, report: object, preview: bytes | None = None) -> Path:
    folder = library / "avatars" / avatar_id
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(report if isinstance(report, str) else json.dumps(report))
    if preview is not None:
        (folder / "preview.png").write_bytes(preview)
    return folder


def picture(color: Sequence[int] = (200, 20, 20)) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (900, 600), tuple(color)).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture
def crowd(tmp_path: Path) -> Path:
    """Thirty avatars, one of which stretches badly, and three without a report that can be read."""
    library = tmp_path / "library"
    for index in range(30):
        stretch = 9.0 if index == 12 else 2.0 + 0.01 * (index % 7)
        add(library, f"a{index:03d}", sample_report(skin__worst_stretch=stretch), picture() if index == 12 else None)
    add(library, "broken", "{")
    add(library, "listed", "[1, 2]")
    (library / "avatars" / "empty").mkdir()
    return library


def test_real_avatars_are_ranked_by_what_the_second_encoder_saw(tiny_library: Path, tmp_path: Path) -> None:
    library = Path(shutil.copytree(tiny_library, tmp_path / "library"))
    report = report_on(str(library), ReportOptions(pages=True))
    result = report.ranked.result
    assert result is not None
    assert (result.judge, result.avatars, result.prompts) == ("judge", 2, 2)
    assert result.at_5 == 1
    assert report.columns.encoders == ["bodyclip"]
    page = (write_report(report).path() / "report.html").read_text()
    assert "R-precision" in page
    assert 'href="../avatars/ada/report.html"' in page
    assert "<h1>ada</h1>" in (library / "avatars/ada/report.html").read_text()
    said = json.loads((library / "report/report.json").read_text())
    assert set(said["fit"]["bodyclip"]) == set(said["judge"]) == {"body", "face", "back", "motion"}
    assert said["measures"]["mesh.watertight"]["lowest"] == 1
    assert said["licences"]["commercial"] == "conditions"
    assert {"cmu_mocap", "deepmimic"} <= {one["name"] for one in said["licences"]["data"]}


def test_what_cannot_be_read_is_named_and_the_others_go_on(crowd: Path) -> None:
    report = report_on(str(crowd), ReportOptions())
    assert len(report.columns) == 30
    assert {one.avatar_id: one.reason.split(" (")[0] for one in report.unreadable} == {
        "broken": "report.json cannot be read",
        "listed": "report.json cannot be read",
        "empty": "it has no report.json",
    }
    assert report.ranked.result is None
    assert sum(report.ranked.left_out.values()) == 33
    page = (write_report(report).path() / "report.html").read_text()
    assert "3 avatars were left out" in page
    assert "broken" in page


def test_many_unreadable_reports_are_counted_and_some_named(tmp_path: Path) -> None:
    for index in range(NAMED + 7):
        add(tmp_path, f"x{index}", "{")
    report = report_on(str(tmp_path), ReportOptions())
    assert (report.unreadable_count, len(report.unreadable)) == (NAMED + 7, NAMED)
    assert "and 7 more" in (write_report(report).path() / "report.html").read_text()


def test_the_worst_come_with_thumbnail_and_reason(crowd: Path, tmp_path: Path) -> None:
    report = report_on(str(crowd), ReportOptions(worst=20))
    folder = write_report(report, str(tmp_path / "elsewhere")).path()
    page = (folder / "report.html").read_text()
    assert report.worst[0].avatar_id == "a012"
    assert "The worst 20" in page
    assert "worst stretch: ×9.00; the middle is ×2.03" in page
    assert page.count("data:image/jpeg;base64,") == 1
    said = json.loads((folder / "report.json").read_text())
    assert said["worst"][0]["reasons"][0]["measure"] == "skin.worst_stretch"
    assert not (crowd / "report").exists()


@pytest.mark.parametrize("preview", [b"", b"no picture", picture()[:200], b"\x89PNG\r\n\x1a\n" + b"\x00" * 50])
def test_a_preview_that_is_no_picture_is_left_out(tmp_path: Path, preview: bytes) -> None:
    add(tmp_path, "ada", sample_report(), preview)
    folder = write_report(report_on(str(tmp_path), ReportOptions())).path()
    assert "data:image" not in (folder / "report.html").read_text()


def test_failures_states_and_costs_come_from_the_manifest(tmp_path: Path) -> None:
    library = tmp_path / "library"
    session = plan(library, [row("ada"), row("ben", line=3), row("eve", line=4)])
    for avatar in avatars(session):
        if avatar.avatar_id == "ada":
            finish(session, avatar, files={"report.json": json.dumps(sample_report()).encode()})
        elif avatar.avatar_id == "ben":
            fail(session, avatar)
    add(library, "ada", sample_report())
    report = report_on(str(library), ReportOptions(price=2.0))
    assert (report.counts["done"], report.counts["failed"]) == (1, 1)
    (failure,) = report.failures
    assert (failure.stage, failure.kind, failure.avatars, failure.example) == ("texturing", DIVERGED.kind, 1, "ben")
    assert [cost["stage"] for cost in report.costs][:2] == ["coarse_shape", "implicit_init"]
    assert report.total["seconds"] == 6 * 36
    assert report.total["cost"] == pytest.approx(6 * 36 / 3600 * 2)
    page = (write_report(report).path() / "report.html").read_text()
    assert DIVERGED.message in page
    assert DIVERGED.remedy in page


def test_a_library_of_failures_alone_has_a_report_and_an_empty_one_has_none(tmp_path: Path) -> None:
    session = plan(tmp_path / "library", [row("ada")])
    fail(session, avatars(session)[0])
    report = report_on(str(tmp_path / "library"), ReportOptions())
    assert len(report.columns) == 0
    assert "Failures by reason" in (write_report(report).path() / "report.html").read_text()
    with pytest.raises(CatalogError, match="holds no avatars"):
        report_on(str(tmp_path / "nothing"), ReportOptions())


def test_no_text_of_a_report_becomes_markup(tmp_path: Path) -> None:
    hostile = {"name": HOSTILE, "digest": HOSTILE, "licence": "as its card says: " + HOSTILE}
    add(
        tmp_path, "ada",
        sample_report(
            prompts=dict.fromkeys(("shape", "appearance", "motion"), HOSTILE), preset=HOSTILE,
            weights={HOSTILE: hostile, "encoder": hostile}, texturing__events=[{"kind": HOSTILE}],
        ),
    )  # fmt: skip
    page = (write_report(report_on(str(tmp_path), ReportOptions())).path() / "report.html").read_text()
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;" in page


def test_a_sample_is_the_seed_s_and_not_the_listing_s() -> None:
    ids = [f"a{index}" for index in range(500)]
    once = drawn(ids, 20, seed=1)
    assert once == drawn(reversed(ids), 20, seed=1)
    assert len(set(once)) == 20
    assert once != drawn(ids, 20, seed=2)
    assert set(drawn(ids, 20, seed=1)) <= set(drawn(ids, 40, seed=1))
    assert drawn(ids[:3], 20, seed=1) == sorted(ids[:3])


def test_reports_of_an_object_store_are_read_in_order_and_without_reading_ahead_of_who_asks() -> None:
    library = open_location("memory://library-report")
    ids = [f"a{index:04d}" for index in range(400)]
    for number, avatar_id in enumerate(ids):
        library.write(f"avatars/{avatar_id}/report.json", json.dumps(sample_report(seed=number)).encode())
    taken: list[str] = []

    def asked() -> Any:
        for avatar_id in ids:
            taken.append(avatar_id)
            yield avatar_id

    reads = read_reports(library, asked())
    assert [next(reads).avatar_id for _ in range(10)] == ids[:10]
    assert len(taken) < 200
    assert [read.report["seed"] for read in reads if read.report] == list(range(10, 400))
    report = report_on("memory://library-report", ReportOptions(sample=0, worst=1))
    assert len(report.columns) == 400
    write_report(report)
    assert b"Report of a library" in library.read("report/report.html")


def test_the_command_says_the_most_important_and_where_the_rest_is(crowd: Path) -> None:
    result = CliRunner().invoke(app, ["report", "--library", str(crowd), "--worst", "3"])
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "30 avatars with a report." in said
    assert "broken: report.json cannot be read" in said
    assert "a012: worst stretch: ×9.00" in said
    assert "R-precision cannot be told" in said
    assert f"Written: {crowd}/report/report.html" in said


def test_the_command_prints_json_alone_for_scripts(crowd: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", "-l", str(crowd), "--out", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.output)
    assert said["reports"] == 30
    assert said["unreadable"]["count"] == 3
    assert said == json.loads((tmp_path / "out/report.json").read_text())
