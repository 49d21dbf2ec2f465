"""The flow of a shard on a real Prefect server, with the real task wrappers about simulated stages."""

from pathlib import Path

import pytest
from simulated_stages import SimulatedStages, catalog_text, plan_text

from avatar_core.manifest import avatar_states, read_latest
from flows.outcome import read_outcome
from flows.shard import generate_shard
from tasks.work import STAGES, Avatar, Place, StageWork


class Trouble(OSError):
    """What may pass."""


def manifest_parts(library: str) -> list[Path]:
    return list((Path(library) / "manifest").glob("part-*"))


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> SimulatedStages:
    """Stands for what a stage computes, below the tasks; failures are raised."""
    stages = SimulatedStages()

    def compute(work: StageWork, place: Place, owner: Avatar) -> dict:
        result = stages(work.stage, [(work, owner)], place)[0]
        if "failure" in result:
            raise ValueError(result["failure"]["message"])
        return result["ref"]

    monkeypatch.setattr("tasks.batches.compute", compute)
    monkeypatch.setattr("tasks.batches.RETRY_DELAY_SECONDS", [0.0, 0.0])
    return stages


def people(count: int) -> str:
    rows = [{"id": f"p{n}", "shape": "a man", "appearance": f"coat {n}", "motion": "walking"} for n in range(count)]
    return catalog_text(rows)


@pytest.mark.usefixtures("prefect_server")
def test_micro_batches_make_every_avatar_but_the_one_that_fails(library: str, simulated: SimulatedStages) -> None:
    simulated.fails = {("texturing", "p1")}
    troubled: list[str] = []

    def trouble(stage: str, work: StageWork, owner: Avatar) -> None:
        if (stage, owner.avatar_id) == ("texturing", "p2") and len(troubled) < 2:
            troubled.append(owner.avatar_id)
            raise Trouble("the storage hiccups")

    simulated.before = trouble
    run = plan_text(people(5), library, micro_batch=3, shard_size=4).run
    result = generate_shard(library, run.run_id, 0, "cpu")
    assert (result["done"], result["failed"]) == (3, 1)
    assert troubled == ["p2", "p2"]
    assert read_outcome(library, run.run_id, 0).failures["p1"][0].message == "p1 diverged"
    states = {row["avatar_id"]: row["state"] for row in avatar_states(read_latest(library)).to_pylist()}
    assert states == {"p0": "done", "p1": "failed", "p2": "done", "p3": "done", "p4": "accepted"}
    before = len(manifest_parts(library))
    assert generate_shard(library, run.run_id, 1, "cpu")["done"] == 1
    assert len(manifest_parts(library)) - before <= len(STAGES)  # one for a stage of a micro-batch, at most
    assert len(list((Path(library) / "avatars").iterdir())) == 4
