"""Compaction changes how a manifest lies on disk and nothing that is read."""

import os
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avatar_core.errors import ManifestError
from avatar_core.manifest import (
    SCHEMA,
    compact,
    compact_all,
    read_latest,
)
from avatar_core.manifest.layout import open_manifest


def test_compaction_changes_nothing_that_is_read(library, record, write, found):
    for run in range(5):
        write(library, *(record(f"avatar-{i}", status="failed", score=run) for i in range(run + 1)), run=f"r{run}")
    before = found(read_latest(library), *SCHEMA.names[:2], "score", "recorded_at", "run_id")
    result = compact(library)
    assert (result.records, result.merged_files, result.deleted_files) == (5, 5, 0)
    assert found(read_latest(library), *SCHEMA.names[:2], "score", "recorded_at", "run_id") == before
    write(library, record("avatar-0", status="done", score=9), record("new"), run="later")
    assert ("avatar-0", 9.0) in found(read_latest(library), "avatar_id", "score")
    assert compact(library).records == 6
    assert read_latest(library).num_rows == 6


def test_replaced_files_go_after_the_grace_period_only(library, record, write, files):
    write(library, record("a"))
    write(library, record("b"))
    parts = files(library)
    compact(library)
    assert set(parts) < set(files(library))
    write(library, record("c"))
    compact(library)
    first_snapshot = next(name for name in files(library) if name.startswith("snapshot-"))
    assert set(parts) < set(files(library))
    assert compact(library, grace_seconds=0).deleted_files == 5
    left = [name for name in files(library) if name.endswith(".parquet")]
    assert [name.partition("-")[0] for name in left] == ["snapshot", "states"]
    assert first_snapshot not in left
    assert read_latest(library).num_rows == 3
    assert compact(library, grace_seconds=0).deleted_files == 0


def test_compaction_can_wait_for_enough_parts(library, record, write, files):
    write(library, record("a"))
    write(library, record("b"))
    assert compact(library, minimum_parts=3).merged_files == 0
    assert not any(name.startswith("snapshot-") for name in files(library))
    write(library, record("c"))
    assert compact(library, minimum_parts=3).merged_files == 3


def test_compaction_can_go_on_where_an_earlier_one_stopped(library, record, write):
    for index in range(5):
        write(library, record(f"avatar-{index}", status="running"))
        write(library, record(f"avatar-{index}", status="done"))
    merged = [compact(library, maximum_parts=4).merged_files for _ in range(4)]
    assert merged == [4, 5, 3, 0]  # those after the first also replace its snapshot
    assert read_latest(library)["status"].to_pylist() == ["done"] * 5


@pytest.mark.parametrize(("minimum", "left"), [(2, 0), (4, 3)])
def test_many_parts_are_merged_in_as_many_steps_as_it_takes(library, record, write, files, minimum, left):
    for index in range(11):
        write(library, record(f"avatar-{index:02d}"))
    done = compact_all(library, grace_seconds=0, minimum_parts=minimum, maximum_parts=4)
    assert done.records == 11 - left
    assert sum(name.startswith("part-") for name in files(library)) == left
    assert read_latest(library).num_rows == 11
    assert compact_all(library, grace_seconds=0, minimum_parts=minimum, maximum_parts=4).merged_files == 0


def test_large_manifests_compact_to_several_sorted_files(library, record, write, files):
    write(library, *(record(f"avatar-{i % 10}", stage=f"stage_{i // 10}") for i in range(30)))
    compact(library, rows_per_file=12, grace_seconds=0)
    folder = open_manifest(library)
    snapshots = [name for name in files(library) if name.startswith("snapshot-")]
    tables = [pq.read_table(pa.BufferReader(folder.read(name))) for name in snapshots]
    assert [table.num_rows for table in tables] == [9, 9, 12]
    ids = [name for table in tables for name in table["avatar_id"].to_pylist()]
    assert ids == sorted(ids)
    assert read_latest(library).num_rows == 30


def test_a_slice_that_grows_beyond_its_limit_is_halved(library, record, write, files):
    write(library, *(record(f"avatar-{index:02d}") for index in range(0, 40, 2)))
    compact(library, rows_per_file=20, grace_seconds=0)
    for index in (1, 3, 5, 7):
        write(library, record(f"avatar-{index:02d}"))
        compact(library, rows_per_file=20, grace_seconds=0)
    folder = open_manifest(library)
    snapshots = [name for name in files(library) if name.startswith("snapshot-")]
    rows = [pq.read_table(pa.BufferReader(folder.read(name))).num_rows for name in snapshots]
    assert sorted(rows) == [10, 14]


def test_parts_written_during_compactions_are_kept(library, record, write):
    def write_many():
        for index in range(25):
            write(library, record(f"avatar-{index:02d}", status="running"))
            write(library, record(f"avatar-{index:02d}", status="done"))

    writer = threading.Thread(target=write_many)
    writer.start()
    while writer.is_alive():
        compact(library, grace_seconds=0)
    writer.join()
    assert read_latest(library)["status"].to_pylist() == ["done"] * 25


def test_two_compactions_at_once_lose_nothing(library, record, write):
    for index in range(6):
        write(library, record(f"avatar-{index}"))
    threads = [threading.Thread(target=compact, args=(library,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_latest(library).num_rows == 6
    compact(library)
    compact(library, grace_seconds=0)
    assert read_latest(library).num_rows == 6


def test_a_lost_or_damaged_pointer_costs_no_record(library, record, write, found):
    write(library, record("a", status="failed"))
    compact(library, grace_seconds=0)
    write(library, record("a"), record("b"))
    compact(library, grace_seconds=3600)
    folder = open_manifest(library)
    folder.write("_CURRENT.json", b'{"format": 1, "snap')
    with pytest.raises(ManifestError, match=r"_CURRENT.json is damaged .* delete it"):
        read_latest(library)
    folder.remove("_CURRENT.json")
    assert found(read_latest(library), "avatar_id", "status") == [("a", "done"), ("b", "done")]


def test_a_missing_snapshot_is_an_error_and_not_an_empty_manifest(library, record, write, files):
    write(library, record("a"))
    compact(library, grace_seconds=0)
    folder = open_manifest(library)
    for name in files(library):
        if name.startswith("snapshot-"):
            folder.remove(name)
    with pytest.raises(ManifestError, match="lacks a file"):
        read_latest(library)


def test_compaction_cleans_old_unfinished_files(tmp_path, record, write):
    write(tmp_path, record())
    stray = tmp_path / "manifest" / "_tmp-killed.parquet"
    stray.write_bytes(b"half")
    compact(tmp_path)
    assert stray.exists()
    os.utime(stray, (0, 0))
    compact(tmp_path)
    assert not stray.exists()
