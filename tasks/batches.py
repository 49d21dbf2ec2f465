"""One stage of several avatars as one Prefect task: what spares the server a million rows' six million runs."""

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.utilities.annotations import quote

from avatar_core.storage.keys import canonical_json
from tasks.failures import Failure
from tasks.publishing import gathered
from tasks.retries import RETRY_DELAY_SECONDS, is_transient
from tasks.stages import OPTIONS, compute
from tasks.texturing_batch import STAGE as TEXTURING
from tasks.texturing_batch import execute_texturing_batch
from tasks.work import Avatar, Place, StageWork

if TYPE_CHECKING:
    from prefect.context import TaskRunContext

logger = logging.getLogger(__name__)

TOGETHER = 8
"""Avatars that a GPU textures at a time."""

Job = tuple[StageWork, Avatar]
"""A computation and the avatar for which it is tried."""


def batch_key(context: "TaskRunContext", parameters: Mapping[str, Any]) -> str:
    """Return the cache key of a batch: the keys of its works, within their library."""
    place = parameters["place"]
    keys = " ".join(work.key for work, _ in parameters["jobs"])
    return hashlib.sha256(f"{place.library} {keys}".encode()).hexdigest()


@task(name="batch", task_run_name="{stage} of {count}", cache_key_fn=batch_key, **OPTIONS)
def _batch(stage: str, count: int, jobs: Sequence[Job], place: Place) -> list[dict[str, Any]]:
    with gathered(place):
        if stage == TEXTURING and place.device.startswith("cuda"):
            return _textured(jobs, place)
        return [_tried(work, place, owner) for work, owner in jobs]


def _textured(jobs: Sequence[Job], place: Place) -> list[dict[str, Any]]:
    """Texture avatars together, as many at a time as have equal settings, up to TOGETHER."""
    results: dict[str, dict[str, Any]] = {}
    groups: dict[tuple[str, str, str], list[Job]] = {}
    for work, owner in jobs:
        groups.setdefault((canonical_json(work.config), work.body, work.encoder), []).append((work, owner))
    for group in groups.values():
        for first in range(0, len(group), TOGETHER):
            works, owners = zip(*group[first : first + TOGETHER])
            outcomes = execute_texturing_batch(works, place, owners)
            for work, outcome in zip(works, outcomes):
                results[work.key] = {"failure": asdict(outcome)} if isinstance(outcome, Failure) else {"ref": outcome}
    return [results[work.key] for work, _ in jobs]


def run_batch(stage: str, jobs: Sequence[Job], place: Place) -> list[dict[str, Any]]:
    """Compute one stage of several avatars; one that fails costs the others nothing.

    Returns, in the order of the jobs, {"ref": the artifact reference} or {"failure": the fields of a Failure}.
    """
    # quoted, so that Prefect does not search thousands of settings for futures; refreshed, as the store has been asked
    return _batch.with_options(refresh_cache=True)(stage, len(jobs), quote(list(jobs)), place)


def _tried(work: StageWork, place: Place, owner: Avatar) -> dict[str, Any]:
    """Compute one stage, again after what may pass."""
    for delay in (*RETRY_DELAY_SECONDS, None):
        try:
            return {"ref": compute(work, place, owner)}
        except Exception as error:
            if delay is None or not is_transient(error):
                return {"failure": asdict(Failure.of(work.stage, error))}
            logger.warning("%s of %s is tried again in %g s: %s", work.stage, owner.avatar_id, delay, error)
            time.sleep(delay)
    raise AssertionError("unreachable")
