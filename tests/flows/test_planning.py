"""Planning: what goes into shards, what does not, and what the manifest is told."""

import pytest
from simulated_stages import SimulatedStages, catalog_text, plan_text

from avatar_core.errors import ConfigError
from avatar_core.manifest import read_latest, rejections
from flows.run_plan import RunPlan, read_run, read_shard, run_folder
from tasks.work import STAGES, Avatar


def people(count: int) -> list[dict[str, object]]:
    return [
        {"id": f"p{n}", "shape": "a tall man", "appearance": f"a man in coat {n}", "motion": "walking"}
        for n in range(count)
    ]


def planned_avatars(run: RunPlan) -> list[Avatar]:
    folder = run_folder(run.library, run.run_id)
    return [avatar for shard in range(len(run.shards)) for avatar in read_shard(folder, shard)]


def test_a_catalog_is_cut_into_shards_of_rows_in_order(library: str) -> None:
    run = plan_text(catalog_text(people(7)), library, shard_size=3).run
    assert run.shards == (3, 3, 1)
    assert [avatar.avatar_id for avatar in planned_avatars(run)] == [f"p{n}" for n in range(7)]
    assert run.counts.rows == 7
    assert run.counts.unique == {
        "coarse_shape": 1, "implicit_init": 1, "candidate_poses": 1, "motion": 1, "texturing": 7, "export": 7
    }  # fmt: skip


def test_a_plan_and_its_shards_survive_their_files(library: str) -> None:
    rows = [{**people(1)[0], "tags": "a;b", "note": "x", "seed": 5}, {**people(2)[1], "preset": "draft"}]
    planned = plan_text(catalog_text(rows), library)
    assert read_run(library, "run-1") == planned.run
    first, second = planned_avatars(planned.run)
    assert (first.tags, first.extra, first.seed, first.preset) == (("a", "b"), {"note": "x"}, 5, "tiny")
    assert (second.preset, second.recipe) == ("draft", 1)
    works = planned.run.cooks()[second.recipe].works(second)
    assert {stage: work.key for stage, work in works.items()} == second.keys
    assert works["texturing"].config["steps"] != planned.run.recipes[0].config["texturing"]["steps"]


def test_planning_again_gives_the_same_keys(library: str) -> None:
    text = catalog_text(people(3))
    one, other = plan_text(text, library, "run-1").run, plan_text(text, library, "run-2").run
    assert planned_avatars(one) == planned_avatars(other)


def test_what_the_manifest_has_as_done_is_in_no_shard(library: str, carry_out) -> None:
    carry_out(plan_text(catalog_text(people(3)), library).run, SimulatedStages())
    rows = people(5)
    rows[1]["appearance"] = "a man in a new coat"
    run = plan_text(catalog_text(rows), library, "run-2", verify="manifest").run
    assert [avatar.avatar_id for avatar in planned_avatars(run)] == ["p1", "p3", "p4"]
    assert (run.counts.rows, run.counts.done) == (5, 2)


def test_a_library_that_is_checked_has_every_row_in_a_shard(library: str, carry_out) -> None:
    carry_out(plan_text(catalog_text(people(3)), library).run, SimulatedStages())
    run = plan_text(catalog_text(people(3)), library, "run-2").run
    assert (run.options.verify, run.avatars) == ("digest", 3)


def test_rows_that_failed_too_often_go_into_quarantine_until_they_are_retried(library: str, carry_out) -> None:
    text = catalog_text(people(2))
    stages = SimulatedStages(fails={("texturing", "p1")})
    for attempt in range(3):
        run = plan_text(text, library, f"run-{attempt}").run
        assert run.counts.quarantined == 0
        carry_out(run, stages)
    planned = plan_text(text, library, "run-3")
    assert planned.run.counts.quarantined == 1
    assert planned.quarantined == {"p1": "texturing failed 3 times: p1 diverged"}
    assert [avatar.avatar_id for avatar in planned_avatars(planned.run)] == ["p0"]
    assert plan_text(text, library, "run-4", retry=True).run.counts.quarantined == 0
    changed = people(2)
    changed[1]["appearance"] = "a man in another coat"
    assert plan_text(catalog_text(changed), library, "run-5").run.counts.quarantined == 0


def test_rows_are_recorded_once_until_they_change(library: str) -> None:
    def recorded() -> dict[str, str]:
        rows = read_latest(library).to_pylist()
        return {row["avatar_id"]: row["run_id"] for row in rows if row["status"] == "accepted"}

    plan_text(catalog_text(people(2)), library, "run-1")
    rows = people(3)
    rows[0]["motion"] = "running"
    plan_text(catalog_text(rows), library, "run-2")
    assert recorded() == {"p0": "run-2", "p1": "run-1", "p2": "run-2"}


def test_rejections_count_until_the_catalog_is_read_without_them(library: str) -> None:
    bad = [*people(1), {"id": "eve", "shape": "", "appearance": "x", "motion": "y"}]
    planned = plan_text(catalog_text(bad), library, "run-1")
    assert [row.field for row in planned.rejected] == ["shape"]
    assert planned.run.counts.rejected == 1
    assert rejections(read_latest(library)).num_rows == 1
    plan_text(catalog_text(people(2)), library, "run-2")
    assert rejections(read_latest(library)).num_rows == 0


def test_rows_that_nearly_repeat_others_are_counted(library: str) -> None:
    rows = people(2)
    again = {**rows[0], "id": "again", "appearance": "A man, in the COAT 0!"}
    variant = {**rows[0], "id": "variant", "seed": 7}
    assert plan_text(catalog_text([*rows, again, variant]), library).run.counts.near_duplicates == 1


def test_a_worker_of_another_release_does_not_touch_the_run(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = plan_text(catalog_text(people(1)), library).run
    monkeypatch.setattr("avatar_core.stages.motion.VERSION", 10_000)
    with pytest.raises(ConfigError, match=r"run-1.*motion.*same release"):
        read_run(library, "run-1").cooks()
    monkeypatch.undo()
    assert run.cooks()[0].recipe == run.recipes[0]


def test_a_run_that_is_not_there_is_named(library: str) -> None:
    with pytest.raises(ConfigError, match="no run 'run-9'"):
        read_run(library, "run-9")


def test_stages_without_random_draws_have_the_same_key_for_every_seed(library: str) -> None:
    rows = [{**people(1)[0], "id": str(seed), "seed": seed} for seed in (1, 2)]
    one, other = planned_avatars(plan_text(catalog_text(rows), library).run)
    assert {stage for stage in STAGES if one.keys[stage] != other.keys[stage]} == {"texturing", "motion", "export"}
