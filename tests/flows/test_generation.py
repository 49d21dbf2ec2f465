"""Carrying out shards: nothing twice, nothing lost, one bad row costs nobody else anything."""

import json
from collections import Counter
from pathlib import Path

import pytest
from simulated_stages import SimulatedStages, catalog_text, plan_text

from avatar_core.errors import ConfigError, Interrupted
from avatar_core.manifest import avatar_states, read_latest
from avatar_core.storage import ArtifactStore
from avatar_core.storage.leases import LeaseStore
from flows.limits import ask_to_stop
from flows.run_plan import read_shard, run_folder
from tasks.work import STAGES, Avatar, StageWork


def people(count: int, **changes: object) -> list[dict[str, object]]:
    return [
        {"id": f"p{n}", "shape": "a tall man", "appearance": f"a man in coat {n}", "motion": "walking", **changes}
        for n in range(count)
    ]


def states(library: str) -> dict[str, str]:
    return {row["avatar_id"]: row["state"] for row in avatar_states(read_latest(library)).to_pylist()}


def latest(library: str, avatar_id: str, stage: str) -> dict:
    (row,) = [row for row in read_latest(library, avatar_ids=[avatar_id]).to_pylist() if row["stage"] == stage]
    return row


@pytest.mark.parametrize("micro_batch", [1, 2, 32])
def test_every_avatar_is_made_and_equal_work_once_whatever_the_batches(
    library: str, carry_out, micro_batch: int
) -> None:
    stages = SimulatedStages()
    outcome = carry_out(plan_text(catalog_text(people(5)), library, micro_batch=micro_batch).run, stages)
    assert (outcome.done, outcome.failed, outcome.computed) == (5, 0, 14)
    assert Counter(stage for stage, _ in stages.calls) == {
        "coarse_shape": 1, "implicit_init": 1, "candidate_poses": 1, "motion": 1, "texturing": 5, "export": 5
    }  # fmt: skip
    assert states(library) == dict.fromkeys([f"p{n}" for n in range(5)], "done")
    assert len(list((Path(library) / "avatars").iterdir())) == 5
    assert outcome.seconds == pytest.approx(14 * 1.5)


def test_a_second_run_computes_nothing(library: str, carry_out) -> None:
    text = catalog_text(people(3))
    carry_out(plan_text(text, library).run, SimulatedStages())
    stages = SimulatedStages()
    outcome = carry_out(plan_text(text, library, "run-2").run, stages)
    assert (stages.calls, outcome.done, outcome.computed) == ([], 3, 0)


def test_a_failure_costs_the_others_nothing_and_is_explained_where_it_is_shared(library: str, carry_out) -> None:
    rows = [*people(2), {**people(1)[0], "id": "short", "shape": "a short man", "motion": "running"}]
    stages = SimulatedStages(fails={("motion", "p0"), ("texturing", "p1")})
    outcome = carry_out(plan_text(catalog_text(rows), library, micro_batch=2).run, stages)
    assert (outcome.done, outcome.failed) == (1, 2)
    assert states(library) == {"p0": "failed", "p1": "failed", "short": "done"}
    shared = latest(library, "p1", "motion")
    assert shared["error_message"] == "Tried for p0, which shares it: p0 diverged"
    assert latest(library, "p0", "export")["status"] == "skipped"
    assert latest(library, "p0", "texturing")["status"] == "done"
    assert {failure.stage for failure in outcome.failures["p1"] if not failure.skipped} == {"motion", "texturing"}


def test_failed_attempts_are_counted_from_run_to_run(library: str, carry_out) -> None:
    stages = SimulatedStages(fails={("texturing", "p0")})
    for number in (1, 2):
        carry_out(plan_text(catalog_text(people(1)), library, f"run-{number}").run, stages)
        assert latest(library, "p0", "texturing")["attempt"] == number
    carry_out(plan_text(catalog_text(people(1)), library, "run-3").run, SimulatedStages())
    assert states(library) == {"p0": "done"}


