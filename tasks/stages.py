"""The six stages as Prefect tasks: thin wrappers, named and cached by their keys."""

from typing import Any

from prefect import task

from tasks.caching import RESULT_SERIALIZER, cache_key
from tasks.execution import execute
from tasks.retries import RETRIES, RETRY_DELAY_SECONDS, should_retry
from tasks.work import Avatar, Place, StageWork

OPTIONS: dict[str, Any] = {
    "cache_key_fn": cache_key,
    "persist_result": True,
    "result_serializer": RESULT_SERIALIZER,
    "retries": RETRIES,
    "retry_delay_seconds": RETRY_DELAY_SECONDS,
    "retry_condition_fn": should_retry,
}


@task(name="coarse_shape", task_run_name="coarse_shape {owner.avatar_id}", **OPTIONS)
def coarse_shape(work: StageWork, place: Place, owner: Avatar) -> dict[str, Any]:
    """Body-shape prompt -> body shape."""
    return execute(
        work,
        place,
        owner,
        lambda stage, inputs, config, context: stage.run(
            work.prompts["shape"], config=config, seed=work.seed, context=context
        ),
    )


@task(name="implicit_init", task_run_name="implicit_init {owner.avatar_id}", **OPTIONS)
def implicit_init(work: StageWork, place: Place, owner: Avatar) -> dict[str, Any]:
    """Body shape -> implicit avatar."""
    return execute(
        work,
        place,
        owner,
        lambda stage, inputs, config, context: stage.run(
            inputs["coarse_shape"], config=config, seed=work.seed, context=context
        ),
    )


@task(name="texturing", task_run_name="texturing {owner.avatar_id}", **OPTIONS)
def texturing(work: StageWork, place: Place, owner: Avatar) -> dict[str, Any]:
    """Implicit avatar + appearance prompt -> sculpted and coloured avatar."""
    return execute(
        work,
        place,
        owner,
        lambda stage, inputs, config, context: stage.run(
            inputs["implicit_init"], work.prompts["appearance"], config=config, seed=work.seed, context=context
        ),
    )


@task(name="candidate_poses", task_run_name="candidate_poses {owner.avatar_id}", **OPTIONS)
def candidate_poses(work: StageWork, place: Place, owner: Avatar) -> dict[str, Any]:
    """Motion prompt -> candidate poses."""
    return execute(
        work,
        place,
        owner,
        lambda stage, inputs, config, context: stage.run(
            work.prompts["motion"], config=config, seed=work.seed, context=context
        ),
    )


@task(name="motion", task_run_name="motion {owner.avatar_id}", **OPTIONS)
def motion(work: StageWork, place: Place, owner: Avatar) -> dict[str, Any]:
    """Candidate poses + motion prompt -> motion clip."""
    return execute(
        work,
        place,
        owner,
        lambda stage, inputs, config, context: stage.run(
            inputs["candidate_poses"], work.prompts["motion"], config=config, seed=work.seed, context=context
        ),
    )


@task(name="export", task_run_name="export {owner.avatar_id}", **OPTIONS)
def export(work: StageWork, place: Place, owner: Avatar) -> dict[str, Any]:
    """All results -> rigged, textured, animated model with previews and report."""
    return execute(
        work,
        place,
        owner,
        lambda stage, inputs, config, context: stage.run(
            inputs["texturing"],
            inputs["motion"],
            inputs["coarse_shape"],
            dict(work.prompts),
            config=config,
            seed=work.seed,
            context=context,
            lineage=stage.Lineage(preset=work.preset, keys={**work.keys, "export": work.key}, timings=inputs.seconds),
        ),
    )


TASKS = {task_.name: task_ for task_ in (coarse_shape, implicit_init, candidate_poses, motion, texturing, export)}
"""The tasks by stage."""
