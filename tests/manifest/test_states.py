"""Avatars' states and rejections follow from the records."""


import pyarrow as pa

from avatar_core.catalog import CatalogRow, RejectedRow
from avatar_core.manifest import (
    STATE_COLUMNS,
    ManifestRecord,
    avatar_states,
    compact,
    read_latest,
    rejections,
    state_counts,
    status_counts,
)
from avatar_core.storage import ArtifactRef


def good_row(avatar_id, line):
    return CatalogRow(line, avatar_id, "tall", "red", "walks", None, None, None, ("t",), {"note": "n"})


def bad_row(line, avatar_id=None):
    return RejectedRow(line, avatar_id, "seed", "no integer", "use an integer", "raw")


def test_the_state_of_each_avatar_follows_from_its_stages(library, record, write):
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


def test_a_rejected_row_does_not_hide_the_good_row_of_the_same_id(library, write, found):
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


def test_rejections_are_those_of_the_last_reading_of_each_catalog(library, write, found):
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


def test_a_stage_record_points_to_its_artifact(library, write):
    ref = ArtifactRef("motion", "ab" * 16, "store/motion/" + "ab" * 16, "cd" * 32, 123)
    write(library, ManifestRecord.of_artifact("hero", "done", ref, seconds=2.5, score=0.3))
    (row,) = read_latest(library).to_pylist()
    assert ArtifactRef.from_json(row) == ref
    assert (row["status"], row["seconds"], row["score"]) == ("done", 2.5, 0.3)


def test_many_records_are_counted_without_mixing_avatars_up(library, record, write):
    write(library, *(record(f"avatar-{i:05d}", stage, "done") for i in range(2000) for stage in ("motion", "export")))
    write(library, *(record(f"avatar-{i:05d}", "motion", "failed") for i in range(0, 2000, 3)), run="run-2")
    latest = read_latest(library, columns=STATE_COLUMNS)
    assert status_counts(latest) == {"export": {"done": 2000}, "motion": {"done": 1333, "failed": 667}}
    assert state_counts(avatar_states(latest)) == {"done": 1333, "failed": 667}
