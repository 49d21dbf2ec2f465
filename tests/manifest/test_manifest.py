import os
import threading
import uuid
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_core.catalog import CatalogRow, RejectedRow
from avatar_core.errors import ConfigError, ManifestError
from avatar_core.manifest import (
    SCHEMA,
    STATE_COLUMNS,
    ManifestRecord,
    ManifestWriter,
    avatar_states,
    compact,
    read_history,
    read_latest,
    rejections,
    state_counts,
    status_counts,
)
from avatar_core.manifest.latest import latest_rows
from avatar_core.manifest.layout import open_manifest, part_name, write_table
from avatar_core.storage import ArtifactRef


@pytest.fixture(params=["local", "memory"])
def library(request, tmp_path):
    return str(tmp_path / "library") if request.param == "local" else f"memory://{uuid.uuid4().hex}"


def record(avatar_id="a", stage="texturing", status="done", **others):
    return ManifestRecord(avatar_id, stage, status, **others)


def write(library, *records, run="run-1"):
    with ManifestWriter(library, run) as writer:
        writer.append(records)


def found(table, *columns):
    return sorted(zip(*(table[name].to_pylist() for name in columns)))


def files(library):
    return sorted(open_manifest(library).files())


def test_a_library_without_a_manifest_is_empty(library):
    table = read_latest(library)
    assert table.num_rows == 0
    assert table.schema == SCHEMA
    assert avatar_states(table).num_rows == 0
    assert rejections(table).num_rows == 0
    assert status_counts(table) == {}


def test_every_field_comes_back(library):
    full = record(
        catalog="demo.csv",
        line=7,
        key="ab" * 16,
        seed=2**31 - 1,
        shape="tall",
        appearance="café 💃",
        motion="walks",
        preset="draft",
        body="anny",
        tags=("x", "y"),
        extra={"note": "from Ann"},
        uri="store/texturing/abc",
        sha256="cd" * 32,
        bytes=2**40,
        seconds=1.5,
        peak_mb=200.25,
        score=-0.5,
        error_kind="DivergenceError",
        error_field="shape",
        error_message="it diverged",
        remedy="try again",
    )
    before = datetime.now(UTC)
    write(library, full)
    (row,) = read_latest(library).to_pylist()
    assert before - timedelta(seconds=1) <= row.pop("recorded_at") <= datetime.now(UTC)
    assert (row.pop("run_id"), row.pop("sequence"), row.pop("schema_version")) == ("run-1", 0, 1)
    assert row.pop("extra") == '{"note": "from Ann"}'
    assert row.pop("tags") == ["x", "y"]
    for name, value in row.items():
        assert value == getattr(full, name), name


def test_the_latest_record_of_each_avatar_and_stage_counts(library):
    write(library, record(status="running"), record("b", status="failed"), record(stage="motion"), run="z-first")
    write(library, record(status="done", score=1.0), run="a-second")
    write(library, record("b", status="cached"), record("b", status="failed"), record("b"), run="a-third")
    assert found(read_latest(library), "avatar_id", "stage", "status") == [
        ("a", "motion", "done"),
        ("a", "texturing", "done"),
        ("b", "texturing", "done"),
    ]


def test_columns_and_avatars_can_be_picked(library):
    write(library, record("a"), record("b"), record("c", score=3.0))
    table = read_latest(library, columns=["score", "avatar_id"], avatar_ids=["c", "absent"])
    assert table.column_names == ["score", "avatar_id"]
    assert table.to_pylist() == [{"score": 3.0, "avatar_id": "c"}]
    assert read_latest(library, avatar_ids=[]).num_rows == 0


def test_the_history_of_an_avatar_is_in_order(library):
    write(library, record(status="running"), record("b"), record(status="failed"))
    write(library, record(status="done"), run="run-2")
    assert read_history(library, "a")["status"].to_pylist() == ["running", "failed", "done"]


def test_each_flush_is_one_new_immutable_part(library):
    writer = ManifestWriter(library, "run/1 ü")
    assert writer.flush() is None
    assert files(library) == []
    writer.append(record())
    assert read_latest(library).num_rows == 0
    first = writer.flush()
    assert writer.flush() is None
    writer.append([record("b"), record("c")])
    second = writer.flush()
    assert files(library) == sorted([first, second])
    assert first.startswith("part-run_1_")


