"""From the export artifact to the folder that people open."""

from pathlib import Path

import pytest

from avatar_core.storage import ArtifactRef, ArtifactStore
from flows.delivery import FILES, deliver

KEY = "0123456789abcdef" * 2


def publish(store: ArtifactStore, content: str, key: str = KEY) -> ArtifactRef:
    def write(folder: Path) -> None:
        for name in FILES:
            (folder / name).write_text(f"{name} {content}")

    return store.publish("export", key, write)


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
    assert not deliver(store, ref, "ada")
