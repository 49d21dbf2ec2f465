"""What stages tell the manifest."""

import platform
from pathlib import Path

from avatar_core.errors import DivergenceError
from avatar_core.manifest import read_latest
from avatar_core.storage import ArtifactRef
from tasks.failures import Failure
from tasks.publishing import publish_failure, publish_result
from tasks.work import Avatar, Place, StageWork

WORK = StageWork("motion", "ab" * 16, 7, {"motion": "walks"}, {}, {})
REF = ArtifactRef("motion", WORK.key, f"store/motion/{WORK.key}", "cd" * 32, 12)
ADA = Avatar("ada", 2, "tall", "red", "walks", 7, "draft")
FAILURE = Failure.of("motion", DivergenceError("not finite"))


def row(place: Place) -> tuple[object, ...]:
    (found,) = read_latest(place.library).to_pylist()
    return tuple(found[name] for name in ("status", "seconds", "device", "host", "attempt"))


def test_what_was_computed_says_where_and_at_what_cost(tmp_path: Path) -> None:
    place = Place(str(tmp_path), "cuda:1", "computed")
    publish_result(place, WORK, ADA, REF, {"seconds": 2.5}, computed=True)
    assert row(place) == ("done", 2.5, "cuda:1", platform.node(), None)


def test_what_was_there_already_costs_nothing_and_was_nowhere(tmp_path: Path) -> None:
    place = Place(str(tmp_path), "cuda:1", "found")
    publish_result(place, WORK, ADA, REF, {"seconds": 2.5}, computed=False)
    assert row(place) == ("cached", None, None, None, None)


def test_a_failure_says_where_and_which_attempt_it_was(tmp_path: Path) -> None:
    place = Place(str(tmp_path), "cpu", "failed")
    publish_failure(place, WORK, ADA, FAILURE, attempt=3)
    assert row(place) == ("failed", None, "cpu", platform.node(), 3)


def test_a_stage_that_was_not_tried_is_no_attempt(tmp_path: Path) -> None:
    place = Place(str(tmp_path), "cpu", "skipped")
    publish_failure(place, WORK, ADA, FAILURE.downstream("motion"), attempt=3)
    assert row(place) == ("skipped", None, None, None, None)
