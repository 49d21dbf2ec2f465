import os
import time

import pyarrow.fs
import pytest
from fsspec.implementations.arrow import ArrowFSWrapper

from avatar_core.storage.location import Location, open_location
from avatar_core.storage.paths import atomic_file, cache_root, remove_stale, remove_tree, write_atomic


def test_a_failed_write_leaves_the_old_content_and_no_rubbish(tmp_path):
    path = tmp_path / "report.json"
    write_atomic(path, b"old")

    def write_half():
        with atomic_file(path) as file:
            file.write(b"half of the n")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_half()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["report.json"]


def test_readers_see_the_old_content_until_the_end(tmp_path):
    path = tmp_path / "report.json"
    write_atomic(path, b"old")
    with atomic_file(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_written_files_obey_the_umask(tmp_path):
    plain, atomic = tmp_path / "plain", tmp_path / "atomic"
    plain.write_bytes(b"x")
    write_atomic(atomic, b"x")
    assert atomic.stat().st_mode == plain.stat().st_mode


def test_removing_a_tree_that_is_gone_is_fine(tmp_path):
    folder = tmp_path / "a"
    (folder / "b").mkdir(parents=True)
    remove_tree(folder, tmp_path / "trash")
    remove_tree(folder, tmp_path / "trash")
    assert not folder.exists()
    assert os.listdir(tmp_path / "trash") == []


def test_stale_cleaning_spares_finished_and_young_files(tmp_path):
    long_ago = time.time() - 1000
    for name in ("_tmp-old.bin", "finished.bin"):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (long_ago, long_ago))
    (tmp_path / "_tmp-young.bin").write_bytes(b"x")
    assert remove_stale(tmp_path, 500) == 1
    assert sorted(os.listdir(tmp_path)) == ["_tmp-young.bin", "finished.bin"]
    assert remove_stale(tmp_path / "absent", 500) == 0


def test_the_cache_moves_with_its_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("AVATARS_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("AVATARS_CACHE")
    assert cache_root().name == "avatar-foundry"


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_a_location_lists_files_and_folders_without_unfinished_ones(tmp_path, kind):
    place = open_location(tmp_path if kind == "local" else f"memory://{tmp_path.name}")
    place.write("a.txt", b"12345")
    place.write("a.txt", b"123")
    place.write("sub/b.txt", b"1")
    place.write("_tmp-x/c.txt", b"1")
    place.write("_tmp-d.txt", b"1")
    assert place.files() == {"a.txt": 3}
    assert place.folders() == ["sub"]
    assert place.child("sub").files() == {"b.txt": 1}
    assert place.files("absent") == {}
    assert (place.size("a.txt"), place.size("absent")) == (3, None)
    place.remove("a.txt")
    place.remove("a.txt")
    place.remove_folder("sub")
    place.remove_folder("sub")
    assert place.files() == {}
    with pytest.raises(FileNotFoundError):
        place.read("a.txt")


def test_remote_folders_are_made_but_never_a_top_level_one(tmp_path):
    """What a bucket is to an object store, the first folder is to a file system with real folders."""
    remote = ArrowFSWrapper(pyarrow.fs.LocalFileSystem())
    place = Location("remote://library", remote, str(tmp_path / "library"))
    assert not place.is_local
    place.write("store/motion/a.txt", b"12")
    assert place.child("store", "motion").files() == {"a.txt": 2}
    missing = f"/{tmp_path.name}-missing"
    with pytest.raises(FileNotFoundError):
        Location("remote://misspelt", remote, missing).write("store/a.txt", b"12")
    assert not os.path.exists(missing)
