"""The flows of a whole catalog: plan it, and make its avatars; for schedules and for fleets."""

import logging
from dataclasses import asdict
from typing import Any

from prefect import flow

from flows.dispatch import dispatch
from flows.options import RunOptions
from flows.outcome import Outcome
from flows.run import run_here
from flows.run_plan import RunPlan
from flows.run_progress import Pool
from flows.session import Request, compact_when_due, new_run_id, prepare

logger = logging.getLogger(__name__)


@flow(name="plan-catalog", persist_result=False)
def plan_catalog(
    catalog: str,
    library: str,
    preset: str | None = None,
    encoder: str = "bodyclip",
    device: str = "auto",
    options: RunOptions | None = None,
    body: str | None = None,
) -> dict[str, Any]:
    """Plan a catalog: validated rows in shards, less what the manifest says is done.

    Args:
        catalog: path or URL of the CSV, as this worker sees it.
        library: folder or fsspec URL that avatars are made in.
        preset: effort of rows that name none; default: draft on a CPU, standard on a GPU.
        encoder: vision-language model.
        device: of the workers that will carry the run out; decides the default preset.
        options: how the run goes about its work.
        body: of rows that name none; default: the preset's.
    Returns:
        the run's id, the avatars of each shard, and the counts.
    """
    request = Request(library, catalog, (), preset, encoder, device, options=options or RunOptions(), body=body)
    run = prepare(request, new_run_id()).run
    return {"run_id": run.run_id, "shards": list(run.shards), "counts": asdict(run.counts)}


@flow(name="run-catalog", persist_result=False)
def run_catalog(
    catalog: str,
    library: str,
    preset: str | None = None,
    encoder: str = "bodyclip",
    device: str = "auto",
    options: RunOptions | None = None,
    pool: str | None = None,
    queue: str | None = None,
    window: int = 8,
    body: str | None = None,
) -> dict[str, Any]:
    """Make every avatar of a catalog that is not up to date.

    Rows that changed are made anew, and so is what a new release, other settings or other weights would make
    differently: each from the first stage that is concerned. Everything else stays.

    Args:
        catalog, library, preset, encoder, device, options, body: see plan-catalog.
        pool: work pool that carries the shards out; None: this process does, one after the other.
        queue: work queue of the pool: urgent, scheduled or backfill.
        window: how many shards are submitted at a time.
    Returns:
        the run's id and what became of it.
    """
    request = Request(library, catalog, (), preset, encoder, device, options=options or RunOptions(), body=body)
    session = prepare(request, new_run_id())
    if pool is None:
        outcome = run_here(session.run, session.shards, session.device)
    else:
        outcome = dispatch(session.run, Pool(pool, queue, window, device), shards=session.shards)
    compact_when_due(library)
    return told(session.run, outcome)


def told(run: RunPlan, outcome: Outcome) -> dict[str, Any]:
    """Return what a flow run's result says of a run."""
    named = {name: value for name, value in asdict(outcome).items() if name not in ("failures", "below_bar")}
    return {"run_id": run.run_id, "counts": asdict(run.counts), **named}
