"""A library and a way to carry out plans with simulated stages."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from simulated_stages import SimulatedStages

from avatar_core.storage.leases import LeaseStore
from flows.generation import Generation, Tools
from flows.limits import Limits
from flows.outcome import Outcome
from flows.run_plan import RunPlan, read_shard, run_folder
from tasks.work import Place

CarryOut = Callable[..., Outcome]


@pytest.fixture
def library(tmp_path: Path) -> str:
    return str(tmp_path / "library")


@pytest.fixture
def leases(library: str) -> Iterator[LeaseStore]:
    with LeaseStore(library, owner="test") as store:
        yield store


@pytest.fixture
def carry_out(leases: LeaseStore) -> CarryOut:
    """Carries out every shard of a run."""

    def carried(run: RunPlan, stages: SimulatedStages, wait: Callable[[float], object] = lambda _: None) -> Outcome:
        total = Outcome()
        for shard in range(len(run.shards)):
            place = Place(run.library, "cpu", run.run_id)
            avatars = read_shard(run_folder(run.library, run.run_id), shard)
            generation = Generation(
                run, avatars, run.cooks(), place, Limits(run.options), Tools(stages, leases, wait)
            )
            generation.prepare()
            total.add(generation.run())
        return total

    return carried
