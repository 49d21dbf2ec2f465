"""The flow of one shard: what a worker on one device carries out, and what `avatars run` does in its own process."""

import logging
from dataclasses import asdict
from typing import Any

from prefect import flow

from avatar_core.storage.leases import LeaseStore
from flows.generation import Generation, Tools, worker_name
from flows.limits import Limits
from flows.outcome import Outcome, read_outcomes, write_outcome
from flows.run_plan import RunPlan, read_run, read_shard, run_folder, shard_lease
from flows.shard_artifacts import ShardArtifacts
from tasks.batches import run_batch
from tasks.devices import resolve_device
from tasks.failures import Failure
from tasks.interruption import ending_well
from tasks.log_context import working_on
from tasks.reporting import reporter
from tasks.stages import TASKS
from tasks.work import Avatar, Place, StageWork

logger = logging.getLogger(__name__)


@flow(name="generate-shard", flow_run_name="{run_id} shard {shard}", persist_result=False)
def generate_shard(library: str, run_id: str, shard: int, device: str = "auto") -> dict[str, Any]:
    """Make the avatars of one shard of a planned run, on one device.

    Args:
        library: folder or fsspec URL that holds the run's plan; results go there.
        run_id: the run, as `plan-catalog` named it.
        shard: number of the shard, from 0.
        device: auto, cpu, cuda or cuda:N of the machine that carries it out.
    Returns:
        the outcome's counts, and why it stopped early if it did.
    """
    _log_details()
    outcome = carry_out_shard(read_run(library, run_id), shard, resolve_device(device))
    return {name: value for name, value in asdict(outcome).items() if name not in ("failures", "below_bar")}


def _log_details() -> None:
    """Let through what stages say in passing, such as where they go on.

    Prefect's setting for other loggers (PREFECT_LOGGING_EXTRA_LOGGERS) gives them a handler and no level, so that
    without this only warnings would come to the server.
    """
    stages = logging.getLogger("avatar_core")
    if stages.level == logging.NOTSET:
        stages.setLevel(logging.INFO)


def carry_out_shard(run: RunPlan, shard: int, device: str) -> Outcome:
    """Make the avatars of a shard, keep its outcome in the run's folder and return it; within a flow run."""
    place = Place(library=run.library, device=device, run_id=run.run_id)
    avatars = read_shard(run_folder(run.library, run.run_id), shard)
    artifacts = ShardArtifacts(run, shard, avatars)
    owner = f"{worker_name()} {run.run_id}"
    with working_on(run_id=run.run_id), ending_well(), LeaseStore(run.library, owner=owner) as leases:
        leases.acquire(shard_lease(run.run_id, shard))  # until the outcome is there
        generation = Generation(
            run,
            avatars,
            run.cooks(),
            place,
            Limits(run.options, _spent(run)),
            Tools(_single if (run.options.micro_batch or 1) == 1 else run_batch, leases, after_batch=artifacts.update),
        )
        reporter().shard_started(shard, generation.prepare())
        outcome = generation.run()
        write_outcome(run.library, run.run_id, shard, outcome)
    artifacts.finish(outcome)
    return outcome


def _spent(run: RunPlan) -> Outcome:
    """Return what the run's other shards add up to, where a limit goes by it."""
    spent = Outcome()
    if run.options.max_avatars is not None or run.options.max_gpu_hours is not None:
        for outcome in read_outcomes(run.library, run.run_id).values():
            spent.add(outcome)
    return spent


def _single(stage: str, jobs: list[tuple[StageWork, Avatar]], place: Place) -> list[dict[str, Any]]:
    """Compute one stage of one avatar as a task run of its own."""
    results: list[dict[str, Any]] = []
    for work, owner in jobs:
        # the store has no such result, so whatever Prefect's cache says about it is out of date
        state: Any = TASKS[stage].with_options(refresh_cache=True)(work, place, owner, return_state=True)
        if state.is_completed():
            results.append({"ref": state.result()})
            continue
        error = state.result(raise_on_failure=False)
        if not isinstance(error, BaseException):
            error = RuntimeError(state.message or f"{stage} ended in state {state.name}")
        results.append({"failure": asdict(Failure.of(stage, error))})
    return results
