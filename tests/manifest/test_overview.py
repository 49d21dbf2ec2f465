"""States and sums that compaction prepares are those that follow from the records."""

import uuid
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_core.manifest import (
    SCHEMA,
    SCHEMA_VERSION,
    ManifestRecord,
    avatar_states,
    compact,
    read_latest,
    read_states,
    read_summary,
    rejections,
    state_counts,
    status_counts,
)
from avatar_core.manifest.layout import open_manifest, part_name, write_table
from avatar_core.manifest.states import review_counts, stage_totals

IDS = ("a", "b", "catalog", "d", "rejected", "z", "é")
STAGES = ("coarse_shape", "motion", "export")
SAID = {"avatar_id": IDS, "status": ("approved", "rejected", "withdrawn"), "key": (None, "k1", "k2")}


@st.composite
def records(draw):
    """A record of an avatar's stage, of a review, of a row, or about a catalog, with a time that others may share."""
    kind = draw(st.sampled_from(["stage"] * 6 + ["review", "accepted", "rejected", "read"]))
    row = {"recorded_at": draw(st.integers(0, 12)), "seconds": draw(st.sampled_from([None, 0.5, 4.0]))}
    if kind == "stage":
        status = draw(st.sampled_from(["running", "done", "cached", "failed", "skipped", "quarantined"]))
        failed = status in ("failed", "quarantined")
        row |= {
            "avatar_id": draw(st.sampled_from(IDS)),
            "stage": draw(st.sampled_from(STAGES)),
            "key": draw(st.sampled_from([None, "k1", "k2"])),
            "status": status,
            "device": draw(st.sampled_from([None, "cpu", "cuda:0"])),
            "error_kind": draw(st.sampled_from(["E1", "E2"])) if failed else None,
            "error_message": "trouble" if failed else None,
        }
        return row
    if kind == "review":
        said = {name: draw(st.sampled_from(values)) for name, values in SAID.items()}
        return row | {"stage": "review"} | said
    catalog = draw(st.sampled_from(["c.csv", "d.csv"]))
    line = draw(st.integers(2, 4))
    avatar_id = {
        "accepted": draw(st.sampled_from(IDS)),
        "rejected": f"rejected:{catalog}:{line}",
        "read": f"catalog:{catalog}",
    }[kind]
    return row | {"avatar_id": avatar_id, "stage": "catalog", "status": kind, "catalog": catalog, "line": line}


COMPACT = st.tuples(st.just("compact"), st.integers(1, 6))
HISTORIES = st.lists(st.one_of(st.lists(records(), min_size=1, max_size=8), COMPACT), max_size=10)


def write_part(library, rows, number):
    whole = [
        {"run_id": f"run-{number % 3}", "sequence": 100 * number + index, "schema_version": SCHEMA_VERSION, **row}
        for index, row in enumerate(rows)
    ]
    name = part_name("run", uuid.uuid4().hex, 1)
    write_table(open_manifest(library), name, pa.Table.from_pylist(whole, schema=SCHEMA))


def sorted_rows(table):
    return table.sort_by("avatar_id").to_pylist()


def check_against_plain_reading(library):
    latest = read_latest(library)
    states = avatar_states(latest)
    assert sorted_rows(read_states(library)) == sorted_rows(states)
    assert read_states(library).schema == states.schema
    some = ["a", "é", "absent"]
    expected = states.filter(pc.is_in(states["avatar_id"], value_set=pa.array(some)))
    assert sorted_rows(read_states(library, avatar_ids=some)) == sorted_rows(expected)
    summary = read_summary(library)
    assert summary.states == state_counts(states)
    assert summary.statuses == status_counts(latest)
    assert summary.reviews == review_counts(states)
    assert set(summary.totals) == set(stage_totals(latest))
    assert summary.seconds == sum(states["seconds"].to_pylist())
    assert summary.rejected.select(["catalog", "line"]).equals(rejections(latest).select(["catalog", "line"]))
    failed = [(row["error_stage"], row["error_kind"]) for row in states.to_pylist() if row["state"] == "failed"]
    errors = summary.errors.to_pylist()
    assert {(row["error_stage"], row["error_kind"]): row["avatars"] for row in errors} == Counter(failed)


@settings(deadline=None, max_examples=15)
@given(HISTORIES)
def test_states_are_those_of_a_plain_reading_whenever_compaction_runs(history):
    library = f"memory://{uuid.uuid4().hex}"
    for number, step in enumerate(history):
        if isinstance(step, tuple):
            before = sorted_rows(read_latest(library).sort_by("stage"))
            compact(library, rows_per_file=step[1], grace_seconds=0)
            assert sorted_rows(read_latest(library).sort_by("stage")) == before
        else:
            write_part(library, step, number)
    check_against_plain_reading(library)


def test_an_empty_library_has_no_states(library):
    check_against_plain_reading(library)
    assert read_summary(library).states == {}
    assert read_summary(library).seconds == 0.0


def test_a_given_up_stage_counts_as_failed_with_its_reason(library, record, write):
    write(library, record("a", "motion", "failed", key="k", error_kind="E", error_message="no", attempt=2))
    write(library, record("a", "motion", "quarantined", key="k", error_kind="E", error_message="gave up", attempt=3))
    (state,) = read_states(library).to_pylist()
    assert (state["state"], state["error_stage"], state["error_message"]) == ("failed", "motion", "gave up")
    compact(library)
    assert read_summary(library).statuses == {"motion": {"quarantined": 1}}
    assert read_summary(library).states == {"failed": 1}


def test_columns_of_states_can_be_picked(library, record, write):
    write(library, record("a", "export"), record("b"))
    compact(library)
    write(library, record("b", "export"))
    table = read_states(library, columns=["state", "avatar_id"])
    assert table.column_names == ["state", "avatar_id"]
    assert table.sort_by("avatar_id").to_pylist() == [
        {"state": "done", "avatar_id": "a"},
        {"state": "done", "avatar_id": "b"},
    ]


def test_states_come_from_prepared_files_alone_if_nothing_is_new(library, record, write, files):
    write(library, *(record(f"avatar-{i}") for i in range(10)))
    compact(library, grace_seconds=0)
    folder = open_manifest(library)
    for name in files(library):
        if name.startswith("snapshot-"):
            folder.remove(name)
    assert read_states(library).num_rows == 10


@pytest.mark.parametrize("lost", [True, False])
def test_a_lost_pointer_costs_time_and_no_state(library, record, write, lost):
    write(library, record("a"), ManifestRecord("a", "export", "failed", error_kind="E", error_message="m"))
    compact(library)
    write(library, record("b", "export"))
    if lost:
        open_manifest(library).remove("_CURRENT.json")
    assert read_summary(library).states == {"failed": 1, "done": 1}
    check_against_plain_reading(library)
    compact(library)
    check_against_plain_reading(library)
