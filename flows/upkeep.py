"""The flows that keep a library in order: regenerate what is stale, compact the manifest, collect garbage."""

import logging
from dataclasses import asdict
from typing import Any

from prefect import flow

from avatar_core.manifest import compact_all, references
from avatar_core.storage.garbage import GRACE_HOURS, Garbage
from avatar_core.storage.garbage import collect_garbage as collect
from flows.catalog import run_catalog
from flows.options import RunOptions, days_ago

logger = logging.getLogger(__name__)


@flow(name="regenerate", persist_result=False)
def regenerate(
    catalog: str,
    library: str,
    preset: str | None = None,
    encoder: str = "bodyclip",
    device: str = "auto",
    options: RunOptions | None = None,
    older_than_days: float | None = None,
    pool: str | None = None,
    queue: str | None = "scheduled",
    window: int = 8,
    body: str | None = None,
) -> dict[str, Any]:
    """Bring a library up to date with its catalog, this release and these settings; for a schedule.

    Stale is what has another stage version, other settings or weights, a changed row, a failed attempt (until it is in
    quarantine), a report below `options.gate`, or was made more than `older_than_days` ago. Only the stages that are
    stale are computed again, and those that read them.

    Args:
        catalog, library, preset, encoder, device, options, pool, queue, window, body: see run-catalog.
        older_than_days: age at which a result is made again; None: no age is too old.
    """
    aged = (options or RunOptions()).model_copy(update={"remake_before": days_ago(older_than_days)})
    return run_catalog(
        catalog, library, preset, encoder, device, aged, pool, queue if pool is not None else None, window, body
    )


@flow(name="compact-manifest", persist_result=False)
def compact_manifest(library: str, minimum_parts: int = 2) -> dict[str, int]:
    """Merge the manifest's parts into a few files, which makes it quick to read; safe while runs write to it."""
    return asdict(compact_all(library, minimum_parts=minimum_parts))


@flow(name="collect-garbage", persist_result=False)
def collect_garbage(library: str, grace_hours: float = GRACE_HOURS, dry_run: bool = True) -> dict[str, Any]:
    """Delete artifacts that no record of the manifest names, and what killed runs left; a dry run only counts them.

    Args:
        library: folder or fsspec URL.
        grace_hours: what is younger than this stays, as a run may be about to record it.
        dry_run: delete nothing.
    """
    return summary(collect(library, referenced=references(library), grace_seconds=grace_hours * 3600, dry_run=dry_run))


def summary(garbage: Garbage) -> dict[str, Any]:
    """Return counts and bytes by kind, without the list of what was found."""
    return {"counts": dict(garbage.counts), "bytes": dict(garbage.bytes)}
