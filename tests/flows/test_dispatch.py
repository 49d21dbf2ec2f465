"""Handing shards out on a real server; the test is the worker, through the server's API."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelled, Completed, Crashed, Running
from simulated_stages import catalog_text, plan_text

from avatar_core.errors import ConfigError
from avatar_core.storage.leases import Lease, LeaseStore
from flows.deployment import Fleet, register
from flows.dispatch import SHARD_ATTEMPTS, Dispatcher
from flows.limits import ask_to_stop
from flows.outcome import Outcome, write_outcome
from flows.run_plan import RunPlan, dispatch_lease, shard_lease
from flows.run_progress import Pool

POOL = "dispatched"


@pytest.fixture(scope="module")
def client(prefect_server: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        register(Fleet(pool=POOL), client)
        yield client


def plan(library: str, run_id: str, rows: int = 3) -> RunPlan:
    people = [{"shape": "a man", "appearance": f"coat {n}", "motion": "walking"} for n in range(rows)]
    return plan_text(catalog_text(people), library, run_id, shard_size=1).run


class Worker:
    """Ends each flow run that waits, with the state that `answer` has for it."""

    def __init__(self, client: SyncPrefectClient, run: RunPlan, answer: Callable[[FlowRun], State]) -> None:
        self.client, self.run, self.answer = client, run, answer
        self.most_at_once = 0

    def runs(self) -> list[FlowRun]:
        mine = FlowRunFilter(tags=FlowRunFilterTags(all_=[self.run.run_id]))
        return self.client.read_flow_runs(flow_run_filter=mine, sort=FlowRunSort.EXPECTED_START_TIME_ASC)

    def __call__(self, seconds: float) -> None:
        waiting = [one for one in self.runs() if one.state is not None and not one.state.is_final()]
        self.most_at_once = max(self.most_at_once, len(waiting))
        for one in waiting:
            self.client.set_flow_run_state(one.id, Running(), force=True)
            state = self.answer(one)
            if state.is_completed():
                write_outcome(self.run.library, self.run.run_id, one.parameters["shard"], Outcome(done=1, computed=6))
            self.client.set_flow_run_state(one.id, state, force=True)


def carry_out(
    client: SyncPrefectClient, run: RunPlan, answer: Callable[[FlowRun], State], window: int = 8
) -> tuple[Dispatcher, Worker]:
    worker = Worker(client, run, answer)
    dispatcher = Dispatcher(run, Pool(POOL, "urgent", window), client, wait=worker)
    dispatcher.carry_out()
    return dispatcher, worker


def test_shards_are_submitted_within_the_window_on_their_queue(client: SyncPrefectClient, library: str) -> None:
    dispatcher, worker = carry_out(client, plan(library, "window", 5), lambda _: Completed(), window=2)
    assert (dispatcher.progress.total.done, dispatcher.progress.total.computed) == (5, 30)
    assert (dispatcher.progress.ended, dispatcher.progress.waiting, dispatcher.progress.submitted) == (5, 0, 0)
    assert worker.most_at_once == 2
    runs = worker.runs()
    assert sorted(one.parameters["shard"] for one in runs) == [0, 1, 2, 3, 4]
    assert {one.work_queue_name for one in runs} == {"urgent"}
    assert all({"avatar-foundry", f"avatar-foundry:{POOL}", "window"} <= set(one.tags) for one in runs)


def test_a_shard_that_crashes_is_submitted_again_and_given_up_in_the_end(
    client: SyncPrefectClient, library: str
) -> None:
    crashes = {0: 1, 1: SHARD_ATTEMPTS}

    def answer(one: FlowRun) -> State:
        left = crashes.get(one.parameters["shard"], 0)
        crashes[one.parameters["shard"]] = left - 1
        return Crashed(message="its worker died") if left > 0 else Completed()

    dispatcher, worker = carry_out(client, plan(library, "crashes"), answer)
    assert (dispatcher.progress.total.done, dispatcher.progress.total.failed) == (2, 1)
    assert dispatcher.progress.lost == [1]
    assert dispatcher.progress.ended == 3
    submitted = [one.parameters["shard"] for one in worker.runs()]
    assert [submitted.count(shard) for shard in range(3)] == [2, SHARD_ATTEMPTS, 1]


def test_a_shard_whose_worker_vanishes_is_submitted_again_whatever_the_server_knows(
    client: SyncPrefectClient, library: str
) -> None:
    run = plan(library, "vanished", 1)
    other = Worker(client, run, lambda _: Completed())
    with LeaseStore(library, owner="a worker that dies") as elsewhere:
        leases: list[Lease] = []

        def wait(seconds: float) -> None:
            """One worker begins and vanishes; then the other comes."""
            if len(other.runs()) > 1:
                other(seconds)
            elif leases:
                leases[0].release()
            else:
                client.set_flow_run_state(other.runs()[0].id, Running(), force=True)
                lease = elsewhere.acquire(shard_lease(run.run_id, 0))
                assert lease is not None
                leases.append(lease)

        outcome = Dispatcher(run, Pool(POOL), client, wait=wait).carry_out()
    assert outcome.done == 1
    assert sorted(one.state_name for one in other.runs()) == ["Completed", "Crashed"]


def test_a_shard_that_has_its_outcome_is_no_longer_watched(client: SyncPrefectClient, library: str) -> None:
    run = plan(library, "ending", 1)
    worker = Worker(client, run, lambda _: Completed())
    with LeaseStore(library, owner="a worker that ends") as elsewhere:
        steps = iter(range(10))

        def wait(seconds: float) -> None:
            """The worker frees its lease some time before its flow run has ended."""
            step, (only,) = next(steps), worker.runs()
            if step == 0:
                client.set_flow_run_state(only.id, Running(), force=True)
                assert elsewhere.acquire(shard_lease(run.run_id, 0)) is not None
            elif step == 1:
                write_outcome(library, run.run_id, 0, Outcome(done=1))
                elsewhere.close()
            elif step == 3:
                client.set_flow_run_state(only.id, Completed(), force=True)

        outcome = Dispatcher(run, Pool(POOL), client, wait=wait).carry_out()
    assert outcome.done == 1
    assert [one.state_name for one in worker.runs()] == ["Completed"]


def test_a_shard_whose_flow_run_is_deleted_is_submitted_again(client: SyncPrefectClient, library: str) -> None:
    run = plan(library, "deleted", 2)
    worker = Worker(client, run, lambda _: Completed())
    deleted: list[FlowRun] = []

    def wait(seconds: float) -> None:
        if not deleted:
            deleted.append(next(one for one in worker.runs() if one.parameters["shard"] == 1))
            client.delete_flow_run(deleted[0].id)
        worker(seconds)

    outcome = Dispatcher(run, Pool(POOL), client, wait=wait).carry_out()
    assert outcome.done == 2
    assert deleted[0].id not in [one.id for one in worker.runs()]


def test_what_a_dead_dispatcher_left_in_the_queue_is_cancelled(client: SyncPrefectClient, tmp_path: Path) -> None:
    library = str(tmp_path / "library")
    runs = [plan(library, name, 2) for name in ("dead", "alive", "new")]
    for run in runs[:2]:
        Dispatcher(run, Pool(POOL), client)._submit(0, 1)
    elsewhere = plan(str(tmp_path / "elsewhere"), "other", 1)
    Dispatcher(elsewhere, Pool(POOL), client)._submit(0, 1)
    with LeaseStore(library, owner="another dispatcher") as leases:
        assert leases.acquire(dispatch_lease("alive")) is not None
        carry_out(client, runs[2], lambda _: Completed())
    states = [Worker(client, run, lambda _: Completed()).runs()[0].state_name for run in (*runs, elsewhere)]
    assert states == ["Cancelled", "Scheduled", "Completed", "Scheduled"]


def test_a_shard_that_somebody_cancels_is_not_submitted_again(client: SyncPrefectClient, library: str) -> None:
    dispatcher, worker = carry_out(
        client, plan(library, "cancelled", 2), lambda one: Cancelled() if one.parameters["shard"] else Completed()
    )
    assert (dispatcher.progress.total.done, dispatcher.progress.total.failed) == (1, 1)
    assert dispatcher.progress.lost == [1]
    assert len(worker.runs()) == 2


def test_a_run_that_is_asked_to_stop_submits_nothing_more(client: SyncPrefectClient, library: str) -> None:
    run = plan(library, "stopped", 4)

    def answer(one: FlowRun) -> State:
        ask_to_stop(run.library, run.run_id, "somebody asked")
        return Completed()

    dispatcher, worker = carry_out(client, run, answer, window=1)
    assert dispatcher.progress.total.stopped == "somebody asked"
    assert dispatcher.progress.total.done == 1
    assert len(worker.runs()) == 1


def test_a_pool_without_the_deployment_is_named_with_the_remedy(client: SyncPrefectClient, library: str) -> None:
    with pytest.raises(ConfigError, match="avatars deploy --pool nowhere"):
        Dispatcher(plan(library, "nowhere"), Pool("nowhere"), client)
