"""The six stages as Prefect tasks: thin wrappers, named and cached by their keys."""

from collections.abc import Mapping
from typing import Any

from prefect import Task, task

from tasks.caching import RESULT_SERIALIZER, cache_key
from tasks.execution import Call, execute
from tasks.retries import RETRIES, RETRY_DELAY_SECONDS, should_retry
from tasks.work import STAGES, Avatar, Place, StageWork

OPTIONS: dict[str, Any] = {
    "persist_result": True,
    "result_serializer": RESULT_SERIALIZER,
    "retries": RETRIES,
    "retry_delay_seconds": RETRY_DELAY_SECONDS,
    "retry_condition_fn": should_retry,
}


def call_of(work: StageWork) -> Call:
    """Return the call of a stage's `run` with its own arguments: its inputs, and the texts that it reads."""
    prompts, seed = work.prompts, work.seed
    calls: Mapping[str, Call] = {
        "coarse_shape": lambda stage, inputs, config, context: stage.run(
            prompts["shape"], config=config, seed=seed, context=context
        ),
        "implicit_init": lambda stage, inputs, config, context: stage.run(
            inputs["coarse_shape"], config=config, seed=seed, context=context
        ),
        "candidate_poses": lambda stage, inputs, config, context: stage.run(
            prompts["motion"], config=config, seed=seed, context=context
        ),
        "motion": lambda stage, inputs, config, context: stage.run(
            inputs["candidate_poses"], prompts["motion"], config=config, seed=seed, context=context
        ),
        "texturing": lambda stage, inputs, config, context: stage.run(
            inputs["implicit_init"], prompts["appearance"], config=config, seed=seed, context=context
        ),
        "export": lambda stage, inputs, config, context: stage.run(
            inputs["texturing"],
            inputs["motion"],
            inputs["coarse_shape"],
            dict(prompts),
            config=config,
            seed=seed,
            context=context,
            lineage=stage.Lineage(
                preset=work.preset,
                keys={**work.keys, "export": work.key},
                costs={name: stage.StageCost(**cost) for name, cost in inputs.costs.items()},
            ),
        ),
    }
    return calls[work.stage]


def compute(work: StageWork, place: Place, owner: Avatar) -> dict[str, Any]:
    """Compute one stage of one avatar unless the store has it; see `execute`."""
    return execute(work, place, owner, call_of(work))


def _stage_task(stage: str) -> Task[..., dict[str, Any]]:
    return task(name=stage, task_run_name=stage + " {owner.avatar_id}", cache_key_fn=cache_key, **OPTIONS)(compute)


TASKS = {stage: _stage_task(stage) for stage in STAGES}
"""The tasks by stage."""
