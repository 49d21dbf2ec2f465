"""Carrying out the shards of a planned run: one after the other in this process, or spread over a work pool."""

import logging
from collections.abc import Iterable

from flows.limits import Limits, asked_to_stop
from flows.outcome import Outcome, read_outcome
from flows.run_plan import RunPlan
from flows.run_state import note_end
from flows.shard import generate_shard

logger = logging.getLogger(__name__)


def run_here(run: RunPlan, shards: Iterable[int], device: str) -> Outcome:
    """Make the avatars of some shards in this process, each shard as a flow run of its own."""
    total = Outcome()
    limits = Limits(run.options)
    for shard in shards:
        reason = limits.reason_to_stop(total) or asked_to_stop(run.library, run.run_id)
        if reason:
            total.stopped = reason
            break
        generate_shard(run.library, run.run_id, shard, device)
        total.add(read_outcome(run.library, run.run_id, shard))
        if total.stopped:
            break
    note_end(run, total)
    return total