def test_a_result_that_another_worker_computes_is_waited_for_while_other_work_goes_on(library: str, carry_out) -> None:
    rows = [*people(1), {**people(1)[0], "id": "other", "shape": "a short man", "motion": "running"}]
    run = plan_text(catalog_text(rows), library).run
    first, _ = read_shard(run_folder(library, run.run_id), 0)
    stages = SimulatedStages()
    with LeaseStore(library, owner="another worker") as elsewhere:
        lease = elsewhere.acquire(f"motion/{first.keys['motion']}")
        assert lease is not None
        waits: list[float] = []

        def wait(seconds: float) -> None:
            """The other worker finishes while this one has nothing else to do."""
            waits.append(seconds)
            assert ("export", "other") in stages.calls
            assert ("motion", "p0") not in stages.calls
            lease.release()

        outcome = carry_out(run, stages, wait)
    assert outcome.done == 2
    assert len(waits) >= 1
    assert Counter(stages.calls)["motion", "p0"] == 1


def test_a_result_that_another_worker_finished_meanwhile_is_taken_over(library: str, carry_out) -> None:
    run = plan_text(catalog_text(people(1)), library).run
    (avatar,) = read_shard(run_folder(library, run.run_id), 0)
    motion = run.cooks()[0].works(avatar)["motion"]
    with LeaseStore(library, owner="another worker") as elsewhere:

        def other_finishes(stage: str, work: StageWork, owner: Avatar) -> None:
            if stage == "candidate_poses":
                assert elsewhere.acquire(f"motion/{motion.key}") is not None
                ArtifactStore(library).publish(
                    "motion", motion.key, lambda folder: (folder / "result.json").write_bytes(b"{}") and None
                )

        stages = SimulatedStages(before=other_finishes)
        assert carry_out(run, stages).done == 1
    assert ("motion", "p0") not in stages.calls
    assert latest(library, "p0", "motion")["status"] == "cached"


def test_a_run_stops_where_too_much_fails_and_says_what(library: str, carry_out) -> None:
    rows = people(40)
    stages = SimulatedStages(fails={("texturing", f"p{n}") for n in range(0, 40, 4)} | {("texturing", "p1")})
    run = plan_text(catalog_text(rows), library, failure_fraction=0.25, failure_minimum=8).run
    outcome = carry_out(run, stages)
    assert (outcome.done, outcome.failed) == (5, 3)
    assert "3 of 8 avatars failed" in outcome.stopped
    assert "3 times texturing: DivergenceError, such as: p0 diverged" in outcome.stopped


def test_a_run_stops_at_its_budget(library: str, carry_out) -> None:
    text = catalog_text(people(9))
    by_count = carry_out(plan_text(text, library, max_avatars=4).run, SimulatedStages())
    assert by_count.done == 4
    assert "max_avatars" in by_count.stopped
    by_time = carry_out(plan_text(text, library, "run-2", max_gpu_hours=4.5 / 3600).run, SimulatedStages())
    assert by_time.done == 6  # four were there; two more take three seconds, and the fourth second is over the budget
    assert "max_gpu_hours" in by_time.stopped


def test_a_run_that_is_cancelled_stops_after_what_it_has_in_hand(library: str, carry_out) -> None:
    run = plan_text(catalog_text(people(5)), library, micro_batch=2).run

    def cancel(stage: str, work: StageWork, owner: Avatar) -> None:
        if owner.avatar_id == "p1":
            ask_to_stop(library, run.run_id, "cancelled by a test")

    outcome = carry_out(run, SimulatedStages(before=cancel))
    assert (outcome.done, outcome.stopped) == (2, "cancelled by a test")


def test_an_interruption_is_no_failure_and_frees_what_was_held(library: str, carry_out) -> None:
    run = plan_text(catalog_text(people(2)), library).run

    def interrupt(stage: str, work: StageWork, owner: Avatar) -> None:
        if stage == "texturing":
            raise Interrupted("texturing stopped at step 3 of 6")

    with pytest.raises(Interrupted):
        carry_out(run, SimulatedStages(before=interrupt))
    assert "failed" not in {row["status"] for row in read_latest(library).to_pylist()}
    assert carry_out(plan_text(catalog_text(people(2)), library, "run-2").run, SimulatedStages()).done == 2


