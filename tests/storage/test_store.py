import json
import logging
import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest

from avatar_core.errors import ArtifactError, ConfigError
from avatar_core.storage import ArtifactRef, ArtifactStore

STAGE, KEY = "texturing", "0123456789abcdef" * 2


@pytest.fixture
def store(library_url, tmp_path):
    return ArtifactStore(library_url, cache_folder=tmp_path / "cache")


@pytest.fixture
def local(tmp_path):
    return ArtifactStore(tmp_path / "library")


def write_two_files(folder):
    (folder / "mesh.bin").write_bytes(b"\x00\x01" * 500)
    (folder / "maps").mkdir()
    (folder / "maps" / "colour.txt").write_text("red")


def stored(store, name):
    """Return the full name, in the store's file system, of the only stored file called `name`."""
    found = store.library.fs.find(store.library.full("store", STAGE, KEY))
    (path,) = [path for path in found if path.endswith(f"/{name}")]
    return path


def overwrite(store, name, data):
    with store.library.fs.open(stored(store, name), "wb") as file:
        file.write(data)


def test_published_files_come_back(store):
    ref = store.publish(STAGE, KEY, write_two_files, {"score": 0.5})
    folder = store.fetch(ref)
    assert (folder / "mesh.bin").read_bytes() == b"\x00\x01" * 500
    assert (folder / "maps" / "colour.txt").read_text() == "red"
    assert (ref.stage, ref.key, ref.uri, ref.bytes) == (STAGE, KEY, f"store/{STAGE}/{KEY}", 1003)
    assert store.find(STAGE, KEY) == ref
    assert store.read_meta(ref) == {"score": 0.5}


def test_an_unknown_key_is_not_found(store):
    assert store.find(STAGE, KEY) is None
    store.publish(STAGE, KEY, write_two_files)
    assert store.find(STAGE, "f" * 32) is None
    assert store.find("motion", KEY) is None


def test_equal_content_has_an_equal_digest_in_every_library(tmp_path, store):
    other = ArtifactStore(tmp_path / "other")
    a = store.publish(STAGE, KEY, write_two_files, {"seconds": 1})
    b = other.publish(STAGE, KEY, write_two_files, {"seconds": 2})
    assert a == b


def test_a_moved_library_keeps_its_artifacts(local, tmp_path):
    ref = local.publish(STAGE, KEY, write_two_files)
    (tmp_path / "library").rename(tmp_path / "moved")
    assert ArtifactStore(tmp_path / "moved").fetch(ref) == tmp_path / "moved" / ref.uri


def test_a_deleted_artifact_is_gone_and_can_be_published_again(store):
    ref = store.publish(STAGE, KEY, write_two_files)
    store.delete(ref)
    assert store.find(STAGE, KEY) is None
    with pytest.raises(ArtifactError, match="missing"):
        store.fetch(ref)
    store.delete(ref)
    assert store.publish(STAGE, KEY, write_two_files) == ref


def test_an_existing_artifact_is_not_computed_again(store):
    first = store.publish(STAGE, KEY, write_two_files)

    def fail(folder):
        raise AssertionError("written although it exists")

    assert store.publish(STAGE, KEY, fail) == first


def test_a_stage_that_fails_leaves_nothing_behind(store):
    def fail_halfway(folder):
        (folder / "half.bin").write_bytes(b"half")
        raise FileNotFoundError("the stage's own trouble")

    with pytest.raises(FileNotFoundError, match="the stage's own trouble"):
        store.publish(STAGE, KEY, fail_halfway)
    assert store.find(STAGE, KEY) is None
    root = store.library.full("store")
    leftovers = store.library.fs.find(root) if store.library.fs.exists(root) else []
    assert leftovers == []


@pytest.mark.parametrize(
    ("write", "complaint"),
    [
        (lambda folder: None, "no file"),
        (lambda folder: (folder / "link").symlink_to(folder / "x"), "plain file"),
        (lambda folder: (folder / "artifact.json").write_text("{}"), "another name"),
    ],
)
def test_what_is_no_artifact_is_refused(store, write, complaint):
    with pytest.raises(ArtifactError, match=complaint):
        store.publish(STAGE, KEY, write)
    assert store.find(STAGE, KEY) is None


