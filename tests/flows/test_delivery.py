"""From the export artifact to the folder that people open."""

import json
import logging
from pathlib import Path

import pytest

from avatar_core.reports import avatar_page
from avatar_core.stages import export
from avatar_core.storage import ArtifactRef, ArtifactStore
from flows.delivery import EXPORTED, FILES, deliver

KEY = "0123456789abcdef" * 2


def publish(store: ArtifactStore, content: str, key: str = KEY, report: str | None = None) -> ArtifactRef:
    def write(folder: Path) -> None:
        for name in EXPORTED:
            (folder / name).write_text(f"{name} {content}")
        said = json.dumps({"preset": content}) if report is None else report
        (folder / "report.json").write_text(said)

    return store.publish("export", key, write)


def test_the_exported_files_are_those_of_the_stage() -> None:
    assert sorted(EXPORTED) == sorted(export.FILES)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "library")


def test_the_folder_has_the_artifact_s_files_and_nothing_else(store: ArtifactStore, tmp_path: Path) -> None:
    assert deliver(store, publish(store, "one"), "ada")
    folder = tmp_path / "library" / "avatars" / "ada"
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert (folder / "avatar.glb").read_text() == "avatar.glb one"
    assert [path.name for path in folder.parent.iterdir()] == ["ada"]


def test_what_is_there_is_left_alone(store: ArtifactStore, tmp_path: Path) -> None:
    ref = publish(store, "one")
    deliver(store, ref, "ada")
    before = (tmp_path / "library/avatars/ada").stat()
    assert not deliver(store, ref, "ada")
    after = (tmp_path / "library/avatars/ada").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_missing_file_is_put_back(store: ArtifactStore, tmp_path: Path) -> None:
    ref = publish(store, "one")
    deliver(store, ref, "ada")
    (tmp_path / "library/avatars/ada/preview.png").unlink()
    assert deliver(store, ref, "ada")
    assert (tmp_path / "library/avatars/ada/preview.png").read_text() == "preview.png one"


def test_another_result_takes_the_folder_over(store: ArtifactStore, tmp_path: Path) -> None:
    deliver(store, publish(store, "one"), "ada")
    (tmp_path / "library/avatars/ada/stray.txt").write_text("of an earlier version")
    assert deliver(store, publish(store, "two", "f" * 32), "ada")
    folder = tmp_path / "library/avatars/ada"
    assert (folder / "avatar.glb").read_text() == "avatar.glb two"
    assert {path.name for path in folder.iterdir()} == set(FILES)


def test_the_page_belongs_to_the_avatar_and_its_report(store: ArtifactStore, tmp_path: Path) -> None:
    ref = publish(store, "one")
    deliver(store, ref, "ada")
    deliver(store, ref, "ben")
    for name in ("ada", "ben"):
        page = (tmp_path / f"library/avatars/{name}/report.html").read_text()
        assert f"<h1>{name}</h1>" in page
        assert "preset one" in page
        assert 'src="preview.png"' in page
    deliver(store, publish(store, "two", "f" * 32), "ada")
    assert "preset two" in (tmp_path / "library/avatars/ada/report.html").read_text()


@pytest.mark.parametrize("spoil", ["missing", "earlier version"])
def test_a_page_is_brought_up_to_date_alone(
    store: ArtifactStore, tmp_path: Path, spoil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = publish(store, "one")
    deliver(store, ref, "ada")
    folder = tmp_path / "library/avatars/ada"
    (folder / "avatar.vrm").write_text("exported by the user")
    page = (folder / "report.html").read_text()
    if spoil == "missing":
        (folder / "report.html").unlink()
    else:
        monkeypatch.setattr(avatar_page, "VERSION", avatar_page.VERSION + 1)
    assert deliver(store, ref, "ada")
    assert not deliver(store, ref, "ada")
    assert (folder / "avatar.vrm").exists()
    assert ((folder / "report.html").read_text() == page) == (spoil == "missing")


@pytest.mark.parametrize("report", ["no JSON", "[1, 2]", "[" * 100_000])
def test_a_report_that_cannot_be_read_costs_the_avatar_its_page_alone(
    store: ArtifactStore, tmp_path: Path, report: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert deliver(store, publish(store, "one", report=report), "ada")
    assert "ada gets no page" in caplog.text
    assert {path.name for path in (tmp_path / "library/avatars/ada").iterdir()} == set(EXPORTED)


def test_two_avatars_can_share_a_result(store: ArtifactStore, tmp_path: Path) -> None:
    ref = publish(store, "one")
    assert deliver(store, ref, "ada")
    assert deliver(store, ref, "ben")
    assert (tmp_path / "library/avatars/ben/avatar.ply").read_text() == "avatar.ply one"


def test_a_library_in_an_object_store_gets_the_files_too() -> None:
    store = ArtifactStore("memory://delivery-test/library")
    ref = publish(store, "one")
    assert deliver(store, ref, "ada")
    assert set(store.library.files("avatars/ada")) == set(FILES)
    assert "<h1>ada</h1>" in store.library.read("avatars/ada/report.html").decode()
    assert not deliver(store, ref, "ada")
