"""Whatever compactions, readers and writers do at the same moment, and whatever their clocks say, nothing is lost."""

import errno
import resource
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from avatar_core.errors import ManifestError
from avatar_core.manifest import ManifestWriter, compact, compaction, listing, read_latest, read_states
from avatar_core.manifest import files as manifest_files
from avatar_core.manifest import view as manifest_view
from avatar_core.manifest import writer as manifest_writer
from avatar_core.manifest.layout import SNAPSHOT, compacted_name, open_manifest
from avatar_core.manifest.pointer import CURRENT_NAME
from avatar_core.storage.location import Location


@pytest.fixture
def meanwhile(monkeypatch):
    """Lets something happen once, just before the first call of a function."""

    def arrange(owner, name, act):
        original, waiting = getattr(owner, name), [act]

        def first_act(*arguments, **others):
            if waiting:
                waiting.pop()()
            return original(*arguments, **others)

        monkeypatch.setattr(owner, name, first_act)

    return arrange


@pytest.fixture
def ids():
    """Lists the avatars that a reading finds, in records and in states."""

    def found(library):
        records = sorted(read_latest(library)["avatar_id"].to_pylist())
        assert records == sorted(read_states(library)["avatar_id"].to_pylist())
        return records

    return found


def clock(ahead):
    """Return a datetime class of a machine whose clock is wrong."""

    class WrongClock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + ahead

    return WrongClock


@pytest.mark.parametrize("moment", ["read_content", "list_files"])
def test_a_reader_misses_nothing_when_a_compaction_ends_while_it_lists(
    library, record, write, meanwhile, monkeypatch, ids, moment
):
    write(library, record("a"))
    compact(library)
    write(library, record("b"))
    remove = Location.remove

    def compact_but_keep_snapshots():
        with monkeypatch.context() as patch:
            patch.setattr(Location, "remove", lambda at, name: None if name.startswith("snap") else remove(at, name))
            assert compact(library, grace_seconds=0).deleted_files > 0

    meanwhile(manifest_view, moment, compact_but_keep_snapshots)
    assert read_latest(library).num_rows == 2
    assert ids(library) == ["a", "b"]


@pytest.mark.parametrize("reading", [1, 2])
def test_a_reader_that_sees_a_record_sees_the_writer_s_earlier_ones(tmp_path, record, write, monkeypatch, ids, reading):
    """A folder is not read in one: a file may appear behind the place that reading has come to, and another before."""
    library = str(tmp_path)
    write(library, record("a"))
    read, calls = listing._dated, []

    def read_while_a_writer_writes(folder):
        calls.append(folder)
        found = read(folder)
        if len(calls) == reading:
            write(library, record("b"))
            before = read(folder)
            time.sleep(2 * listing.SETTLE_SECONDS)
            write(library, record("c"))
            found |= {name: date for name, date in read(folder).items() if name not in before}
        return found

    monkeypatch.setattr(listing, "_dated", read_while_a_writer_writes)
    seen = read_latest(library)["avatar_id"].to_pylist()
    assert sorted(seen) == {1: ["a", "b", "c"], 2: ["a"]}[reading]
    assert ids(library) == ["a", "b", "c"]


@pytest.mark.parametrize("reading", [1, 2])
def test_an_object_store_s_pages_show_no_record_without_the_writer_s_earlier_ones(record, monkeypatch, ids, reading):
    """It answers a thousand names at a time: a part may come to an earlier page, and then the next to a later one."""
    library = f"memory://{uuid.uuid4().hex}"
    writer = ManifestWriter(library, "run")
    writer.append(record("a"))
    writer.flush()
    listed, calls = Location.files, []

    def list_while_the_writer_writes(folder):
        calls.append(folder)
        found = listed(folder)
        if len(calls) == reading:
            writer.append(record("b"))
            hidden = writer.flush()
            writer.append(record("c"))
            writer.flush()
            found = {name: size for name, size in listed(folder).items() if name != hidden}
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Location, "files", list_while_the_writer_writes)
        seen = read_latest(library)["avatar_id"].to_pylist()
    assert sorted(seen) == {1: ["a", "b", "c"], 2: ["a"]}[reading]
    assert ids(library) == ["a", "b", "c"]


def test_a_reader_starts_over_when_its_files_are_deleted(library, record, write, meanwhile):
    write(library, record("a"))
    write(library, record("b"))
    meanwhile(manifest_files.Files, "table", lambda: compact(library, grace_seconds=0))
    assert read_states(library).num_rows == 2


@pytest.mark.parametrize("moment", ["read_piece", "write_table", "publish"])
def test_a_compaction_that_was_overtaken_changes_nothing(library, record, write, meanwhile, ids, files, moment):
    write(library, record("a"))

    def overtake():
        write(library, record("b"))
        assert compact(library, grace_seconds=0).records == 2

    meanwhile(compaction, moment, overtake)
    assert compact(library, grace_seconds=0).records == 0
    assert ids(library) == ["a", "b"]
    assert sum(name.startswith("snapshot-") for name in files(library)) == 1


