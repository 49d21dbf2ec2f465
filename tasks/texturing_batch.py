"""Texturing of several avatars in one process, which keeps a GPU busier than one avatar after another."""

from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from avatar_core.storage import ArtifactStore
from tasks.execution import (
    load_inputs,
    publish_artifact,
    reuse,
    stage_config,
    stage_context,
    tell_failure,
    tell_result,
)
from tasks.failures import Failure
from tasks.gpu import gpu_slot
from tasks.measuring import peak_memory_mb, reset_peak_memory
from tasks.reporting import reporter
from tasks.work import Avatar, Place, StageWork

if TYPE_CHECKING:
    from avatar_core.stages.texturing_batch import Job, Result

STAGE = "texturing"


def execute_texturing_batch(
    works: Sequence[StageWork], place: Place, owners: Sequence[Avatar]
) -> list[dict[str, Any] | Failure]:
    """Compute the texturing of several avatars together, but for what the store has.

    Each artifact and, after it, its manifest row is written as soon as the avatar is finished, and its checkpoints are
    cleared; seconds and peak memory are shared out among the avatars that were computed at that time.

    Args:
        works: texturing's, with keys of their own and equal settings, body and encoder.
        place: where they are computed and where results go; one GPU slot is held for all.
        owners: of the works, in their order.
    Returns:
        in that order, each artifact's reference as a JSON object, or why there is none: the others go on.
    Raises:
        ValueError: the works cannot be computed together.
        Exception: what no single avatar is to blame for; results that were finished before are in the store.
    """
    _check(works, owners)
    store = ArtifactStore(place.library)
    outcomes: dict[int, dict[str, Any] | Failure | None] = {
        number: reuse(store, work, place, owner) for number, (work, owner) in enumerate(zip(works, owners))
    }
    missing = [number for number, outcome in outcomes.items() if outcome is None]
    for number in missing:
        reporter().stage_started(works[number], owners[number])
    if missing:
        with gpu_slot(place.device):
            outcomes |= _compute(store, {number: (works[number], owners[number]) for number in missing}, place)
    return [outcome for _, outcome in sorted(outcomes.items()) if outcome is not None]


def _check(works: Sequence[StageWork], owners: Sequence[Avatar]) -> None:
    if len(works) != len(owners):
        raise ValueError(f"{len(works)} works have {len(owners)} owners; give one each")
    if any(work.stage != STAGE for work in works):
        raise ValueError(f"only works of {STAGE} are computed together here")
    if any((one.config, one.body, one.encoder) != (works[0].config, works[0].body, works[0].encoder) for one in works):
        raise ValueError("works that are computed together have equal settings, body and encoder")
    if len({work.key for work in works}) < len(works):
        raise ValueError("two works have one key: give one of them, its result is the other's too")


def _compute(
    store: ArtifactStore, given: Mapping[int, tuple[StageWork, Avatar]], place: Place
) -> dict[int, dict[str, Any] | Failure]:
    """Compute works by their numbers; return what became of each."""
    outcomes: dict[int, dict[str, Any] | Failure] = {}
    jobs: dict[int, Job] = {}
    reset_peak_memory()
    began = monotonic()
    for number, (work, owner) in given.items():
        try:
            jobs[number] = _job(store, work, place)
        except Exception as error:
            outcomes[number] = _failed(work, owner, error)
    try:
        for number, result, seconds in _shared_out(jobs, given, began):
            outcomes[number] = _keep(store, *given[number], place, result, seconds, peak_memory_mb() / len(jobs))
    except Exception as error:
        for number in jobs.keys() - outcomes.keys():
            tell_failure(*given[number], error)
        raise
    return outcomes


def _job(store: ArtifactStore, work: StageWork, place: Place) -> "Job":
    from avatar_core.stages.texturing_batch import Job

    avatar = load_inputs(store, work)["implicit_init"]
    return Job(avatar, work.prompts["appearance"], work.seed, stage_context(store, work, place))


def _shared_out(
    jobs: Mapping[int, "Job"], given: Mapping[int, tuple[StageWork, Avatar]], began: float
) -> Iterator[tuple[int, "Result", float]]:
    """Yield (number, result, seconds) of each job as it is finished: every moment is shared by the jobs not finished.

    The time that the caller takes over a result is nobody's.
    """
    from avatar_core.stages.texturing_batch import texture_together

    running = dict.fromkeys(jobs, 0.0)
    numbers = list(jobs)
    if not numbers:
        return
    for place, result in texture_together(list(jobs.values()), stage_config(given[numbers[0]][0])):
        share = (monotonic() - began) / len(running)
        running = {number: seconds + share for number, seconds in running.items()}
        yield numbers[place], result, running.pop(numbers[place])
        began = monotonic()


def _keep(
    store: ArtifactStore,
    work: StageWork,
    owner: Avatar,
    place: Place,
    result: "Result",
    seconds: float,
    peak_mb: float,
) -> dict[str, Any] | Failure:
    """Put a result into store and manifest, or tell why there is none."""
    if isinstance(result, Exception):
        return _failed(work, owner, result)
    try:
        ref, meta = publish_artifact(store, work, place, result, seconds, peak_mb)
    except Exception as error:
        return _failed(work, owner, error)
    return tell_result(place, work, owner, ref, meta)


def _failed(work: StageWork, owner: Avatar, error: Exception) -> Failure:
    tell_failure(work, owner, error)
    return Failure.of(work.stage, error)