def test_a_writer_flushes_by_itself_by_number_and_by_age(library):
    by_number = ManifestWriter(library, "n", flush_rows=3)
    for index in range(7):
        by_number.append(record(f"avatar-{index}"))
    assert read_latest(library).num_rows == 6
    by_age = ManifestWriter(library, "t", flush_seconds=0.0)
    by_age.append(record("aged"))
    assert read_latest(library).num_rows == 7


def test_a_failed_flush_loses_nothing(tmp_path):
    writer = ManifestWriter(tmp_path / "library", "run")
    writer.append(record())
    (tmp_path / "library").write_text("a file in the way")
    with pytest.raises(ManifestError, match="cannot be written"):
        writer.flush()
    (tmp_path / "library").unlink()
    writer.flush()
    assert read_latest(tmp_path / "library").num_rows == 1


def test_records_are_written_even_if_the_run_fails(library):
    def run():
        with ManifestWriter(library, "run") as writer:
            writer.append(record(status="failed"))
            raise RuntimeError("the run's own trouble")

    with pytest.raises(RuntimeError, match="own trouble"):
        run()
    assert read_latest(library).num_rows == 1


def test_threads_share_a_writer_and_lose_nothing(library):
    with ManifestWriter(library, "run", flush_rows=50) as writer:
        threads = [
            threading.Thread(target=lambda name=name: [writer.append(record(f"{name}-{i}")) for i in range(100)])
            for name in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    table = read_latest(library)
    assert table.num_rows == 400
    assert sorted(table["sequence"].to_pylist()) == list(range(400))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [(("", "motion", "done"), "id"), (("a", "motion", "finished"), "status"), (("a", "Bad stage", "done"), "stage")],
)
def test_records_that_reading_could_not_understand_are_refused(arguments, problem):
    with pytest.raises(ManifestError, match=problem):
        ManifestRecord(*arguments)


def test_messages_that_utf8_cannot_hold_do_not_stop_the_manifest(library):
    write(library, record(status="failed", error_message="bad \udcff byte" + "x" * 10_000))
    (message,) = read_latest(library)["error_message"].to_pylist()
    assert message.startswith("bad ? byte")
    assert len(message) == 4000


def test_strays_in_the_folder_do_no_harm(library):
    write(library, record())
    folder = open_manifest(library)
    for name in ("_tmp-1234.parquet", ".hidden.parquet", "notes.txt", "analysis.parquet", "_old.json"):
        folder.write(name, b"no parquet at all")
    assert read_latest(library).num_rows == 1
    assert compact(library).records == 1
    assert read_latest(library).num_rows == 1


def test_parts_of_an_older_schema_are_read_with_nulls(library):
    old = pa.table(
        {
            "avatar_id": ["old"],
            "stage": ["motion"],
            "status": ["done"],
            "run_id": ["r"],
            "recorded_at": pa.array([0], pa.timestamp("us", tz="UTC")),
            "sequence": pa.array([0], pa.int64()),
            "schema_version": pa.array([1], pa.int16()),
        }
    )
    buffer = pa.BufferOutputStream()
    pq.write_table(old, buffer)
    open_manifest(library).write(part_name("a"), buffer.getvalue().to_pybytes())
    write(library, record("new", score=2.0))
    table = read_latest(library)
    assert table.schema == SCHEMA
    assert found(table, "avatar_id", "score") == [("new", 2.0), ("old", None)]


def test_a_manifest_of_a_newer_version_is_not_misread(library):
    write(library, record())
    folder = open_manifest(library)
    (name,) = files(library)
    table = read_latest(library)
    newer = pa.array([99], pa.int16())
    index = table.schema.get_field_index("schema_version")
    write_table(folder, name, table.set_column(index, SCHEMA.field(index), newer))
    with pytest.raises(ManifestError, match="newer version"):
        read_latest(library)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"x" * 99])
def test_a_damaged_part_is_named_with_the_remedy(library, damage):
    for index in range(3):
        write(library, record(f"avatar-{index}"))
    folder = open_manifest(library)
    bad = files(library)[1]
    folder.write(bad, damage(folder.read(bad)))
    with pytest.raises(ManifestError, match=rf"{bad} is damaged .*: move it away"):
        read_latest(library)
    folder.remove(bad)
    assert read_latest(library).num_rows == 2


def test_a_location_that_cannot_be_used_is_a_config_error():
    with pytest.raises(ConfigError):
        read_latest("nosuch://library")


def test_compaction_changes_nothing_that_is_read(library):
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


