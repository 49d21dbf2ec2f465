"""Spreading a run's shards over a work pool: a bounded window of flow runs, resubmitted when workers die.

Runs wherever it may wait, on a CPU: a dispatcher that held a GPU slot would wait for itself.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from avatar_core.errors import ConfigError
from avatar_core.storage.leases import LeaseStore
from flows.limits import Limits, ask_to_stop, asked_to_stop
from flows.orchestrator import OrchestratorError
from flows.outcome import Outcome, has_outcome, read_outcome
from flows.run_plan import RunPlan, dispatch_lease, shard_lease
from flows.run_progress import OnProgress, Pool, RunProgress
from flows.run_state import note_end

logger = logging.getLogger(__name__)

SHARD_DEPLOYMENT = "generate-shard/{pool}"
"""Deployments are named by the pool that they run on."""
POLL_SECONDS = 2.0
LOOKS_BACK = 60
"""As often a dispatcher looks whether those of earlier runs are dead; on other hosts that takes a minute to see."""
ASKED_AT_ONCE = 200
"""Flow runs in one question to the server, which answers no more by default."""
SHARD_ATTEMPTS = 5
"""How often a shard is submitted before the run gives it up; what its earlier attempts finished is kept."""


@dataclass
class _Submitted:
    """A shard whose flow run has been created."""

    shard: int
    attempt: int
    flow_run: UUID
    worked_on: bool = False
    """Whether a worker was seen to hold the shard's lease."""


