"""Prefect's cache goes by stage key within a library."""

from dataclasses import replace

from prefect import flow, task

from tasks.caching import RESULT_SERIALIZER, cache_key
from tasks.work import Avatar, Place, StageWork

WORK = StageWork("motion", "a" * 32, 0, {"motion": "walking"}, {}, {})
OWNER = Avatar("ada", 2, "tall", "red", "walking", 0, "draft")


def key_of(work: StageWork, library: str) -> str:
    return cache_key(None, {"work": work, "place": Place(library)})  # type: ignore[arg-type]


def test_equal_stage_keys_share_an_entry_and_others_do_not() -> None:
    assert key_of(WORK, "one") == key_of(replace(WORK, preset="other", encoder="x"), "one")
    assert key_of(WORK, "one") != key_of(replace(WORK, key="b" * 32), "one")
    assert key_of(WORK, "one") != key_of(WORK, "two")


def test_a_second_run_takes_the_reference_from_the_cache_unless_told_to_refresh(prefect_server: None) -> None:
    calls = []

    @task(cache_key_fn=cache_key, persist_result=True, result_serializer=RESULT_SERIALIZER)
    def stage(work: StageWork, place: Place, owner: Avatar) -> dict[str, str]:
        calls.append(owner.avatar_id)
        return {"key": work.key}

    @flow
    def run(refresh: bool) -> dict[str, str]:
        return stage.with_options(refresh_cache=refresh)(WORK, Place("one"), OWNER)

    assert run(False) == run(False) == {"key": WORK.key}
    assert calls == ["ada"]
    run(True)
    assert calls == ["ada", "ada"]