def test_replaced_files_go_after_the_grace_period_only(library):
    write(library, record("a"))
    write(library, record("b"))
    parts = files(library)
    compact(library)
    assert set(parts) < set(files(library))
    write(library, record("c"))
    compact(library)
    first_snapshot = next(name for name in files(library) if name.startswith("snapshot-"))
    assert set(parts) < set(files(library))
    assert compact(library, grace_seconds=0).deleted_files == 4
    left = files(library)
    assert len(left) == 2
    assert first_snapshot not in left
    assert read_latest(library).num_rows == 3
    assert compact(library, grace_seconds=0).deleted_files == 0


def test_compaction_can_wait_for_enough_parts(library):
    write(library, record("a"))
    write(library, record("b"))
    assert compact(library, minimum_parts=3).merged_files == 0
    assert not any(name.startswith("snapshot-") for name in files(library))
    write(library, record("c"))
    assert compact(library, minimum_parts=3).merged_files == 3


def test_large_manifests_compact_to_several_sorted_files(library):
    write(library, *(record(f"avatar-{i % 10}", stage=f"stage_{i // 10}") for i in range(30)))
    compact(library, rows_per_file=12, grace_seconds=0)
    folder = open_manifest(library)
    snapshots = [name for name in files(library) if name.startswith("snapshot-")]
    tables = [pq.read_table(pa.BufferReader(folder.read(name))) for name in snapshots]
    assert [table.num_rows for table in tables] == [12, 12, 6]
    ids = [name for table in tables for name in table["avatar_id"].to_pylist()]
    assert ids == sorted(ids)
    assert read_latest(library).num_rows == 30


def test_parts_written_during_compactions_are_kept(library):
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


def test_two_compactions_at_once_lose_nothing(library):
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


def test_a_lost_or_damaged_pointer_costs_no_record(library):
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


def test_a_missing_snapshot_is_an_error_and_not_an_empty_manifest(library):
    write(library, record("a"))
    compact(library, grace_seconds=0)
    folder = open_manifest(library)
    for name in files(library):
        if name.startswith("snapshot-"):
            folder.remove(name)
    with pytest.raises(ManifestError, match="lacks a file"):
        read_latest(library)


def test_compaction_cleans_old_unfinished_files(tmp_path):
    write(tmp_path, record())
    stray = tmp_path / "manifest" / "_tmp-killed.parquet"
    stray.write_bytes(b"half")
    compact(tmp_path)
    assert stray.exists()
    os.utime(stray, (0, 0))
    compact(tmp_path)
    assert not stray.exists()


ROWS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["x", "y"]),
        st.integers(0, 3),
        st.sampled_from(["r1", "r2", "r3"]),
        st.integers(0, 3),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(ROWS)
def test_the_latest_rows_are_those_of_a_plain_loop(rows):
    names = ["avatar_id", "stage", "recorded_at", "run_id", "sequence"]
    columns = list(zip(*rows)) or [()] * 5
    types = [SCHEMA.field(name).type for name in names]
    table = pa.table({name: pa.array(list(c), t) for name, c, t in zip(names, columns, types)})
    expected = {}
    for avatar_id, stage, *order in rows:
        expected[avatar_id, stage] = max(order, expected.get((avatar_id, stage), order))
    result = latest_rows(table)
    got = {
        (row[0], row[1]): list(row[2:])
        for row in zip(
            result["avatar_id"].to_pylist(),
            result["stage"].to_pylist(),
            result["recorded_at"].cast(pa.int64()).to_pylist(),
            result["run_id"].to_pylist(),
            result["sequence"].to_pylist(),
        )
    }
    assert got == expected
    assert result.num_rows == len(expected)


def good_row(avatar_id, line):
    return CatalogRow(line, avatar_id, "tall", "red", "walks", None, None, None, ("t",), {"note": "n"})


def bad_row(line, avatar_id=None):
    return RejectedRow(line, avatar_id, "seed", "no integer", "use an integer", "raw")


