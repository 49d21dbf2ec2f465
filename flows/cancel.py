"""Taking back a run's flow runs that no worker has begun."""

from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import OrchestrationResult
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import Cancelled

PAGE = 200


def cancel_waiting(run_id: str) -> int:
    """Cancel the flow runs of a run that wait for a worker, on the server that Prefect is configured for.

    Returns how many were cancelled. Those that a worker has taken are let alone: they see that the run is to stop.
    """
    with get_client(sync_client=True) as client:
        answers: list[OrchestrationResult[Any]] = [
            client.set_flow_run_state(flow_run, Cancelled(message="The run was cancelled."))
            for flow_run in _waiting(client, run_id)
        ]
    return sum(answer.status == SetStateStatus.ACCEPT for answer in answers)


def _waiting(client: SyncPrefectClient, run_id: str) -> list[UUID]:
    """Return the ids of the flow runs that wait."""
    chosen = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[run_id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
    )
    found: list[UUID] = []
    while page := client.read_flow_runs(flow_run_filter=chosen, limit=PAGE, offset=len(found)):
        found += [flow_run.id for flow_run in page]
    return found
