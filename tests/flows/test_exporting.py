"""Finished avatars of a library in other formats: resumable, and one bad avatar stops nothing."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from avatar_core.errors import CatalogError, ConfigError
from avatar_core.export.formats.registry import FORMATS, find_formats, writer
from flows.cli.app import app
from flows.exporting import RECORD, ExportRequest, export_all, export_one


@pytest.fixture
def library(tiny_library: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_library, tmp_path / "library"))


def spoil(library: Path, name: str) -> None:
    (library / "avatars" / name / "avatar.glb").write_bytes(b"glTF and nothing more")


def test_files_lie_beside_the_avatar_s_own_and_a_second_time_nothing_is_done(library: Path) -> None:
    request = ExportRequest(str(library), "ada", ("bvh", "obj"))
    first = export_one(request)
    assert (first.written, first.kept, first.failed) == (["bvh", "obj"], [], {})
    folder = library / "avatars/ada"
    files = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {"avatar.glb", "motion.bvh", "avatar.obj", "avatar.mtl", "albedo.png"} <= files.keys()
    second = export_one(request)
    assert (second.written, second.kept) == ([], ["bvh", "obj"])
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == files


def test_what_is_out_of_date_is_written_again(library: Path) -> None:
    request = ExportRequest(str(library), "ada", ("bvh", "npz"))
    export_one(request)
    folder = library / "avatars/ada"
    (folder / "motion.npz").unlink()
    assert export_one(request).written == ["npz"]
    shutil.copyfile(library / "avatars/bob/avatar.glb", folder / "avatar.glb")
    assert export_one(request).written == ["bvh", "npz"]
    (folder / RECORD).write_text("not JSON")
    assert export_one(request).written == ["bvh", "npz"]
    assert export_one(ExportRequest(str(library), "ada", ("bvh",), force=True)).written == ["bvh"]


def test_one_bad_avatar_stops_nothing(library: Path, tmp_path: Path) -> None:
    shutil.copytree(library / "avatars/ada", library / "avatars/cleo")
    spoil(library, "bob")
    requests = [ExportRequest(str(library), name, ("bvh",), str(tmp_path / "out")) for name in ("ada", "bob", "cleo")]
    outcomes = {outcome.avatar_id: outcome for outcome in export_all(requests, processes=2)}
    assert outcomes.keys() == {"ada", "bob", "cleo"}
    assert outcomes["ada"].written == outcomes["cleo"].written == ["bvh"]
    assert "not an avatar" in outcomes["bob"].failed[""]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"ada", "cleo"}
    assert (tmp_path / "out/ada/motion.bvh").read_text().startswith("HIERARCHY")


def test_one_format_that_fails_leaves_the_others(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from avatar_core.export.formats import obj

    def broken(avatar: object, folder: Path) -> None:
        raise RuntimeError("out of ink")

    monkeypatch.setattr(obj, "write", broken)
    outcome = export_one(ExportRequest(str(library), "ada", ("obj", "bvh")))
    assert outcome.written == ["bvh"]
    assert outcome.failed == {"obj": "out of ink"}


def test_a_missing_program_is_said_once_and_not_for_each_avatar(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    requests = [ExportRequest(str(library), name, ("meshopt",)) for name in ("ada", "bob")]
    with pytest.raises(ConfigError, match="npm install --global @gltf-transform/cli"):
        list(export_all(requests, processes=1))


@pytest.mark.parametrize("name", ["../ada", "..", "", "a/b", "a\\b"])
def test_ids_lead_nowhere_else(library: Path, name: str) -> None:
    with pytest.raises(CatalogError, match="no id"):
        export_one(ExportRequest(str(library), name, ("bvh",)))


def test_every_format_is_a_module_with_a_writer_and_files_of_its_own() -> None:
    files = [file for entry in FORMATS.values() for file in entry.files if file != "albedo.png"]
    assert len(files) == len(set(files))
    assert not {"avatar.glb", "avatar.ply"} & set(files)  # the avatar's own
    for entry in FORMATS.values():
        assert callable(writer(entry))
    assert [entry.name for entry in find_formats(["vrm", "bvh", "vrm"])] == ["vrm", "bvh"]
    with pytest.raises(ConfigError, match="'stl' is none of vrm"):
        find_formats(["stl"])


def test_the_command_exports_a_whole_library_and_names_what_failed(library: Path) -> None:
    spoil(library, "bob")
    result = CliRunner().invoke(
        app, ["export", "--all", "-f", "BVH, npz", "-l", str(library), "--jobs", "1", "--json"]
    )
    assert result.exit_code == 1, result.output
    report = json.loads(result.stdout)
    assert report["failed"] == 1
    written = {avatar["avatar_id"]: avatar["written"] for avatar in report["avatars"]}
    assert written == {"ada": ["bvh", "npz"], "bob": []}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ada"], "--format"),
        (["-f", "bvh"], "either ids"),
        (["ada", "--all", "-f", "bvh"], "either ids"),
        (["ada", "-f", "stl"], "none of"),
        (["nobody", "-f", "bvh"], "not finished"),
    ],
)
def test_mistakes_in_the_command_are_told_in_one_message(library: Path, arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["export", *arguments, "-l", str(library)])
    assert result.exit_code in (1, 2)
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_help_names_every_format() -> None:
    text = CliRunner().invoke(app, ["export", "--help"]).output
    assert all(name in text for name in FORMATS)
