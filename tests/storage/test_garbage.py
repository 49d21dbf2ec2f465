import os
import threading
import time
from datetime import UTC, datetime

import numpy as np
import pytest

from avatar_core.storage import ArtifactStore
from avatar_core.storage import leases as leases_module
from avatar_core.storage.garbage import collect_garbage
from avatar_core.storage.leases import LeaseStore
from avatar_core.storage.processes import Process

STAGE = "texturing"
WANTED, UNWANTED, RUNNING = "aa" * 16, "bb" * 16, "cc" * 16
HOUR, DAY = 3600.0, 86400.0


@pytest.fixture(params=["local", "memory"])
def url(request, tmp_path):
    return str(tmp_path / "library") if request.param == "local" else f"memory://{tmp_path.name}/library"


@pytest.fixture
def store(url, tmp_path):
    return ArtifactStore(url, cache_folder=tmp_path / "cache")


def write_mesh(folder):
    (folder / "maps").mkdir()
    (folder / "maps" / "mesh.bin").write_bytes(b"\x00" * 1000)


def age(store, uri, seconds):
    """Make everything below `uri` look as if it had been written so long ago."""
    then = time.time() - seconds
    for relative in store.library.tree(uri):
        full = store.library.full(uri, relative)
        if store.library.is_local:
            os.utime(full, (then, then))
        else:
            file = store.library.fs.store[full]
            file.created = file.modified = datetime.fromtimestamp(then, UTC)


def publish(store, key, seconds=2 * DAY):
    ref = store.publish(STAGE, key, write_mesh)
    age(store, ref.uri, seconds)
    return ref


def collect(url, referenced=(), grace_seconds=DAY, **options):
    return collect_garbage(
        url, referenced={(STAGE, key) for key in referenced}, grace_seconds=grace_seconds, dry_run=False, **options
    )


def test_unreferenced_artifacts_go_and_referenced_ones_stay(store, url):
    wanted, unwanted = publish(store, WANTED), publish(store, UNWANTED)
    garbage = collect(url, [WANTED])
    assert garbage.uris == (unwanted.uri,)
    assert garbage.counts == {"artifact": 1}
    assert garbage.bytes["artifact"] > unwanted.bytes == 1000
    assert store.find(STAGE, UNWANTED) is None
    assert store.library.tree(unwanted.uri) == {}
    assert store.find(STAGE, WANTED, verify="digest") == wanted
    assert collect(url, [WANTED]).items == ()


def test_a_key_counts_for_its_own_stage_alone(store, url):
    publish(store, WANTED)
    collect_garbage(url, referenced=[("motion", WANTED)], grace_seconds=DAY, dry_run=False)
    assert store.find(STAGE, WANTED) is None


def test_what_is_younger_than_the_grace_period_stays(store, url):
    ref = publish(store, UNWANTED, DAY - HOUR)
    assert collect(url).items == ()
    assert store.find(STAGE, UNWANTED) == ref
    age(store, ref.uri, DAY + HOUR)
    assert collect(url).uris == (ref.uri,)


def test_the_clock_of_this_machine_does_not_count(store, url, monkeypatch):
    ref = publish(store, UNWANTED, HOUR)
    monkeypatch.setattr(time, "time", lambda original=time.time: original() + 30 * DAY)
    assert collect(url).items == ()
    assert store.find(STAGE, UNWANTED) == ref


def test_a_dry_run_lists_and_deletes_nothing(store, url):
    publish(store, UNWANTED)
    before = sorted(store.library.tree())
    seen = []
    dry = collect_garbage(url, referenced=(), grace_seconds=DAY, dry_run=True, progress=seen.append)
    assert sorted(store.library.tree()) == before
    assert tuple(seen) == dry.items
    assert collect(url).items == dry.items


def test_a_key_that_is_being_worked_on_is_never_deleted(store, url):
    ref = publish(store, UNWANTED)
    with LeaseStore(url, owner="worker") as leases, leases.acquire(f"{STAGE}/{UNWANTED}"):
        assert collect(url, grace_seconds=0).items == ()
        assert collect_garbage(url, referenced=(), grace_seconds=0, dry_run=True).items == ()
        assert store.find(STAGE, UNWANTED) == ref
    assert collect(url).uris == (ref.uri,)


def test_nobody_gets_the_lease_of_a_key_that_is_being_deleted(store, url, monkeypatch):
    publish(store, UNWANTED)
    refused = []
    original = ArtifactStore.remove

    def remove(self, stage, key):
        with LeaseStore(url, owner="worker") as leases:
            refused.append(leases.acquire(f"{stage}/{key}") is None)
        original(self, stage, key)

    monkeypatch.setattr(ArtifactStore, "remove", remove)
    collect(url)
    assert refused == [True]


def checkpoints_uri(key):
    return f"store/_checkpoints/{STAGE}/{key}"


def test_checkpoints_go_when_their_result_exists_or_is_wanted_no_more(store, url):
    publish(store, WANTED)
    for key in (WANTED, UNWANTED, RUNNING):
        store.checkpoints(STAGE, key).save({"x": np.ones(10)}, 3)
        age(store, checkpoints_uri(key), 2 * DAY)
    garbage = collect(url, [WANTED, RUNNING])
    assert sorted(garbage.uris) == [checkpoints_uri(WANTED), checkpoints_uri(UNWANTED)]
    assert garbage.bytes["checkpoint"] > 0
    assert store.checkpoints(STAGE, RUNNING).load()[1] == 3
    assert store.checkpoints(STAGE, UNWANTED).load() is None