def test_metadata_that_json_cannot_hold_is_refused_before_the_work(store):
    with pytest.raises(ArtifactError, match="metadata"):
        store.publish(STAGE, KEY, lambda folder: pytest.fail("worked first"), {"score": float("nan")})


@pytest.mark.parametrize(("stage", "key"), [("../up", KEY), ("Texturing", KEY), (STAGE, "../../x"), (STAGE, "")])
def test_names_that_could_leave_the_store_are_refused(store, stage, key):
    with pytest.raises(ArtifactError, match="is no stage"):
        store.find(stage, key)
    with pytest.raises(ArtifactError, match="is no stage"):
        store.publish(stage, key, write_two_files)


@pytest.mark.parametrize("name", ["mesh.bin", "colour.txt", "artifact.json"])
@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_artifact_is_not_found_and_can_be_computed_again(store, caplog, name, damage):
    ref = store.publish(STAGE, KEY, write_two_files)
    if damage == "truncated":
        overwrite(store, name, b"x")
    else:
        store.library.fs.rm_file(stored(store, name))
    with caplog.at_level(logging.WARNING, "avatar_core"):
        assert store.find(STAGE, KEY) is None
    # A marker that is missing from an object store is an upload that has not ended: nothing to warn about.
    assert ("damaged" in caplog.text) or (name == "artifact.json" and not store.library.is_local)
    assert store.publish(STAGE, KEY, write_two_files) == ref
    assert (store.fetch(ref) / "maps" / "colour.txt").read_text() == "red"


def test_altered_content_of_the_same_size_is_seen_by_its_digest(store):
    store.publish(STAGE, KEY, write_two_files)
    overwrite(store, "colour.txt", b"rot")
    assert store.find(STAGE, KEY, verify="sizes") is not None
    assert store.find(STAGE, KEY, verify="digest") is None


def test_a_download_of_altered_content_fails_and_the_artifact_is_computed_again(tmp_path):
    store = ArtifactStore(f"memory://{uuid.uuid4().hex}", cache_folder=tmp_path)
    ref = store.publish(STAGE, KEY, write_two_files)
    overwrite(store, "colour.txt", b"rot")
    assert store.find(STAGE, KEY) == ref
    with pytest.raises(ArtifactError, match=r"colour\.txt"):
        store.fetch(ref)
    assert store.find(STAGE, KEY) is None


def test_a_marker_that_points_outside_is_damage(local):
    local.publish(STAGE, KEY, write_two_files)
    marker = json.loads(local.library.read(f"store/{STAGE}/{KEY}/artifact.json"))
    marker["files"][0]["path"] = "../../../secret"
    overwrite(local, "artifact.json", json.dumps(marker).encode())
    assert local.find(STAGE, KEY) is None


def test_an_unreadable_store_is_an_error_and_no_proof_of_damage(local):
    (local.library.path("store")).mkdir(parents=True)
    (local.library.path("store") / STAGE).write_text("a file where a folder belongs")
    with pytest.raises(ArtifactError, match="cannot be read"):
        local.find(STAGE, KEY)
    with pytest.raises(ArtifactError):
        local.publish(STAGE, KEY, write_two_files)


def test_concurrent_publishers_of_one_key_agree(store):
    writers = 8
    barrier = threading.Barrier(writers)

    def publish(index):
        def write(folder):
            (folder / "which.txt").write_text(f"{index:06d}")
            barrier.wait()

        return store.publish(STAGE, KEY, write)

    with ThreadPoolExecutor(writers) as pool:
        refs = list(pool.map(publish, range(writers)))
    final = store.find(STAGE, KEY, verify="digest")
    assert final is not None
    assert {(ref.stage, ref.key, ref.uri) for ref in refs} == {(STAGE, KEY, f"store/{STAGE}/{KEY}")}
    if store.library.is_local:
        assert set(refs) == {final}
        assert os.listdir(store.library.path("store", "_tmp")) == []
    for ref in refs:
        assert len((store.fetch(ref) / "which.txt").read_text()) == 6


def test_a_publisher_that_comes_second_replaces_a_damaged_artifact(local):
    def write_while_a_damaged_one_appears(folder):
        broken = local.library.path("store", STAGE, KEY)
        broken.mkdir(parents=True)
        (broken / "half.bin").write_bytes(b"half")
        write_two_files(folder)

    ref = local.publish(STAGE, KEY, write_while_a_damaged_one_appears)
    assert local.find(STAGE, KEY) == ref


