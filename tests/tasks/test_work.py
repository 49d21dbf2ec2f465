"""The order of stages and their JSON form."""

import json

from tasks.work import PROMPTS, STAGES, UPSTREAM, Avatar, StageWork, dependents


def test_stages_come_after_what_they_read() -> None:
    for number, stage in enumerate(STAGES):
        assert set(UPSTREAM[stage]) <= set(STAGES[:number])
        assert set(PROMPTS[stage]) <= {"shape", "appearance", "motion"}


def test_the_two_branches_meet_in_export_only() -> None:
    assert dependents("coarse_shape") == ("implicit_init", "texturing", "export")
    assert dependents("candidate_poses") == ("motion", "export")
    assert dependents("export") == ()


def test_works_and_avatars_survive_json() -> None:
    work = StageWork(
        stage="motion",
        key="0" * 32,
        seed=7,
        prompts={"motion": "walking"},
        upstream={"candidate_poses": "1" * 32},
        config={"steps": 3},
    )
    assert StageWork.from_json(json.loads(json.dumps(work.to_json()))) == work
    avatar = Avatar("ada", 2, "tall", "red", "walking", 0, "draft", tags=("a", "b"), extra={"note": "x"})
    assert Avatar.from_json(json.loads(json.dumps(avatar.to_json()))) == avatar
