"""A full disk and a read-only one, both real: small mounts of memory, where this machine lets the tests mount."""

import contextlib
import shutil
import subprocess

import numpy as np
import pytest

from avatar_core.errors import ArtifactError
from avatar_core.storage import ArtifactStore
from avatar_core.storage.garbage import collect_garbage
from avatar_core.storage.leases import LeaseStore

STAGE, KEY, OTHER = "texturing", "ab" * 16, "cd" * 16
DISK_BYTES = 2**20


def mount(*arguments):
    if shutil.which("mount") is None:
        pytest.skip("mount is not installed")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path):
    """A disk of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def store(disk):
    """A store on that disk with one small artifact."""
    store = ArtifactStore(disk / "library")
    store.publish(STAGE, KEY, write_small)
    return store


def write_small(folder):
    (folder / "mesh.bin").write_bytes(b"mesh")


def write_too_much(folder):
    (folder / "mesh.bin").write_bytes(bytes(2 * DISK_BYTES))


def fill(disk):
    """Leave no space at all on the disk; return the file that takes it."""
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(disk).free == 0
    return ballast


def files_of(store):
    return sorted(store.library.tree("store"))


def test_a_result_that_is_too_large_for_the_disk_is_an_error_and_leaves_nothing(store):
    before = files_of(store)
    with pytest.raises(ArtifactError, match=rf"store/{STAGE}/{OTHER} cannot be written.*[Nn]o space.*free space"):
        store.publish(STAGE, OTHER, write_too_much)
    assert files_of(store) == before
    assert list(store.library.path("store", "_tmp").iterdir()) == []
    assert store.find(STAGE, OTHER) is None
    assert store.publish(STAGE, OTHER, write_small).bytes == 4


def test_on_a_full_disk_what_is_there_stays_readable_and_work_goes_on_when_space_is_made(store, disk):
    ballast = fill(disk)
    with pytest.raises(ArtifactError, match="cannot be written"):
        store.publish(STAGE, OTHER, write_small)
    ref = store.find(STAGE, KEY)
    assert (store.fetch(ref) / "mesh.bin").read_bytes() == b"mesh"
    assert store.find(STAGE, OTHER) is None
    ballast.unlink()
    assert (store.fetch(store.publish(STAGE, OTHER, write_small)) / "mesh.bin").read_bytes() == b"mesh"


def test_a_full_disk_can_be_freed_by_deleting(store, disk):
    fill(disk)
    store.delete(store.find(STAGE, KEY))
    assert store.find(STAGE, KEY) is None
    assert not store.library.path("store", STAGE, KEY).exists()


def test_a_checkpoint_that_does_not_fit_is_an_error_and_the_one_before_stays(store, disk):
    checkpoints = store.checkpoints(STAGE, KEY)
    checkpoints.save({"x": np.ones(1000)}, 1)
    ballast = fill(disk)
    with pytest.raises(ArtifactError, match="No checkpoint can be written"):
        checkpoints.save({"x": np.ones(1000)}, 2)
    assert checkpoints.load()[1] == 1
    ballast.unlink()
    checkpoints.save({"x": np.ones(1000)}, 2)
    assert checkpoints.load()[1] == 2


def test_a_lease_that_does_not_fit_is_an_error_and_a_held_one_survives_until_space_is_made(disk):
    with LeaseStore(str(disk / "library"), owner="x") as leases:
        held = leases.acquire("held")
        ballast = fill(disk)
        with pytest.raises(ArtifactError, match="cannot be taken"):
            leases.acquire("a" * 200)
        leases.renew()
        ballast.unlink()
        leases.renew()
        assert not held.lost
        assert leases.acquire("b") is not None


@pytest.fixture
def read_only(store, disk):
    """The store, on a disk that was made read-only."""
    mount("-o", "remount,ro", str(disk))
    yield store
    mount("-o", "remount,rw", str(disk))


def test_a_read_only_library_is_readable_and_every_change_a_clear_error(read_only, disk):
    url = str(disk / "library")
    ref = read_only.find(STAGE, KEY, verify="digest")
    assert read_only.publish(STAGE, KEY, write_too_much) == ref
    assert (read_only.fetch(ref) / "mesh.bin").read_bytes() == b"mesh"
    for action in (
        lambda: read_only.publish(STAGE, OTHER, write_small),
        lambda: read_only.delete(ref),
        lambda: read_only.checkpoints(STAGE, OTHER).save({"x": 1}, 1),
        lambda: LeaseStore(url, owner="x").acquire("a"),
        lambda: collect_garbage(url, referenced=(), grace_seconds=0, dry_run=False),
    ):
        with pytest.raises(ArtifactError, match=rf"{url}.*[Rr]ead-only"):
            action()
    assert read_only.find(STAGE, KEY) == ref


def test_a_damaged_artifact_of_a_read_only_library_is_an_error(store, disk):
    store.library.path("store", STAGE, KEY, "mesh.bin").write_bytes(b"torn")
    mount("-o", "remount,ro", str(disk))
    try:
        with pytest.raises(ArtifactError, match=r"[Rr]ead-only"):
            store.find(STAGE, KEY, verify="digest")
    finally:
        mount("-o", "remount,rw", str(disk))
    assert store.find(STAGE, KEY, verify="digest") is None