def test_only_old_leftovers_of_killed_runs_are_cleaned(local):
    rubbish = local.library.path("store", "_tmp")
    for name in ("_tmp-old", "_tmp-new"):
        (rubbish / name).mkdir(parents=True)
        (rubbish / name / "part.bin").write_bytes(b"part")
    yesterday = time.time() - 2 * 86400
    for path in (rubbish / "_tmp-old" / "part.bin", rubbish / "_tmp-old"):
        os.utime(path, (yesterday, yesterday))
    local.publish(STAGE, KEY, write_two_files)
    assert os.listdir(rubbish) == ["_tmp-new"]


def test_abandoned_uploads_to_an_object_store_are_cleaned_by_age(tmp_path):
    store = ArtifactStore(f"memory://{uuid.uuid4().hex}", cache_folder=tmp_path)
    old, new = f"data-{int(time.time()) - 2 * 86400}-killed", f"data-{int(time.time())}-running"
    for name in (old, new):
        store.library.write(f"store/{STAGE}/{KEY}/{name}/mesh.bin", b"part")
    ref = store.publish(STAGE, KEY, write_two_files)
    folders = store.library.folders(f"store/{STAGE}/{KEY}")
    assert old not in folders
    assert new in folders
    assert len(folders) == 2
    assert store.find(STAGE, KEY) == ref


def test_references_survive_json():
    ref = ArtifactRef(STAGE, KEY, f"store/{STAGE}/{KEY}", "ab" * 32, 12)
    assert ArtifactRef.from_json(json.loads(json.dumps(ref.to_json()))) == ref
    with pytest.raises(ArtifactError, match="sha256"):
        ArtifactRef.from_json({"stage": STAGE, "key": KEY, "uri": "x", "bytes": 1})
    with pytest.raises(ArtifactError, match="stage key"):
        ArtifactRef.from_json({**ref.to_json(), "key": "../../etc"})


@pytest.mark.parametrize("url", ["", "nosuch://place/library"])
def test_a_location_that_cannot_be_used_is_a_config_error(url):
    with pytest.raises(ConfigError):
        ArtifactStore(url)


def test_opening_a_store_creates_nothing(tmp_path):
    store = ArtifactStore(tmp_path / "library")
    assert store.find(STAGE, KEY) is None
    assert not (tmp_path / "library").exists()


def test_a_file_url_is_the_same_local_store(tmp_path):
    store = ArtifactStore((tmp_path / "library").as_uri())
    ref = store.publish(STAGE, KEY, write_two_files)
    assert store.library.is_local
    assert ArtifactStore(tmp_path / "library").find(STAGE, KEY) == ref


def test_fetched_copies_stay_within_their_budget(tmp_path):
    url = f"memory://{uuid.uuid4().hex}"
    store = ArtifactStore(url, cache_folder=tmp_path, cache_bytes=2500)
    keys = [f"{index:032x}" for index in range(3)]
    folders = []
    for key in keys:
        folders.append(store.fetch(store.publish(STAGE, key, write_two_files)))
        an_age_ago = time.time() - 7200 + len(folders)
        os.utime(folders[-1], (an_age_ago, an_age_ago))
    assert [folder.exists() for folder in folders] == [False, True, True]
    last = store.fetch(store.publish(STAGE, "f" * 32, write_two_files))
    assert [folder.exists() for folder in folders] == [False, False, True]
    assert last.exists()


def test_a_fetched_copy_that_was_damaged_is_fetched_again(tmp_path):
    store = ArtifactStore(f"memory://{uuid.uuid4().hex}", cache_folder=tmp_path)
    ref = store.publish(STAGE, KEY, write_two_files)
    (store.fetch(ref) / "mesh.bin").write_bytes(b"torn")
    assert (store.fetch(ref) / "mesh.bin").stat().st_size == 1000


def test_the_memory_file_system_is_really_remote_here(tmp_path):
    store = ArtifactStore("memory://somewhere", cache_folder=tmp_path)
    assert not store.library.is_local
    assert isinstance(store.library.fs, type(fsspec.filesystem("memory")))
