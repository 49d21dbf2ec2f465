"""Flow runs of a cancelled run that nobody has begun do not begin."""

from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.states import Running, Scheduled

from flows.cancel import cancel_waiting

RUN = "20260102-030405-1a2b3c"


@flow
def shard() -> None:
    """Stand for a shard; never called."""


@pytest.fixture
def client(prefect_server: None):
    with get_client(sync_client=True) as found:
        yield found


def submit(client: SyncPrefectClient, run_id: str) -> UUID:
    return client.create_flow_run(shard, tags=["avatar-foundry", run_id], state=Scheduled()).id


def test_shards_that_wait_are_cancelled_and_others_are_let_alone(client: SyncPrefectClient) -> None:
    waiting = [submit(client, RUN) for _ in range(3)]
    begun, other = submit(client, RUN), submit(client, "another run")
    client.set_flow_run_state(begun, Running(), force=True)
    assert cancel_waiting(RUN) == 3
    states = {one: client.read_flow_run(one).state.type for one in (*waiting, begun, other)}
    assert {states[one] for one in waiting} == {StateType.CANCELLED}
    assert states[begun] == StateType.RUNNING
    assert states[other] == StateType.SCHEDULED
    assert cancel_waiting(RUN) == 0


def test_more_shards_than_a_page_holds_are_cancelled(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.cancel.PAGE", 2)
    for _ in range(5):
        submit(client, "a long run")
    assert cancel_waiting("a long run") == 5
