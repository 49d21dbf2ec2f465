import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from avatar_core.errors import ArtifactError
from avatar_core.storage import leases as leases_module
from avatar_core.storage import open_location
from avatar_core.storage.leases import LeaseStore
from avatar_core.storage.processes import Process, this_process

NAME = "texturing/" + "ab" * 16
TTL = 60.0
ROOT = Path(__file__).parents[2]


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def open_store(library_url):
    """Opens LeaseStores of one library that renew nothing by themselves."""
    opened = []

    def open_one(owner="worker", clock=None, ttl_seconds=TTL):
        store = LeaseStore(
            library_url,
            owner=owner,
            ttl_seconds=ttl_seconds,
            renew_seconds=86400,
            settle_seconds=0,
            monotonic=clock or Clock(),
        )
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def elsewhere(monkeypatch):
    """Workers believe that they run as this process of another machine, until the test says otherwise."""

    def move(process):
        monkeypatch.setattr(leases_module, "this_process", lambda: process)

    move(Process("elsewhere", "another boot", 1, "1"))
    return move


def test_one_worker_at_a_time_holds_a_name(open_store):
    one, other = open_store("one"), open_store("other")
    lease = one.acquire(NAME)
    assert lease is not None
    assert not lease.lost
    assert other.acquire(NAME) is None
    assert one.acquire(NAME) is None
    assert other.acquire("motion/" + "ab" * 16) is not None


def test_a_holder_is_told_to_the_others(open_store):
    one, other = open_store("gpu-3"), open_store()
    assert other.holder(NAME) is None
    one.acquire(NAME)
    holder = other.holder(NAME)
    assert (holder.owner, holder.host, holder.pid) == ("gpu-3", this_process().host, os.getpid())


def test_release_frees_the_name(open_store):
    one, other = open_store(), open_store()
    with one.acquire(NAME):
        assert other.acquire(NAME) is None
    assert other.holder(NAME) is None
    assert other.acquire(NAME) is not None


def test_closing_releases_everything(open_store):
    one, other = open_store(), open_store()
    for name in ("a", "b/c"):
        one.acquire(name)
    one.close()
    assert other.acquire("a") is not None
    assert other.acquire("b/c") is not None
    with pytest.raises(ValueError, match="closed"):
        one.acquire("d")


def test_a_holder_elsewhere_that_does_not_renew_expires_by_the_watchers_own_clock(open_store, elsewhere):
    dead, clock = open_store("dead"), Clock()
    watcher = open_store("watcher", clock)
    dead.acquire(NAME)
    assert watcher.acquire(NAME) is None
    clock.now += TTL - 1
    assert watcher.acquire(NAME) is None
    assert watcher.holder(NAME).owner == "dead"
    clock.now += 1
    assert watcher.holder(NAME) is None
    assert watcher.acquire(NAME) is not None
    assert open_store().holder(NAME).owner == "watcher"


def test_every_renewal_gives_a_holder_elsewhere_its_whole_time_again(open_store, elsewhere):
    alive, clock = open_store(), Clock()
    watcher = open_store("watcher", clock)
    lease = alive.acquire(NAME)
    for _ in range(5):
        assert watcher.acquire(NAME) is None
        clock.now += TTL - 1
        alive.renew()
    assert watcher.acquire(NAME) is None
    assert not lease.lost


def test_a_watcher_that_first_looks_after_a_long_time_waits_all_the_same(open_store, elsewhere):
    clock = Clock()
    watcher = open_store("watcher", clock)
    open_store().acquire(NAME)
    clock.now += 100 * TTL
    assert watcher.acquire(NAME) is None


def test_the_holders_time_to_live_counts_and_not_the_watchers(open_store, elsewhere):
    clock = Clock()
    patient = open_store("patient", ttl_seconds=600)
    watcher = open_store("watcher", clock)
    patient.acquire(NAME)
    assert watcher.acquire(NAME) is None
    clock.now += 599
    assert watcher.acquire(NAME) is None
    clock.now += 1
    assert watcher.acquire(NAME) is not None


def test_a_lease_that_another_took_is_lost_and_its_release_frees_nothing(open_store, elsewhere):
    stalled, clock = open_store("stalled"), Clock()
    watcher = open_store("watcher", clock)
    lost = stalled.acquire(NAME)
    watcher.acquire(NAME)
    clock.now += TTL
    taken = watcher.acquire(NAME)
    assert not lost.lost
    stalled.renew()
    assert lost.lost
    lost.release()
    assert open_store().holder(NAME).owner == "watcher"
    watcher.renew()
    assert not taken.lost


def test_a_lease_that_was_not_renewed_in_time_is_lost_before_anyone_takes_it(open_store):
    clock = Clock()
    store = open_store(clock=clock)
    lease = store.acquire(NAME)
    clock.now += TTL - 1
    assert not lease.lost
    store.renew()
    clock.now += TTL - 1
    assert not lease.lost
    clock.now += 1
    assert lease.lost
    store.renew()
    assert lease.lost


def test_a_process_with_the_holders_id_that_started_later_is_not_the_holder(open_store, elsewhere):
    elsewhere(replace(this_process(), started="1"))
    open_store().acquire(NAME)
    assert open_store().acquire(NAME) is not None