@pytest.mark.parametrize("error", [OSError("the answer was lost"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_compaction_that_fails_after_it_published_deletes_nothing_that_counts(
    library, record, write, monkeypatch, ids, error
):
    write(library, record("a"))
    write_file = Location.write

    def write_and_fail(folder, name, data):
        write_file(folder, name, data)
        if name == CURRENT_NAME:
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(Location, "write", write_and_fail)
        with pytest.raises((ManifestError, KeyboardInterrupt)):
            compact(library)
    assert compact(library, grace_seconds=0).deleted_files == 1
    assert ids(library) == ["a"]


def test_a_compaction_that_cannot_publish_on_a_disk_leaves_nothing_behind(tmp_path, record, write, monkeypatch, files):
    library = str(tmp_path)
    write(library, record("a"))
    before = files(library)

    def fail(folder, name, data):
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Location, "write", fail)
        with pytest.raises(ManifestError, match="nothing is lost"):
            compact(library)
    assert [name for name in files(library) if not name.startswith("_")] == before


def test_a_compaction_whose_files_were_cleared_away_publishes_nothing(library, record, write, meanwhile, ids, files):
    write(library, record("a"))
    folder = open_manifest(library)

    def clear():
        for name in files(library):
            if name.startswith("states-"):
                folder.remove(name)

    meanwhile(compaction, "publish", clear)
    assert compact(library).records == 0
    assert ids(library) == ["a"]


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_writer_with_a_wrong_clock_loses_no_record(library, record, write, ids, monkeypatch, hours):
    write(library, record("a"))
    compact(library, grace_seconds=0)
    wrong = manifest_writer.time.time_ns() + hours * 3600 * 10**9
    monkeypatch.setattr(manifest_writer.time, "time_ns", lambda: wrong)
    write(library, record("b"), run="run-2")
    assert ids(library) == ["a", "b"]
    compact(library, grace_seconds=0)
    write(library, record("c"), run="run-2")
    compact(library, grace_seconds=0)
    assert ids(library) == ["a", "b", "c"]


@pytest.mark.parametrize("ahead", [timedelta(days=-400), timedelta(hours=-1), timedelta(hours=1), timedelta(days=400)])
def test_compactions_with_different_clocks_lose_no_record(library, record, write, ids, monkeypatch, ahead):
    names = [f"avatar-{index}" for index in range(6)]
    for index, name in enumerate(names):
        write(library, record(name))
        with monkeypatch.context() as patch:
            if index % 2:
                patch.setattr(compaction, "datetime", clock(ahead))
            compact(library, grace_seconds=60, rows_per_file=2)
        assert ids(library) == names[: index + 1]


def test_what_a_killed_compaction_left_behind_goes_after_a_day(library, record, write, files):
    write(library, record("a"))
    compact(library, grace_seconds=0)
    old, young = (compacted_name(SNAPSHOT, datetime.now(UTC) - timedelta(hours=hours), 0) for hours in (25, 23))
    for name in (old, young):
        open_manifest(library).write(name, b"unfinished business")
    assert compact(library, grace_seconds=0).deleted_files == 1
    assert old not in files(library)
    assert young in files(library)


def test_slices_without_news_are_left_as_they_are(library, record, write, files, ids):
    write(library, *(record(f"avatar-{index}") for index in range(9)))
    compact(library, rows_per_file=3)
    before = {name for name in files(library) if name.startswith(("snapshot-", "states-"))}
    write(library, record("avatar-4", status="failed"), record("zoe"))
    compact(library, rows_per_file=3, grace_seconds=0)
    after = {name for name in files(library) if name.startswith(("snapshot-", "states-"))}
    assert len(before) == 6
    assert len(before & after) == 2
    assert ids(library) == [*(f"avatar-{index}" for index in range(9)), "zoe"]


def test_a_flush_whose_success_went_unheard_is_repeated_without_doubling(library, record, monkeypatch, files):
    original = manifest_writer.write_table

    def write_and_fail(*arguments):
        original(*arguments)
        raise OSError("the answer was lost")

    writer = ManifestWriter(library, "run")
    writer.append(record("a", status="running"))
    monkeypatch.setattr(manifest_writer, "write_table", write_and_fail)
    with pytest.raises(ManifestError, match="1 records wait for the next attempt"):
        writer.flush()
    monkeypatch.setattr(manifest_writer, "write_table", original)
    compact(library, grace_seconds=0)
    writer.append(record("b"))
    assert writer.held == 2
    writer.flush()
    assert writer.held == 0
    assert sum(name.startswith("part-") for name in files(library)) == 2
    compact(library, grace_seconds=0)
    assert sorted(read_latest(library)["avatar_id"].to_pylist()) == ["a", "b"]


def test_a_full_disk_stops_writer_and_compaction_and_costs_nothing(tmp_path, record, write, ids, files):
    library = tmp_path / "library"
    write(library, *(record(f"avatar-{index:04d}", error_message=f"{index * 7919:x}") for index in range(2000)))
    before = files(library)
    writer = ManifestWriter(library, "run-2")
    writer.append(record("zoe", extra={str(index): f"{index * 104729:x}" for index in range(500)}))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(ManifestError, match=r"cannot be written: .* Check free space .* 1 records wait"):
            writer.flush()
        with pytest.raises(ManifestError, match=r"cannot be compacted: .* Check free space .* nothing is lost"):
            compact(library)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [name for name in files(library) if name.endswith(".parquet")] == before
    writer.flush()
    assert compact(library).records == 2001
    assert ids(library)[-1] == "zoe"


def test_a_compaction_that_cannot_publish_leaves_everything_as_it_was(library, record, write, ids, files, monkeypatch):
    write(library, record("a"))
    before = files(library)

    def fail(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(compaction, "publish", fail)
        with pytest.raises(ManifestError, match="Read-only file system"):
            compact(library)
    assert files(library) == before
    assert ids(library) == ["a"]
