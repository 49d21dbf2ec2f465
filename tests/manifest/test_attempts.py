"""Every key that was tried stays in the manifest, with how often."""

import pytest

from avatar_core.errors import ManifestError
from avatar_core.manifest import ManifestRecord, attempts, compact, read_history, read_latest, references


def test_other_seeds_stay_and_attempts_at_one_key_collapse_to_the_last(library, record, write, found):
    for attempt in (1, 2, 3):
        write(library, record("a", "texturing", "failed", key="seed-1", attempt=attempt, error_message=f"no {attempt}"))
    write(library, record("a", "texturing", "done", key="seed-2", attempt=1, score=0.2))
    write(library, record("a", "texturing", "done", key="seed-3", attempt=1, score=0.3))
    assert read_history(library, "a").num_rows == 5
    assert compact(library).records == 3
    assert found(read_history(library, "a"), "key", "attempt", "error_message", "score") == [
        ("seed-1", 3, "no 3", None),
        ("seed-2", 1, None, 0.2),
        ("seed-3", 1, None, 0.3),
    ]
    assert found(read_latest(library), "avatar_id", "stage", "key") == [("a", "texturing", "seed-3")]


def test_the_number_of_attempts_survives_compaction_and_what_is_no_attempt(library, record, write):
    write(library, record("a", "motion", "failed", key="k"), record("b", "motion", "failed", key="k"))
    assert attempts(library) == {("a", "motion", "k"): 1, ("b", "motion", "k"): 1}
    compact(library)
    write(library, record("a", "motion", "failed", key="k", attempt=2), run="run-2")
    write(library, record("a", "motion", "skipped", key="k"), record("a", "motion", "cached", key="other"), run="run-3")
    for _ in range(2):
        assert attempts(library, ["a"]) == {("a", "motion", "k"): 2}
        compact(library)
    write(library, record("a", "motion", "quarantined", key="k", attempt=3), run="run-4")
    assert attempts(library, ["a", "absent"]) == {("a", "motion", "k"): 3}


def test_compaction_keeps_what_a_result_cost_when_it_is_found_again(library, record, write, found):
    write(library, record("a", "motion", "done", key="k", seconds=5.0))
    write(library, record("a", "motion", "running", key="k"), record("a", "motion", "cached", key="k"))
    assert compact(library).records == 2
    assert found(read_history(library, "a"), "status", "seconds") == [("cached", None), ("done", 5.0)]
    assert found(read_latest(library), "status") == [("cached",)]


def test_history_tells_each_record_once_even_if_files_repeat_it(library, record, write):
    from avatar_core.manifest.layout import open_manifest

    write(library, record("a", status="running"), record("a"))
    compact(library)
    open_manifest(library).remove("_CURRENT.json")
    assert read_history(library, "a")["status"].to_pylist() == ["running", "done"]


def test_references_are_all_keys_that_any_record_names(library, record, write):
    names = {("motion", "k1"), ("motion", "k2"), ("texturing", "k1"), ("export", "a-longer-key")}
    write(library, record("a", "motion", key="k1"), record("b", "motion", "failed", key="k2"))
    write(library, record("a", "texturing", key="k1"), record("a", "motion"))
    compact(library)
    write(library, record("a", "motion", key="k1"), record("a", "export", "cached", key="a-longer-key"))
    found = references(library)
    assert found == names
    assert len(found) == 4
    assert ("export", "k1") not in found
    assert ("motion", "k") not in found
    assert ("motion", "k1", "x") not in found
    assert {("motion", "k1"), ("motion", "stray")} - found == {("motion", "stray")}


def test_an_empty_library_names_nothing(library):
    assert references(library) == set()
    assert attempts(library) == {}


@pytest.mark.parametrize("attempt", [0, -1, 2**15])
def test_an_attempt_that_the_manifest_cannot_hold_is_refused(attempt):
    with pytest.raises(ManifestError, match="attempt"):
        ManifestRecord("a", "motion", "failed", attempt=attempt)
