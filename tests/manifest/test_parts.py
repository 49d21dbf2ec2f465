"""Records go in as immutable parts and come back as the latest of each avatar and stage."""

import threading
import uuid
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_core.errors import ConfigError, ManifestError
from avatar_core.manifest import (
    SCHEMA,
    SCHEMA_VERSION,
    ManifestRecord,
    ManifestWriter,
    avatar_states,
    compact,
    read_history,
    read_latest,
    rejections,
    status_counts,
)
from avatar_core.manifest.latest import latest_rows
from avatar_core.manifest.layout import open_manifest, part_name, write_table


def test_a_library_without_a_manifest_is_empty(library):
    table = read_latest(library)
    assert table.num_rows == 0
    assert table.schema == SCHEMA
    assert avatar_states(table).num_rows == 0
    assert rejections(table).num_rows == 0
    assert status_counts(table) == {}


def test_every_field_comes_back(library, record, write):
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
        attempt=3,
        device="cuda:0",
        host="gpu-07",
        error_kind="DivergenceError",
        error_field="shape",
        error_message="it diverged",
        remedy="try again",
    )
    before = datetime.now(UTC)
    write(library, full)
    (row,) = read_latest(library).to_pylist()
    assert before - timedelta(seconds=1) <= row.pop("recorded_at") <= datetime.now(UTC)
    assert (row.pop("run_id"), row.pop("sequence"), row.pop("schema_version")) == ("run-1", 0, SCHEMA_VERSION)
    assert row.pop("extra") == '{"note": "from Ann"}'
    assert row.pop("tags") == ["x", "y"]
    for name, value in row.items():
        assert value == getattr(full, name), name


def test_the_latest_record_of_each_avatar_and_stage_counts(library, record, write, found):
    write(library, record(status="running"), record("b", status="failed"), record(stage="motion"), run="z-first")
    write(library, record(status="done", score=1.0), run="a-second")
    write(library, record("b", status="cached"), record("b", status="failed"), record("b"), run="a-third")
    assert found(read_latest(library), "avatar_id", "stage", "status") == [
        ("a", "motion", "done"),
        ("a", "texturing", "done"),
        ("b", "texturing", "done"),
    ]


def test_columns_and_avatars_can_be_picked(library, record, write):
    write(library, record("a"), record("b"), record("c", score=3.0))
    table = read_latest(library, columns=["score", "avatar_id"], avatar_ids=["c", "absent"])
    assert table.column_names == ["score", "avatar_id"]
    assert table.to_pylist() == [{"score": 3.0, "avatar_id": "c"}]
    assert read_latest(library, avatar_ids=[]).num_rows == 0


def test_the_history_of_an_avatar_is_in_order(library, record, write):
    write(library, record(status="running"), record("b"), record(status="failed"))
    write(library, record(status="done"), run="run-2")
    assert read_history(library, "a")["status"].to_pylist() == ["running", "failed", "done"]


def test_each_flush_is_one_new_immutable_part(library, record, files):
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


def test_a_writer_flushes_by_itself_by_number_and_by_age(library, record):
    by_number = ManifestWriter(library, "n", flush_rows=3)
    for index in range(7):
        by_number.append(record(f"avatar-{index}"))
    assert read_latest(library).num_rows == 6
    by_age = ManifestWriter(library, "t", flush_seconds=0.0)
    by_age.append(record("aged"))
    assert read_latest(library).num_rows == 7


def test_a_failed_flush_loses_nothing(tmp_path, record):
    writer = ManifestWriter(tmp_path / "library", "run")
    writer.append(record())
    (tmp_path / "library").write_text("a file in the way")
    with pytest.raises(ManifestError, match="cannot be written"):
        writer.flush()
    (tmp_path / "library").unlink()
    writer.flush()
    assert read_latest(tmp_path / "library").num_rows == 1


def test_records_are_written_even_if_the_run_fails(library, record):
    def run():
        with ManifestWriter(library, "run") as writer:
            writer.append(record(status="failed"))
            raise RuntimeError("the run's own trouble")

    with pytest.raises(RuntimeError, match="own trouble"):
        run()
    assert read_latest(library).num_rows == 1


def test_threads_share_a_writer_and_lose_nothing(library, record):
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


def test_messages_that_utf8_cannot_hold_do_not_stop_the_manifest(library, record, write):
    write(library, record(status="failed", error_message="bad \udcff byte" + "x" * 10_000))
    (message,) = read_latest(library)["error_message"].to_pylist()
    assert message.startswith("bad ? byte")
    assert len(message) == 4000


def test_strays_in_the_folder_do_no_harm(library, record, write):
    write(library, record())
    folder = open_manifest(library)
    for name in ("_tmp-1234.parquet", ".hidden.parquet", "notes.txt", "analysis.parquet", "_old.json"):
        folder.write(name, b"no parquet at all")
    assert read_latest(library).num_rows == 1
    assert compact(library).records == 1
    assert read_latest(library).num_rows == 1


def test_parts_of_an_older_schema_are_read_with_nulls(library, record, write, found):
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
    open_manifest(library).write(part_name("a", uuid.uuid4().hex, 1), buffer.getvalue().to_pybytes())
    write(library, record("new", score=2.0))
    table = read_latest(library)
    assert table.schema == SCHEMA
    assert found(table, "avatar_id", "score") == [("new", 2.0), ("old", None)]


def test_a_manifest_of_a_newer_version_is_not_misread(library, record, write, files):
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
def test_a_damaged_part_is_named_with_the_remedy(library, damage, record, write, files):
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
