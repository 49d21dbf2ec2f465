"""What failed is made again as it was, from the manifest and the plans of runs alone."""

from dataclasses import replace
from pathlib import Path

import pytest
from small_library import DIVERGED, avatars, fail, finish, plan, row

from avatar_core.errors import CatalogError, ConfigError
from avatar_core.manifest import ManifestRecord, ManifestWriter, compact, read_latest, read_states
from flows.options import Gate, RunOptions
from flows.retry import Choices, retry_requests
from flows.run_plan import run_folder
from flows.session import new_run_id, prepare


@pytest.fixture
def session(tmp_path: Path):
    """ada is done, ben failed once, cid so often that it is in quarantine."""
    options = RunOptions(max_attempts=2, max_avatars=100, gate=Gate(minimum=0.1), failure_fraction=0.9)
    found = plan(tmp_path, [row("ada"), row("ben", seed=7, line=3), row("cid", line=4)], options)
    ada, ben, cid = avatars(found)
    finish(found, ada)
    fail(found, ben)
    fail(found, cid, attempt=2)
    return found


def again(session, *avatar_ids: str, **choices):
    return retry_requests(session.run.library, avatar_ids, Choices(device="cpu", **choices))


def test_all_that_failed_is_made_again_with_the_settings_of_its_run(session) -> None:
    (request,) = again(session)
    assert [one.id for one in request.rows] == ["ben", "cid"]
    ben = request.rows[0]
    assert (ben.line, ben.seed, ben.appearance, ben.tags) == (3, 7, "a man called ben", ("crowd",))
    assert ben.extra == {"team": "blue"}
    assert request.catalog == "people.csv"
    assert request.options.retry
    assert request.options.gate == session.run.options.gate
    assert request.options.failure_fraction == 0.9
    assert request.options.max_avatars is None
    assert request.recipes == session.run.recipes


def test_a_plan_of_what_failed_has_the_keys_that_failed_and_takes_it_out_of_quarantine(session) -> None:
    (request,) = again(session)
    planned = prepare(request, new_run_id())
    assert planned.planned.quarantined == {}
    keys = {avatar.avatar_id: avatar.keys for avatar in avatars(session)}
    assert {avatar.avatar_id: avatar.keys for avatar in avatars(planned)} == {"ben": keys["ben"], "cid": keys["cid"]}
    assert planned.shards == [0]


def test_without_trying_again_what_is_in_quarantine_stays_there(session) -> None:
    rows = [row("ben", seed=7, line=3), row("cid", line=4)]
    planned = plan(Path(session.run.library), rows, RunOptions(max_attempts=2))
    assert list(planned.planned.quarantined) == ["cid"]


def test_rows_that_are_known_are_not_recorded_anew(session) -> None:
    (request,) = again(session)
    planned = prepare(request, new_run_id())
    records = read_latest(session.run.library, columns=("stage", "run_id")).to_pylist()
    assert all(record["run_id"] != planned.run.run_id for record in records)


def test_a_new_seed_comes_after_those_that_were_tried(session) -> None:
    (request,) = again(session, "ben", new_seed=True)
    assert [(one.id, one.seed) for one in request.rows] == [("ben", 8)]
    planned = prepare(request, new_run_id())
    (ben,) = avatars(planned)
    fail(planned, ben)
    assert again(session, "ben", new_seed=True)[0].rows[0].seed == 9


def test_another_preset_and_encoder_replace_those_of_the_run(session) -> None:
    (request,) = again(session, preset="draft")
    assert (request.preset, request.recipes, request.rows[0].preset) == ("draft", (), None)
    planned = prepare(request, new_run_id())
    assert {avatar.preset for avatar in avatars(planned)} == {"draft"}


def test_failures_of_runs_with_other_settings_are_made_again_apart(session) -> None:
    library = Path(session.run.library)
    other = plan(library, [row("dot", line=5)], RunOptions(max_attempts=9), catalog="others.csv")
    fail(other, avatars(other)[0])
    requests = again(session)
    assert [([one.id for one in request.rows], request.catalog) for request in requests] == [
        (["ben", "cid"], "people.csv"),
        (["dot"], "others.csv"),
    ]
    assert requests[1].options.max_attempts == 9


def test_an_avatar_that_is_done_is_not_made_again(session) -> None:
    with pytest.raises(CatalogError, match="ada did not fail, it is done"):
        again(session, "ada")


def test_an_avatar_that_nobody_knows_is_named(session) -> None:
    with pytest.raises(CatalogError, match="has no avatar 'zoe'"):
        again(session, "zoe")


def test_nothing_failed_in_a_library_where_all_is_done(tmp_path: Path) -> None:
    found = plan(tmp_path, [row("ada")])
    finish(found, avatars(found)[0])
    assert again(found) == []


def test_a_failure_that_was_mended_since_is_none(session) -> None:
    ben = avatars(session)[1]
    finish(session, ben)
    (request,) = again(session)
    assert [one.id for one in request.rows] == ["cid"]


def test_a_run_whose_plan_is_gone_is_named(session) -> None:
    run_folder(session.run.library, session.run.run_id).remove("plan.json")
    with pytest.raises(ConfigError, match=session.run.run_id):
        again(session)


def test_the_stage_that_failed_makes_no_difference(tmp_path: Path) -> None:
    found = plan(tmp_path, [row("ada")])
    fail(found, avatars(found)[0], replace(DIVERGED, stage="coarse_shape"))
    assert [one.id for one in again(found)[0].rows] == ["ada"]


def say(session, avatar_id: str, status: str) -> None:
    """Review an avatar as it is."""
    (state,) = read_states(session.run.library, avatar_ids=[avatar_id]).to_pylist()
    with ManifestWriter(session.run.library, "reviewer") as writer:
        writer.append(ManifestRecord.review(avatar_id, status, state["key"]))


def test_what_reviewers_asked_for_is_made_from_the_next_seed_as_it_was(session) -> None:
    say(session, "ada", "requested")
    compact(session.run.library)
    (request,) = again(session, requested=True)
    assert [(one.id, one.seed, one.appearance) for one in request.rows] == [("ada", 6, "a man called ada")]
    assert (request.recipes, request.catalog) == (session.run.recipes, "people.csv")
    planned = prepare(request, new_run_id())
    assert planned.shards == [0]
    finish(planned, avatars(planned)[0])
    assert again(session, requested=True) == []
    (state,) = read_states(session.run.library, avatar_ids=["ada"]).to_pylist()
    assert (state["state"], state["seed"], state["review"]) == ("done", 6, None)


def test_what_failed_can_be_asked_for_from_a_new_seed_too(session) -> None:
    say(session, "ben", "requested")
    (request,) = again(session, requested=True)
    assert [(one.id, one.seed) for one in request.rows] == [("ben", 8)]


def test_a_request_stays_until_it_is_fulfilled(session) -> None:
    say(session, "ada", "requested")
    planned = prepare(again(session, requested=True)[0], new_run_id())
    fail(planned, avatars(planned)[0])
    (request,) = again(session, requested=True)
    assert [(one.id, one.seed) for one in request.rows] == [("ada", 7)]


@pytest.mark.parametrize("status", ["approved", "rejected", "withdrawn"])
def test_no_other_review_has_an_avatar_made_again(session, status) -> None:
    say(session, "ada", "requested")
    say(session, "ada", status)
    assert again(session, requested=True) == []
    with pytest.raises(CatalogError, match="Nobody asked to have ada from a new seed"):
        again(session, "ada", requested=True)
