"""What people say of avatars lies in the manifest beside what stages say, and counts for the result that was seen."""

import json

import pytest

from avatar_core.catalog import CatalogRow
from avatar_core.errors import ManifestError
from avatar_core.manifest import (
    ManifestRecord,
    compact,
    read_costs,
    read_history,
    read_latest,
    read_states,
    read_summary,
    rejections,
    status_counts,
)
from avatar_core.manifest.layout import open_manifest
from avatar_core.manifest.states import STATES_VERSION


def review_of(library, avatar_id="a"):
    (state,) = read_states(library, avatar_ids=[avatar_id]).to_pylist()
    return state["review"]


@pytest.fixture(params=[False, True], ids=["parts", "compacted"])
def tidy(request):
    """Compacts a library, or leaves it as it is."""
    return (lambda library: compact(library, grace_seconds=0)) if request.param else (lambda library: None)


@pytest.mark.parametrize("status", ["approved", "rejected", "requested"])
def test_the_last_review_of_an_export_counts(library, record, write, tidy, status):
    write(library, record(stage="export", key="k1", score=0.5))
    before = read_states(library).to_pylist()[0]
    tidy(library)
    write(library, ManifestRecord.review("a", "approved", "k1"))
    write(library, ManifestRecord.review("a", status, "k1"))
    tidy(library)
    (state,) = read_states(library).to_pylist()
    assert state["review"] == status
    assert state["reviewed_at"] > before["updated_at"]
    assert {**state, "review": None, "reviewed_at": None} == before
    assert read_summary(library).reviews == {status: 1}


def test_a_review_counts_for_the_result_that_was_seen_alone(library, record, write, tidy):
    write(library, record(stage="export", key="k1"))
    write(library, ManifestRecord.review("a", "requested", "k1"))
    write(library, record(stage="texturing", status="failed", key="t2"))
    tidy(library)
    assert review_of(library) == "requested"
    write(library, record(stage="export", key="k2"))
    tidy(library)
    assert review_of(library) is None
    assert read_summary(library).reviews == {}
    kept = read_history(library, "a").to_pylist()
    assert ("review", "requested", "k1") in {(one["stage"], one["status"], one["key"]) for one in kept}


def test_an_avatar_without_a_result_can_be_reviewed_until_it_has_one(library, record, write, tidy):
    write(library, record(stage="texturing", status="failed", key="t1"))
    write(library, ManifestRecord.review("a", "requested", None))
    tidy(library)
    assert review_of(library) == "requested"
    write(library, record(stage="export", key="k1"))
    tidy(library)
    assert review_of(library) is None


def test_a_review_can_be_taken_back(library, record, write, tidy):
    write(library, record(stage="export", key="k1"))
    write(library, ManifestRecord.review("a", "approved", "k1"))
    write(library, ManifestRecord.review("a", "withdrawn", "k1"))
    tidy(library)
    assert review_of(library) is None


def test_reviews_are_neither_stages_nor_costs_nor_rejected_rows(library, record, write, tidy):
    write(library, ManifestRecord.catalog_read("c.csv"), record(stage="export", key="k1", seconds=2.0))
    write(library, ManifestRecord.review("a", "rejected", "k1"))
    tidy(library)
    latest = read_latest(library)
    assert rejections(latest).num_rows == 0
    assert status_counts(latest) == {"export": {"done": 1}}
    summary = read_summary(library)
    assert summary.statuses == {"export": {"done": 1}}
    assert summary.rejected.num_rows == 0
    assert read_costs(library)["computations"].to_pylist() == [1]
    (state,) = read_states(library).to_pylist()
    assert (state["state"], state["stage"], state["stages_done"]) == ("done", "export", 1)


def test_what_is_no_review_is_refused():
    with pytest.raises(ManifestError, match="'done' is no review"):
        ManifestRecord.review("a", "done", None)


def test_states_tell_what_was_asked_for_and_what_came_of_it(library, record, write, tidy):
    row = CatalogRow(2, "a", "tall", "red", "walks", None, None, None, ("x", "y"), {})
    write(library, ManifestRecord.accepted(row, catalog="c.csv", seed=5))
    tidy(library)
    (state,) = read_states(library).to_pylist()
    assert (state["shape"], state["appearance"], state["motion"], state["tags"]) == ("tall", "red", "walks", ["x", "y"])
    assert (state["seed"], state["key"], state["score"]) == (5, None, None)
    write(library, record(stage="texturing", score=0.9, seed=6), record(stage="export", key="k", score=0.4, seed=6))
    tidy(library)
    (state,) = read_states(library).to_pylist()
    assert (state["seed"], state["key"], state["score"]) == (6, "k", 0.4)
    assert state["appearance"] == "red"


def test_states_of_an_earlier_version_are_computed_anew(library, record, write, files):
    write(library, *(record(f"a{index}", "export", key=f"k{index}", shape="tall", score=0.1) for index in range(4)))
    compact(library, rows_per_file=2, grace_seconds=0)
    new = read_states(library).sort_by("avatar_id")
    folder = open_manifest(library)
    pointer = json.loads(folder.read("_CURRENT.json"))
    pointer["format"] = 2
    for item in pointer["slices"]:
        assert item.pop("states_version") == STATES_VERSION
    folder.write("_CURRENT.json", json.dumps(pointer).encode())
    for name in files(library):
        if name.startswith("states-"):
            folder.write(name, b"of an earlier version")
    assert read_states(library).sort_by("avatar_id").equals(new)
    write(library, record("b", "export"))
    compact(library, rows_per_file=2, grace_seconds=0)
    pointer = json.loads(folder.read("_CURRENT.json"))
    assert {item["states_version"] for item in pointer["slices"]} == {STATES_VERSION}
    assert read_states(library).sort_by("avatar_id").slice(0, 4).equals(new)