def test_the_processes_of_another_container_are_not_looked_up_here(open_store, elsewhere):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = this_process()
    elsewhere(Process(here.host, f"{here.boot} of another container", ended.pid, "1"))
    open_store().acquire(NAME)
    assert open_store().acquire(NAME) is None
    elsewhere(Process(here.host, here.boot, ended.pid, "1"))
    open_store().acquire("other")
    assert open_store().acquire("other") is not None


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b'{"token": 1, "ttl": Infinity}'])
def test_a_torn_lease_expires_like_any_other(open_store, library_url, content):
    open_location(library_url).write(f"leases/{NAME}.json", content)
    clock = Clock()
    store = open_store(clock=clock)
    assert store.acquire(NAME) is None
    assert store.holder(NAME).owner == "unknown"
    clock.now += TTL
    assert store.acquire(NAME) is not None


@pytest.mark.parametrize("name", ["", "/a", "a/", "../a", "a//b", "_mutex", "a.json", "a b", "a" * 300])
def test_names_that_could_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="no name of a lease"):
        LeaseStore(str(tmp_path), owner="x").acquire(name)


@pytest.mark.parametrize("ttl", [0, -1, 86400])
def test_a_time_to_live_out_of_range_is_refused(tmp_path, ttl):
    with pytest.raises(ValueError, match="ttl_seconds"):
        LeaseStore(str(tmp_path), owner="x", ttl_seconds=ttl)


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "library").write_text("a file where a folder belongs")
    with pytest.raises(ArtifactError, match="cannot be taken"):
        LeaseStore(str(tmp_path / "library"), owner="x").acquire(NAME)


def test_opening_creates_nothing(tmp_path):
    with LeaseStore(str(tmp_path / "library"), owner="x") as store:
        assert store.holder(NAME) is None
    assert not (tmp_path / "library").exists()


def test_one_thread_renews_all_leases_until_the_store_is_closed(tmp_path):
    renewed = threading.Semaphore(0)

    class Watched(LeaseStore):
        def renew(self):
            super().renew()
            renewed.release()

    before = set(threading.enumerate())
    store = Watched(str(tmp_path), owner="x", renew_seconds=0.01)
    leases = [store.acquire(name) for name in ("a", "b", "c")]
    assert all(renewed.acquire(timeout=30) for _ in range(3))
    (thread,) = set(threading.enumerate()) - before
    assert thread.daemon
    beats = [json.loads((tmp_path / "leases" / f"{lease.name}.json").read_text())["beat"] for lease in leases]
    assert min(beats) >= 2
    store.close()
    assert not thread.is_alive()


HOLD = """
import sys
from avatar_core.storage.leases import LeaseStore
lease = LeaseStore(sys.argv[1], owner="victim").acquire(sys.argv[2])
print("held" if lease else "refused", flush=True)
sys.stdin.read()
"""


def start(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_kill_9_frees_the_name_at_once_on_the_same_machine(tmp_path):
    victim = start(HOLD, str(tmp_path), NAME)
    assert victim.stdout.readline() == "held\n"
    with LeaseStore(str(tmp_path), owner="heir", monotonic=Clock()) as store:
        assert store.acquire(NAME) is None
        victim.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, victim.pid, os.WEXITED | os.WNOWAIT)  # dead, but its parent has not taken note yet
        assert store.holder(NAME) is None
        assert store.acquire(NAME) is not None
    victim.communicate()


FIGHT = """
import os, sys
from pathlib import Path
from avatar_core.storage.leases import LeaseStore

library, number = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
refused = 0
with LeaseStore(str(library), owner=f"worker {number}") as store:
    for index in range(50):  # all workers want the same name at the same time
        done, busy = library / f"{index}.done", library / f"{index}.busy"
        while not done.exists():
            lease = store.acquire(f"stage/{index}")
            if lease is None:
                refused += 1
                continue
            with lease:
                if done.exists():
                    continue
                try:
                    handle = os.open(busy, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
                except FileExistsError:
                    print("overlap", index, flush=True)
                    continue
                for _ in range(5):  # work that takes a moment
                    os.write(handle, b"work")
                    os.fsync(handle)
                os.close(handle)
                with open(library / "computed", "a") as file:
                    file.write(f"{index}\\n")
                done.touch()
                os.unlink(busy)
print("refused", refused, flush=True)
"""


def test_eight_processes_that_fight_over_fifty_names_compute_each_once(tmp_path):
    workers = [start(FIGHT, str(tmp_path), str(number)) for number in range(8)]
    assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * 8
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    outputs = [worker.communicate()[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 8
    assert [output[0] for output in outputs] == ["refused"] * 8
    assert sum(int(output[1]) for output in outputs) > 0  # they did get into each other's way
    assert [int(line) for line in (tmp_path / "computed").read_text().split()] == list(range(50))


@pytest.mark.parametrize("dead", [False, True], ids=["free", "held by a dead worker"])
def test_of_many_threads_that_want_one_name_one_gets_it(open_store, library_url, elsewhere, dead):
    """Disks, s3:// and memory:// decide on creation; of the takeovers memory:// decides none (hence not here)."""
    if dead and library_url.startswith("memory"):
        pytest.skip("memory:// has no conditional replacement: two may take over one dead lease")
    clock = Clock()
    stores = [open_store(f"worker {number}", clock) for number in range(8)]
    if dead:
        open_store().acquire(NAME)
        assert [store.acquire(NAME) for store in stores] == [None] * 8
        clock.now += TTL
    barrier, won = threading.Barrier(8), []

    def want(store):
        barrier.wait()
        won.append(store.acquire(NAME) is not None)

    threads = [threading.Thread(target=want, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True]
