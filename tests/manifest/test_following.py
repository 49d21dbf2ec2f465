"""States in memory stay those of the manifest, whatever happens to it."""

import pytest

from avatar_core.errors import ManifestError
from avatar_core.manifest import ManifestRecord, StatesFollower, compact, read_states
from avatar_core.manifest.layout import open_manifest

COLUMNS = ("avatar_id", "state", "review", "score")


@pytest.fixture
def follower(library):
    found = StatesFollower(library, COLUMNS)
    assert found.table.num_rows == 0
    assert found.refresh()
    return found


def check(follower, library):
    expected = read_states(library, columns=COLUMNS).sort_by("avatar_id")
    assert follower.table.sort_by("avatar_id").equals(expected)


def test_an_unchanged_manifest_is_not_read_again(library, record, write, follower):
    assert not follower.refresh()
    write(library, record("a"))
    assert follower.refresh()
    before = follower.table
    assert not follower.refresh()
    assert follower.table is before


def test_new_parts_change_the_avatars_that_they_are_about(library, record, write, follower):
    write(library, *(record(f"a{index}", "export", key="k", score=index) for index in range(9)))
    compact(library, rows_per_file=4)
    write(library, record("a3", "motion", "failed"), record("new"))
    assert follower.refresh()
    check(follower, library)
    write(library, ManifestRecord.review("a5", "approved", "k"))
    write(library, record("a5", "texturing"), record("newer"), ManifestRecord.review("a3", "requested", "k"))
    assert follower.refresh()
    check(follower, library)
    states = {row["avatar_id"]: (row["state"], row["review"]) for row in follower.table.to_pylist()}
    assert len(states) == follower.table.num_rows == 11
    assert (states["a5"], states["a3"]) == (("done", "approved"), ("failed", "requested"))


def test_a_compaction_is_followed(library, record, write, follower):
    write(library, record("a"))
    follower.refresh()
    write(library, record("b"))
    compact(library, grace_seconds=0)
    assert follower.refresh()
    check(follower, library)
    write(library, record("a", "export"))
    assert follower.refresh()
    check(follower, library)


def test_a_part_that_is_taken_away_is_missed(library, record, write, follower, files):
    write(library, record("a"))
    (first,) = files(library)
    write(library, record("b"))
    follower.refresh()
    open_manifest(library).remove(first)
    assert follower.refresh()
    assert follower.table["avatar_id"].to_pylist() == ["b"]


def test_a_damaged_part_is_named_and_read_once_it_is_mended(library, record, write, follower, files):
    write(library, record("a"))
    (name,) = files(library)
    folder = open_manifest(library)
    content = folder.read(name)
    folder.write(name, b"damaged")
    with pytest.raises(ManifestError, match=name):
        follower.refresh()
    folder.write(name, content)
    assert follower.refresh()
    assert follower.table["avatar_id"].to_pylist() == ["a"]
