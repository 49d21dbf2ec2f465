"""Manifests of earlier versions are read and taken over; those of later ones are refused."""

import json
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avatar_core.errors import ManifestError
from avatar_core.manifest import (
    SCHEMA,
    SCHEMA_VERSION,
    attempts,
    compact,
    read_costs,
    read_latest,
    read_states,
    roll_up,
)
from avatar_core.manifest.layout import open_manifest

_TEXT, _INTEGER, _REAL = pa.string(), pa.int64(), pa.float64()
SCHEMA_1 = pa.schema(
    {
        **{"avatar_id": _TEXT, "catalog": _TEXT, "line": _INTEGER, "stage": _TEXT, "key": _TEXT, "status": _TEXT},
        **{"seed": _INTEGER, "shape": _TEXT, "appearance": _TEXT, "motion": _TEXT, "preset": _TEXT, "body": _TEXT},
        **{"tags": pa.list_(_TEXT), "extra": _TEXT, "uri": _TEXT, "sha256": _TEXT, "bytes": _INTEGER},
        **{"seconds": _REAL, "peak_mb": _REAL, "score": _REAL, "error_kind": _TEXT, "error_field": _TEXT},
        **{"error_message": _TEXT, "remedy": _TEXT, "run_id": _TEXT, "recorded_at": pa.timestamp("us", tz="UTC")},
        **{"sequence": _INTEGER, "schema_version": pa.int16()},
    }
)
"""What version 1 wrote."""
OLD_SNAPSHOT = f"snapshot-20260102T030405.000006Z-00000-{'0' * 32}.parquet"


def old_part_name() -> str:
    """Return a part's name as programs gave it that did not number the parts of a writer."""
    return f"part-old-{uuid.uuid4().hex}.parquet"


def write_old(library, name, *rows):
    whole = [
        {"status": "done", "run_id": "old", "recorded_at": 10 * index, "sequence": index, "schema_version": 1, **row}
        for index, row in enumerate(rows)
    ]
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(whole, schema=SCHEMA_1), buffer)
    open_manifest(library).write(name, buffer.getvalue().to_pybytes())


@pytest.fixture
def old_library(library):
    """A library as version 1 left it: a snapshot, a part that it replaces, a later part, and the pointer."""
    covered = old_part_name()
    write_old(library, covered, {"avatar_id": "a", "stage": "motion", "key": "k", "seconds": 1.0})
    write_old(library, OLD_SNAPSHOT, {"avatar_id": "a", "stage": "motion", "key": "k", "seconds": 2.0})
    write_old(library, old_part_name(), {"avatar_id": "b", "stage": "motion", "key": "k", "status": "failed"})
    pointer = {"format": 1, "snapshots": [OLD_SNAPSHOT], "covered": {covered: "20260102T030405.000006Z"}}
    open_manifest(library).write("_CURRENT.json", json.dumps(pointer).encode())
    return library


def test_files_of_version_1_read_as_nulls_where_they_have_no_column(old_library, record, write, found):
    write(old_library, record("c", attempt=2, device="cuda:0", host="gpu-1"))
    table = read_latest(old_library)
    assert table.schema == SCHEMA
    assert found(table, "avatar_id", "attempt", "device", "host", "seconds", "schema_version") == [
        ("a", None, None, None, 2.0, 1),
        ("b", None, None, None, None, 1),
        ("c", 2, "cuda:0", "gpu-1", None, SCHEMA_VERSION),
    ]


def test_compaction_takes_a_manifest_of_version_1_over(old_library, files, found):
    before = read_latest(old_library)
    states = found(read_states(old_library), "avatar_id", "state", "seconds")
    assert states == [("a", "running", 2.0), ("b", "failed", 0.0)]
    assert compact(old_library, grace_seconds=0).records == 2
    assert OLD_SNAPSHOT not in files(old_library)
    assert read_latest(old_library).sort_by("avatar_id").equals(before.sort_by("avatar_id"))
    assert found(read_states(old_library), "avatar_id", "state", "seconds") == states
    assert attempts(old_library) == {("a", "motion", "k"): 1, ("b", "motion", "k"): 1}
    assert roll_up(read_costs(old_library))["seconds"].to_pylist() == [2.0]


@pytest.mark.parametrize(
    ("pointer", "problem"),
    [
        ({"format": 4}, r"newer version \(format 4"),
        ({"format": 2, "covered": {}, "slices": [{"first": "b"}]}, "damaged .* delete it"),
        ({"format": 2, "covered": []}, "damaged .* delete it"),
        ({"format": 1, "covered": {}, "snapshots": ["../secret.parquet"]}, "damaged .* no file of a compaction"),
        (7, "damaged .* delete it"),
    ],
)
def test_a_pointer_that_cannot_be_understood_is_refused(library, pointer, problem):
    open_manifest(library).write("_CURRENT.json", json.dumps(pointer).encode())
    with pytest.raises(ManifestError, match=problem):
        read_latest(library)
    with pytest.raises(ManifestError, match=problem):
        compact(library)


def test_slices_out_of_order_are_refused(library, record, write):
    write(library, *(record(f"avatar-{index}") for index in range(4)))
    compact(library, rows_per_file=2)
    folder = open_manifest(library)
    pointer = json.loads(folder.read("_CURRENT.json"))
    pointer["slices"].reverse()
    folder.write("_CURRENT.json", json.dumps(pointer).encode())
    with pytest.raises(ManifestError, match="out of order"):
        read_latest(library)
