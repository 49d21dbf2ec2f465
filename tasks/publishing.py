"""Manifest rows of stages: written after the artifact is in the store and before the task returns."""

import contextlib
import functools
import platform
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from avatar_core.manifest import ManifestRecord, ManifestWriter
from avatar_core.storage import ArtifactRef
from tasks.failures import Failure
from tasks.work import Avatar, Place, StageWork

_gathering: ContextVar[bool] = ContextVar("gathering", default=False)


@functools.lru_cache(maxsize=8)
def manifest_writer(library: str, run_id: str) -> ManifestWriter:
    """Return this process's writer of a run; the same object for the same run."""
    return ManifestWriter(library, run_id)


@contextlib.contextmanager
def gathered(place: Place) -> Iterator[None]:
    """For the length of the block, gather a micro-batch's records to be written at its end, as one part.

    A part for each result would be millions of files in a large catalog. What a kill keeps from being recorded, the
    store has; the next run records it.
    """
    token = _gathering.set(True)
    try:
        yield
    finally:
        _gathering.reset(token)
        manifest_writer(place.library, place.run_id).flush()


def _publish(place: Place, record: ManifestRecord) -> None:
    writer = manifest_writer(place.library, place.run_id)
    writer.append(record)
    if not _gathering.get():
        writer.flush()


def publish_result(
    place: Place, work: StageWork, owner: Avatar, ref: ArtifactRef, meta: Mapping[str, Any], *, computed: bool
) -> None:
    """Record, at once or with its micro-batch, that a stage has its artifact: computed now, or there already."""
    costs: dict[str, Any] = {}
    if computed:
        costs = {"seconds": meta.get("seconds"), "peak_mb": meta.get("peak_mb"), **_where(place)}
        costs["device"] = meta.get("device") or place.device  # the device's name, where the stage told it
    record = ManifestRecord.of_artifact(
        owner.avatar_id,
        "done" if computed else "cached",
        ref,
        score=meta.get("score"),
        **costs,
        **_row(work, owner),
    )
    _publish(place, record)


def publish_shared(place: Place, work: StageWork, avatar: Avatar, ref: ArtifactRef) -> None:
    """Record with the next flush that an avatar shares an artifact that was there already."""
    record = ManifestRecord.of_artifact(avatar.avatar_id, "cached", ref, **_row(work, avatar))
    manifest_writer(place.library, place.run_id).append(record)


def publish_failure(
    place: Place, work: StageWork, avatar: Avatar, failure: Failure, *, attempt: int | None = None
) -> None:
    """Record, at once or with its micro-batch, that a stage failed, or was skipped after another.

    `attempt` is the number of this attempt at the stage's key, from 1; None where it is unknown.
    """
    tried: dict[str, Any] = {} if failure.skipped else {"attempt": attempt, **_where(place)}
    record = ManifestRecord(
        avatar_id=avatar.avatar_id,
        stage=work.stage,
        status="skipped" if failure.skipped else "failed",
        key=work.key,
        error_kind=failure.kind,
        error_message=failure.message,
        remedy=failure.remedy,
        **tried,
        **_row(work, avatar),
    )
    _publish(place, record)


def _where(place: Place) -> dict[str, str]:
    """Return the columns that say where a stage was computed."""
    return {"device": place.device, "host": platform.node()}


def _row(work: StageWork, avatar: Avatar) -> dict[str, Any]:
    """Return the columns that come from the catalog, with the seed that the stage used."""
    return {
        "catalog": avatar.catalog,
        "line": avatar.line,
        "seed": work.seed,
        "shape": avatar.shape,
        "appearance": avatar.appearance,
        "motion": avatar.motion,
        "preset": avatar.preset,
        "body": avatar.body,
        "tags": avatar.tags,
        "extra": avatar.extra,
    }