def test_the_state_of_each_avatar_follows_from_its_stages(library):
    rows = [good_row(name, line) for line, name in enumerate(["waiting", "going", "broken", "ready", "redone"], 2)]
    write(library, *(ManifestRecord.accepted(row, catalog="c.csv", seed=5) for row in rows))
    write(
        library,
        record("going", "coarse_shape", "cached", seconds=1.0),
        record("going", "implicit_init", "running"),
        record("broken", "coarse_shape", "done", seconds=2.0),
        record("broken", "motion", "failed", error_kind="E", error_message="m", remedy="r", seconds=0.5),
        record("broken", "texturing", "done", seconds=4.0),
        record("ready", "texturing", "failed", error_message="old trouble"),
        record("ready", "texturing", "done"),
        record("ready", "export", "done"),
        record("redone", "export", "done"),
        record("redone", "motion", "failed", error_message="new trouble"),
    )
    states = avatar_states(read_latest(library, columns=STATE_COLUMNS))
    by_id = {row["avatar_id"]: row for row in states.to_pylist()}
    assert {name: row["state"] for name, row in by_id.items()} == {
        "waiting": "accepted",
        "going": "running",
        "broken": "failed",
        "ready": "done",
        "redone": "failed",
    }
    broken = by_id["broken"]
    assert (broken["catalog"], broken["line"], broken["stages_done"], broken["seconds"]) == ("c.csv", 4, 2, 6.5)
    assert (broken["error_stage"], broken["error_kind"]) == ("motion", "E")
    assert (broken["error_message"], broken["remedy"], broken["stage"]) == ("m", "r", "texturing")
    assert by_id["ready"]["error_message"] is None
    assert by_id["redone"]["error_message"] == "new trouble"
    assert by_id["waiting"]["stages_done"] == 0
    assert state_counts(states) == {"accepted": 1, "running": 1, "failed": 2, "done": 1}


def test_a_rejected_row_does_not_hide_the_good_row_of_the_same_id(library):
    write(
        library,
        ManifestRecord.catalog_read("c.csv"),
        ManifestRecord.accepted(good_row("hero", 2), catalog="c.csv", seed=5, preset="draft"),
        ManifestRecord.rejected(bad_row(3, "hero"), catalog="c.csv"),
    )
    latest = read_latest(library)
    states = avatar_states(latest)
    assert found(states, "avatar_id", "state", "line") == [("hero", "accepted", 2)]
    assert status_counts(latest) == {"catalog": {"accepted": 1}}
    (rejected,) = rejections(latest).to_pylist()
    assert (rejected["line"], rejected["error_field"], rejected["remedy"]) == (3, "seed", "use an integer")
    accepted = latest.filter(pa.compute.equal(latest["avatar_id"], "hero")).to_pylist()[0]
    assert (accepted["seed"], accepted["preset"], accepted["tags"]) == (5, "draft", ["t"])


def test_rejections_are_those_of_the_last_reading_of_each_catalog(library):
    def read_catalog_with(lines, catalog, run):
        rejected = [ManifestRecord.rejected(bad_row(line), catalog=catalog) for line in lines]
        write(library, ManifestRecord.catalog_read(catalog), *rejected, run=run)

    read_catalog_with([12, 3], "c.csv", "run-1")
    read_catalog_with([5], "d.csv", "run-1")
    write(library, ManifestRecord.rejected(bad_row(8), catalog="never-finished.csv"), run="run-1")
    assert found(rejections(read_latest(library)), "catalog", "line") == [
        ("c.csv", 3),
        ("c.csv", 12),
        ("d.csv", 5),
        ("never-finished.csv", 8),
    ]
    read_catalog_with([12], "c.csv", "run-2")
    compact(library)
    read_catalog_with([], "d.csv", "run-3")
    assert found(rejections(read_latest(library)), "catalog", "line") == [
        ("c.csv", 12),
        ("never-finished.csv", 8),
    ]


def test_a_stage_record_points_to_its_artifact(library):
    ref = ArtifactRef("motion", "ab" * 16, "store/motion/" + "ab" * 16, "cd" * 32, 123)
    write(library, ManifestRecord.of_artifact("hero", "done", ref, seconds=2.5, score=0.3))
    (row,) = read_latest(library).to_pylist()
    assert ArtifactRef.from_json(row) == ref
    assert (row["status"], row["seconds"], row["score"]) == ("done", 2.5, 0.3)


def test_many_records_are_counted_without_mixing_avatars_up(library):
    write(library, *(record(f"avatar-{i:05d}", stage, "done") for i in range(2000) for stage in ("motion", "export")))
    write(library, *(record(f"avatar-{i:05d}", "motion", "failed") for i in range(0, 2000, 3)), run="run-2")
    latest = read_latest(library, columns=STATE_COLUMNS)
    assert status_counts(latest) == {"export": {"done": 2000}, "motion": {"done": 1333, "failed": 667}}
    assert state_counts(avatar_states(latest)) == {"done": 1333, "failed": 667}