class Dispatcher:
    """Carries out the shards of one run on a pool."""

    def __init__(
        self,
        run: RunPlan,
        pool: Pool,
        client: SyncPrefectClient,
        *,
        shards: Sequence[int] | None = None,
        on_progress: OnProgress | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        """Take the run's `shards` (default: all). Raises ConfigError where the pool has no deployment of the flow."""
        self.run_plan, self.pool, self.client = run, pool, client
        self.on_progress, self.wait = on_progress, wait
        self.limits = Limits(run.options)
        self.shards = range(len(run.shards)) if shards is None else shards
        self.progress = RunProgress(waiting=len(self.shards))
        self.deployment = self._find_deployment()
        self._stop_asked = False
        self._leases = LeaseStore(run.library, owner="dispatcher")
        self._looks_left = LOOKS_BACK

    def _find_deployment(self) -> UUID:
        name = SHARD_DEPLOYMENT.format(pool=self.pool.name)
        try:
            return self.client.read_deployment_by_name(name).id
        except ObjectNotFound:
            raise ConfigError(
                f"Prefect knows no deployment {name!r}: run `avatars deploy --pool {self.pool.name}` first, "
                "on a machine that has this release."
            ) from None

    def carry_out(self) -> Outcome:
        """Submit all shards within the window and wait for their ends; return what they add up to."""
        with self._leases:
            self._leases.acquire(dispatch_lease(self.run_plan.run_id))
            return self._carry_out()

    def _carry_out(self) -> Outcome:
        waiting = deque((shard, 1) for shard in self.shards)
        submitted: list[_Submitted] = []
        while waiting or submitted:
            self._check_limits()
            self._drop_left_behind()
            if self.progress.total.stopped:
                waiting.clear()
            while waiting and len(submitted) < self.pool.window:
                submitted.append(self._submit(*waiting.popleft()))
            submitted = self._collect(submitted, waiting)
            self._tell(len(waiting), submitted)
            if submitted:
                self.wait(POLL_SECONDS)
        return self.progress.total

    def _check_limits(self) -> None:
        total = self.progress.total
        reason = asked_to_stop(self.run_plan.library, self.run_plan.run_id) or self.limits.reason_to_stop(total)
        if reason:
            total.stopped = reason
            if not self._stop_asked:
                self._stop_asked = True
                ask_to_stop(self.run_plan.library, self.run_plan.run_id, reason)

    def _submit(self, shard: int, attempt: int) -> _Submitted:
        run = self.run_plan
        flow_run = self.client.create_flow_run_from_deployment(
            self.deployment,
            name=f"{run.run_id} shard {shard}",
            parameters={
                "library": run.library, "run_id": run.run_id, "shard": shard, "device": self.pool.device
            },
            idempotency_key=f"{run.run_id}:{shard}:{attempt}",
            work_queue_name=self.pool.queue,
            tags=["avatar-foundry", run.run_id],
        )  # fmt: skip
        return _Submitted(shard, attempt, flow_run.id)

    def _collect(self, submitted: list[_Submitted], waiting: deque[tuple[int, int]]) -> list[_Submitted]:
        """Take in what has ended; return what has not."""
        going, running = [], 0
        states = self._states(submitted)
        for one in submitted:
            if one.flow_run not in states:
                self._resubmit(one, "its flow run is no longer on the server", waiting)
                continue
            state = states[one.flow_run]
            if state is not None and state.type == StateType.RUNNING and self._is_left_alone(one):
                state = self._crashed(one)
            if state is None or not state.is_final():
                going.append(one)
                running += state is not None and state.type == StateType.RUNNING
            elif state.is_completed():
                self.progress.total.add(read_outcome(self.run_plan.library, self.run_plan.run_id, one.shard))
                self.progress.ended += 1
            elif self.progress.total.stopped:
                self.progress.ended += 1
            elif state.is_cancelled():  # by a person, who would not see it begin again with pleasure
                self._give_up(one, "its flow run was cancelled")
            else:
                self._resubmit(one, f"{state.name}: {state.message}", waiting)
        self.progress.running = running
        return going

    def _drop_left_behind(self) -> None:
        """Cancel what earlier runs of this library have in the queue whose dispatchers are dead.

        This run has those rows in its own shards; their flow runs would only keep workers from them.
        """
        if self._looks_left == 0:
            return
        waiting = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[self.deployment]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        )
        queue = self.client.read_flow_runs(flow_run_filter=waiting, limit=ASKED_AT_ONCE)
        others = [one for one in queue if one.parameters.get("library") == self.run_plan.library]
        runs = {str(one.parameters["run_id"]) for one in others} - {self.run_plan.run_id}
        alive = {name for name in runs if self._leases.holder(dispatch_lease(name)) is not None}
        left = [one for one in others if one.parameters["run_id"] in runs - alive]
        for one in left:
            state: State = Cancelled(message="The command that submitted it is gone, and another has taken over.")
            self.client.set_flow_run_state(one.id, state, force=True)
        if left:
            logger.info("%d shards of earlier runs were still in the queue; they are cancelled", len(left))
        self._looks_left = self._looks_left - 1 if alive else 0

    def _states(self, submitted: Sequence[_Submitted]) -> dict[UUID, State | None]:
        """Return the states of flow runs, asking the server once for many of them."""
        states: dict[UUID, State | None] = {}
        for first in range(0, len(submitted), ASKED_AT_ONCE):
            asked = FlowRunFilterId(any_=[one.flow_run for one in submitted[first : first + ASKED_AT_ONCE]])
            found = self.client.read_flow_runs(flow_run_filter=FlowRunFilter(id=asked), limit=ASKED_AT_ONCE)
            states |= {flow_run.id: flow_run.state for flow_run in found}
        return states

    def _is_left_alone(self, one: _Submitted) -> bool:
        """Tell whether the worker of a shard is gone: nobody alive holds its lease any more, and it has no outcome.

        Prefect finds out later, or never: a run that dies before its first heartbeat stands as running for good.
        """
        if self._leases.holder(shard_lease(self.run_plan.run_id, one.shard)) is not None:
            one.worked_on = True
            return False
        return one.worked_on and not has_outcome(self.run_plan.library, self.run_plan.run_id, one.shard)

    def _crashed(self, one: _Submitted) -> State:
        """Tell Prefect, which then counts the run as ended and frees its places."""
        state: State = Crashed(message="Its worker is gone: nobody holds the shard's lease.")
        self.client.set_flow_run_state(one.flow_run, state, force=True)
        return state

    def _resubmit(self, one: _Submitted, reason: str, waiting: deque[tuple[int, int]]) -> None:
        if one.attempt >= SHARD_ATTEMPTS:
            self._give_up(one, f"{one.attempt} attempts, the last one {reason}")
            return
        logger.warning("Shard %d is submitted again (%s)", one.shard, reason)
        waiting.append((one.shard, one.attempt + 1))

    def _give_up(self, one: _Submitted, reason: str) -> None:
        logger.error("Shard %d is given up: %s", one.shard, reason)
        self.progress.lost.append(one.shard)
        self.progress.ended += 1
        self.progress.total.failed += self.run_plan.shards[one.shard]

    def _tell(self, waiting: int, submitted: list[_Submitted]) -> None:
        self.progress.waiting, self.progress.submitted = waiting, len(submitted)
        if self.on_progress is not None:
            self.on_progress(self.progress)


def dispatch(
    run: RunPlan, pool: Pool, *, shards: Sequence[int] | None = None, on_progress: OnProgress | None = None
) -> Outcome:
    """Carry out a run's shards on a pool of the server that Prefect is configured for; see Dispatcher.

    Raises OrchestratorError when the server is away for longer than Prefect's client tries, which is about a minute.
    """
    try:
        with get_client(sync_client=True) as client:
            outcome = Dispatcher(run, pool, client, shards=shards, on_progress=on_progress).carry_out()
    except httpx.HTTPError as error:
        raise OrchestratorError(
            f"Prefect's server does not answer any more ({error or type(error).__name__}). The pool's workers go on "
            "with the shards that they have; when the server is back, the same command goes on with the rest."
        ) from error
    note_end(run, outcome)
    return outcome