def score_by_seed(scores: dict[int, float]):
    return lambda work: scores.get(work.seed, 0.0)


def test_an_avatar_below_the_bar_is_made_again_with_the_next_seed(library: str, carry_out) -> None:
    stages = SimulatedStages(score=score_by_seed({5: 0.1, 6: 0.4}))
    gate = {"minimum": 0.3}
    outcome = carry_out(plan_text(catalog_text(people(1, seed=5)), library, gate=gate).run, stages)
    assert (outcome.done, outcome.retried, outcome.below_bar) == (1, 1, [])
    assert Counter(stage for stage, _ in stages.calls)["coarse_shape"] == 1
    assert Counter(stage for stage, _ in stages.calls)["texturing"] == 2
    assert json.loads((Path(library) / "avatars/p0/report.json").read_text())["seed"] == 6
    assert latest(library, "p0", "texturing")["seed"] == 6


def test_the_best_of_attempts_below_the_bar_is_kept_and_named(library: str, carry_out) -> None:
    stages = SimulatedStages(score=score_by_seed({5: 0.1, 6: 0.25, 7: 0.2}))
    text = catalog_text(people(1, seed=5))
    outcome = carry_out(plan_text(text, library, gate={"minimum": 0.3}).run, stages)
    assert (outcome.done, outcome.retried, outcome.below_bar) == (1, 2, ["p0"])
    assert json.loads((Path(library) / "avatars/p0/report.json").read_text())["seed"] == 6
    assert {latest(library, "p0", stage)["seed"] for stage in ("texturing", "export")} == {6}
    again = SimulatedStages()
    assert carry_out(plan_text(text, library, "run-2", gate={"minimum": 0.3}).run, again).done == 1
    assert again.calls == []


def test_the_gate_reads_numbers_of_the_report_and_says_when_there_is_none(library: str, carry_out) -> None:
    text = catalog_text(people(1))
    gate = {"minimum": 1.0, "measure": "mesh.watertight"}
    assert carry_out(plan_text(text, library, gate=gate).run, SimulatedStages()).below_bar == []
    unknown = plan_text(text, library, "run-2", gate={"minimum": 1.0, "measure": "mesh.beauty"}).run
    outcome = carry_out(unknown, SimulatedStages())
    (failure,) = outcome.failures["p0"]
    assert failure.kind == ConfigError.__name__
    assert "mesh.beauty" in failure.message


def test_results_of_long_ago_are_made_again_where_that_is_asked_for_and_later_ones_are_not(
    library: str, carry_out
) -> None:
    text = catalog_text(people(1))
    carry_out(plan_text(text, library).run, SimulatedStages(made_at="2026-03-01T00:00:00+00:00"))
    kept = SimulatedStages()
    carry_out(plan_text(text, library, "run-2", remake_before="2026-02-01T00:00:00+00:00").run, kept)
    assert kept.calls == []
    remade = SimulatedStages(made_at="2026-05-01T00:00:00+00:00")
    remaking = plan_text(text, library, "run-3", remake_before="2026-04-01T00:00:00+00:00").run
    carry_out(remaking, remade)
    assert [stage for stage, _ in remade.calls] == list(STAGES)
    again = SimulatedStages()
    assert carry_out(remaking, again).done == 1
    assert again.calls == []


def test_a_result_that_another_worker_finished_just_before_the_lease_is_not_computed_again(
    library: str, carry_out
) -> None:
    run = plan_text(catalog_text(people(1)), library).run
    (avatar,) = read_shard(run_folder(library, run.run_id), 0)
    key = avatar.keys["motion"]

    def write(folder: Path) -> None:
        (folder / "result.json").write_bytes(b"{}")

    def other_finishes(stage: str, work: StageWork, owner: Avatar) -> None:
        if stage == "candidate_poses":
            ArtifactStore(library).publish("motion", key, write)

    stages = SimulatedStages(before=other_finishes)
    outcome = carry_out(run, stages)
    assert ("motion", "p0") not in stages.calls
    assert (outcome.done, outcome.computed) == (1, 5)