def test_young_checkpoints_stay(store, url):
    store.checkpoints(STAGE, UNWANTED).save({"x": 1}, 3)
    assert collect(url).items == ()


def test_leases_of_the_dead_go_and_what_they_protected_goes_with_them(store, url, monkeypatch):
    ref = publish(store, UNWANTED)
    monkeypatch.setattr(leases_module, "this_process", lambda: Process("elsewhere", "another boot", 1, "1"))
    dead = LeaseStore(url, owner="dead", renew_seconds=DAY)
    dead.acquire(f"{STAGE}/{UNWANTED}")
    assert collect(url).items == ()
    age(store, "leases", 2 * DAY)
    dry = collect_garbage(url, referenced=(), grace_seconds=DAY, dry_run=True)
    assert sorted(dry.uris) == sorted([f"leases/{STAGE}/{UNWANTED}.json", ref.uri])
    assert collect(url).items == dry.items
    assert store.find(STAGE, UNWANTED) is None
    dead.close()


def test_leases_of_the_living_stay(store, url):
    with LeaseStore(url, owner="alive") as leases:
        lease = leases.acquire("anything")
        publish(store, WANTED)
        assert collect(url, [WANTED]).items == ()
        leases.renew()
        assert not lease.lost


def test_what_killed_publishers_left_goes_after_a_day(store, url):
    if store.library.is_local:
        left, young = "store/_tmp/_tmp-killed", "store/_tmp/_tmp-working"
        for folder in (left, young):
            store.library.path(folder).mkdir(parents=True)
            (store.library.path(folder) / "mesh.bin").write_bytes(b"half")
            os.utime(store.library.path(folder), (time.time() - 2 * DAY,) * 2)
    else:
        left, young = f"store/{STAGE}/{UNWANTED}", f"store/{STAGE}/{RUNNING}"
        for folder in (left, young):
            store.library.write(f"{folder}/data-1-0/mesh.bin", b"half")
    age(store, left, 2 * DAY)
    age(store, young, HOUR)
    garbage = collect(url, grace_seconds=60)
    assert garbage.uris == (left,)
    assert garbage.counts == {"unfinished": 1}
    assert garbage.bytes == {"unfinished": 4}
    assert store.library.tree(young) != {}


def test_an_upload_that_goes_on_beside_an_old_artifact_protects_it(tmp_path):
    url = f"memory://{tmp_path.name}/library"
    store = ArtifactStore(url, cache_folder=tmp_path)
    ref = publish(store, UNWANTED)
    store.library.write(f"{ref.uri}/data-1-0/mesh.bin", b"half")
    assert collect(url).items == ()


def test_the_rest_of_the_library_is_left_alone(store, url):
    publish(store, WANTED)
    for name in ("avatars/one/avatar.glb", "manifest/part.parquet", "store/README", "store/Texturing/notes/a.txt"):
        store.library.write(name, b"x")
        age(store, name.rpartition("/")[0], 9 * DAY)
    before = sorted(store.library.tree())
    assert collect(url, [WANTED]).items == ()
    assert sorted(store.library.tree()) == before


def test_a_library_that_does_not_exist_has_no_garbage(url, store):
    assert collect(url).items == ()
    assert store.library.tree() == {}


def test_a_negative_grace_period_is_refused(url):
    with pytest.raises(ValueError, match="grace_seconds"):
        collect(url, grace_seconds=-1)


@pytest.mark.parametrize("linked", [f"store/{STAGE}/{UNWANTED}", f"store/{STAGE}", "store", "store/_tmp", "leases"])
def test_links_are_neither_followed_nor_deleted(tmp_path, linked):
    """`linked` points to a folder outside the library that looks just like a part of it."""
    outside = ArtifactStore(tmp_path / "outside")
    publish(outside, UNWANTED)
    for name in ("store/_tmp/_tmp-killed/mesh.bin", f"leases/{STAGE}/{UNWANTED}.json"):
        outside.library.write(name, b"{}")
    then = time.time() - 9 * DAY
    for path in (tmp_path / "outside").rglob("*"):
        os.utime(path, (then, then))
    before = sorted(outside.library.tree())
    library = tmp_path / "library"
    (library / "manifest").mkdir(parents=True)
    (library / linked).parent.mkdir(parents=True, exist_ok=True)
    (library / linked).symlink_to(tmp_path / "outside" / linked)
    collect(str(library))
    assert sorted(outside.library.tree()) == before
    assert (library / linked).is_symlink()


def test_publishers_at_work_lose_nothing(store, url):
    """Publishers take the lease of a key as workers do; meanwhile everything unreferenced is collected at no grace."""
    stop = threading.Event()
    failures = []

    def publish_again_and_again(number):
        key = f"{number:032x}"
        with LeaseStore(url, owner=f"worker {number}", settle_seconds=0) as leases:
            for _ in range(15):
                lease = None
                while lease is None:  # the collector may just have it
                    lease = leases.acquire(f"{STAGE}/{key}")
                with lease:
                    ref = store.publish(STAGE, key, write_mesh)
                    if (store.fetch(ref) / "maps" / "mesh.bin").read_bytes() != b"\x00" * 1000:
                        failures.append(key)

    def run(number):
        try:
            publish_again_and_again(number)
        except Exception as error:
            failures.append(error)

    def collect_until_stopped():
        while not stop.is_set():
            collected.extend(collect(url, grace_seconds=0).items)

    collected = []
    workers = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    collector = threading.Thread(target=collect_until_stopped)
    for thread in (*workers, collector):
        thread.start()
    for worker in workers:
        worker.join()
    stop.set()
    collector.join()
    assert failures == []
    assert any(item.kind == "artifact" for item in collected)
