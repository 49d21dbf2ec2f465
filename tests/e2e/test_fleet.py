"""A work pool from end to end: PostgreSQL, Prefect's server, two process workers, and the command that gives them work.

Stages run with the smallest settings there are. What is told of a worker that dies takes the server a minute to notice,
so that scene begins before all others. All of it takes minutes, so it runs where AVATARS_FLEET_TESTS is set.
"""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule
from prefect_fleet import TIMEOUT, PrefectFleet, parent_of, postgres_trouble, wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.service,
    pytest.mark.skipif("AVATARS_FLEET_TESTS" not in os.environ, reason="takes minutes: set AVATARS_FLEET_TESTS=1"),
]

POOL = "gpu"
DEAD_AFTER = 60  # seconds; Prefect's heartbeats come every 30
MINIMAL = """extends: tiny
texturing: { outfit_search: false, steps: 2, checkpoint_every: 1 }
"""
LONG = """extends: tiny
texturing: { outfit_search: false, steps: 150, checkpoint_every: 5 }
"""
HEADER = "id,shape,appearance,motion\n"
ADA = "ada,a tall man,a man in a red shirt,walking\n"
BEN = "ben,a tall man,a man in a green shirt,walking\n"


@dataclass(frozen=True)
class Scene:
    """A catalog, a preset and a library of their own."""

    folder: Path

    @classmethod
    def of(cls, folder: Path, rows: str, preset: str) -> "Scene":
        folder.mkdir()
        (folder / "people.csv").write_text(HEADER + rows)
        (folder / "preset.yaml").write_text(preset)
        return cls(folder)

    @property
    def library(self) -> Path:
        return self.folder / "library"

    @property
    def facts(self) -> dict[str, str]:
        """What a flow run is told of the scene."""
        paths = {"catalog": "people.csv", "library": "library", "preset": "preset.yaml"}
        return {**{name: str(self.folder / path) for name, path in paths.items()}, "device": "cpu"}

    @property
    def run(self) -> tuple[object, ...]:
        """The command's arguments."""
        facts = self.facts
        options = [f"--{name}={facts[name]}" for name in ("library", "preset", "device")]
        return ("run", facts["catalog"], *options, "--pool", POOL, "--shard-size", 1)

    def checkpoint_of_step(self, step: int) -> bool:
        """Whether texturing has a checkpoint of that step or a later one."""
        paths = (self.library / "store/_checkpoints/texturing").glob("*/step-*")
        return any(int(path.name.split("-")[1]) >= step for path in paths)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectFleet]:
    trouble = postgres_trouble()
    if trouble:
        pytest.skip(trouble)
    fleet = PrefectFleet(tmp_path_factory.mktemp("fleet"))
    try:
        fleet.start_server()
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture(scope="module")
def avatars(avatars: Any, fleet: PrefectFleet) -> Any:
    """Return the command, as somebody runs it whose PREFECT_API_URL is the fleet's."""
    command = type(avatars)(fleet.folder / "cache")
    command.environment |= fleet.environment
    return command


@pytest.fixture(scope="module")
def deploy(avatars: Any) -> Callable[[], subprocess.CompletedProcess[str]]:
    return lambda: avatars("deploy", "--pool", POOL, "--type", "process", "--dead-after", DEAD_AFTER)


@pytest.fixture(scope="module")
def deployed(deploy: Any, fleet: PrefectFleet) -> subprocess.CompletedProcess[str]:
    """Register the pool and start its two workers; return what the command said."""
    result = deploy()
    assert result.returncode == 0, result.stdout + result.stderr
    for name in ("worker-1", "worker-2"):
        fleet.start_worker(POOL, name)
    return result


@dataclass
class Bereaved:
    """A run whose only shard lost its worker after a checkpoint of texturing's step 10."""

    scene: Scene
    command: subprocess.Popen[str]
    worker: str


@pytest.fixture(scope="module", autouse=True)
def bereaved(deployed: Any, fleet: PrefectFleet, avatars: Any, tmp_path_factory: pytest.TempPathFactory) -> Bereaved:
    scene = Scene.of(tmp_path_factory.mktemp("scenes") / "killed", ADA, LONG)
    command = avatars.start(*scene.run)
    process = working(fleet, scene, command)
    worker = parent_of(process)
    name = fleet.workers[worker]
    fleet.kill(worker, process)
    fleet.start_worker(POOL, "worker-3")
    return Bereaved(scene, command, name)


def working(fleet: PrefectFleet, scene: Scene, command: subprocess.Popen[str]) -> int:
    """Return the process that makes the scene's avatar, once texturing has got somewhere."""

    def begun() -> bool:
        assert command.poll() is None, command.communicate()
        return scene.checkpoint_of_step(10)

    wait_until(begun, "a checkpoint of texturing")
    return int(fleet.shard_runs(scene.library)[0].infrastructure_pid or 0)


def test_a_catalog_is_made_by_the_workers_of_a_pool_once(
    fleet: PrefectFleet, avatars: Any, tmp_path: Path, stage_artifacts: Callable[[Path], dict[str, int]]
) -> None:
    scene = Scene.of(tmp_path / "scene", ADA + BEN, MINIMAL)
    first = avatars(*scene.run)
    assert first.returncode == 0, first.stdout + first.stderr
    assert avatars.json("status", "--library", scene.library)["counts"] == {"done": 2, "rejected": 0}
    for name in ("ada", "ben"):
        assert (scene.library / "avatars" / name / "avatar.glb").stat().st_size > 0
    runs = fleet.shard_runs(scene.library)
    assert [run.state_name for run in runs] == ["Completed", "Completed"]
    assert {run.work_queue_name for run in runs} == {"backfill"}

    made = stage_artifacts(scene.library)
    again = avatars(*scene.run)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "nothing to compute" in again.stdout
    assert stage_artifacts(scene.library) == made
    assert len(fleet.shard_runs(scene.library)) == 2


def test_deploying_again_changes_nothing(fleet: PrefectFleet, deploy: Any, deployed: Any) -> None:
    def registered() -> dict[str, object]:
        with fleet.client() as client:
            deployments = client.read_deployments()
            return {
                "deployments": {(one.name, one.entrypoint): one.id for one in deployments},
                "schedules": sorted(s.slug or "" for one in deployments for s in one.schedules if not s.active),
                "queues": {queue.name: queue.priority for queue in client.read_work_queues(work_pool_name=POOL)},
                "automations": sorted((one.name, one.id) for one in client.read_automations()),
            }

    before = registered()
    assert len(before["deployments"]) == 6  # type: ignore[arg-type]
    assert before["schedules"] == ["hourly", "nightly", "weekly"]
    assert before["queues"] == {"urgent": 1, "scheduled": 2, "backfill": 3, "default": 4}
    assert len(before["automations"]) == 3  # type: ignore[arg-type]
    again = deploy()
    assert again.returncode == 0, again.stderr
    assert again.stdout == deployed.stdout
    assert registered() == before


def test_a_pool_that_cannot_be_is_refused_in_one_line(avatars: Any, deployed: Any) -> None:
    refused = avatars("deploy", "--pool", POOL, "--shards-on", POOL)
    assert refused.returncode == 2
    assert "--shards-on" in refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr


def test_a_schedule_makes_what_its_catalog_has(fleet: PrefectFleet, avatars: Any, tmp_path: Path) -> None:
    scene = Scene.of(tmp_path / "scene", ADA, MINIMAL)
    # more than one time, as the server may be too busy to have made the first run before its time has passed
    when = IntervalSchedule(interval=timedelta(minutes=2), anchor_date=datetime.now(UTC) + timedelta(seconds=15))
    schedule = DeploymentScheduleCreate(schedule=when, active=True, parameters=scene.facts, slug="soon")

    def ended() -> list[FlowRun]:
        with fleet.client() as client:
            only = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
            runs = client.read_flow_runs(deployment_filter=only)
        # the next one is cancelled where it comes before this one's end
        return [run for run in runs if run.state is not None and run.state.is_final() and not run.state.is_cancelled()]

    with fleet.client() as client:
        deployment = client.read_deployment_by_name(f"regenerate/{POOL}")
        (soon,) = client.create_deployment_schedules(deployment.id, [schedule])
    try:
        run = wait_until(ended, "the scheduled run to end")[0]
    finally:
        with fleet.client() as client:
            client.delete_deployment_schedule(deployment.id, soon.id)
    assert run.auto_scheduled
    assert run.state_name == "Completed", fleet.log_of(run)
    assert avatars.json("status", "--library", scene.library)["counts"] == {"done": 1, "rejected": 0}


def test_a_process_that_is_asked_to_end_keeps_a_checkpoint_from_which_its_shard_goes_on(
    fleet: PrefectFleet, avatars: Any, tmp_path: Path
) -> None:
    scene = Scene.of(tmp_path / "scene", ADA, LONG)
    command = avatars.start(*scene.run)
    os.kill(working(fleet, scene, command), signal.SIGTERM)
    finish(command)
    ended, finished = fleet.shard_runs(scene.library)
    assert (ended.state_name, finished.state_name) == ("Crashed", "Completed")
    # what it prints is all there is: the process ends before its last lines have gone to the server
    stopped = re.search(r"texturing stopped at step (\d+)", fleet.printed())
    assert stopped is not None
    assert continued_at(fleet, finished) == int(stopped[1]), "not one step is lost"
    report = avatars.json("show", "ada", "--library", scene.library)
    assert report["state"] == "done"
    assert report["stages"]["texturing"]["status"] == "done"


def test_a_shard_whose_worker_is_killed_is_finished_by_the_other(
    fleet: PrefectFleet, avatars: Any, bereaved: Bereaved
) -> None:
    finish(bereaved.command)
    dead, finished = fleet.shard_runs(bereaved.scene.library)
    assert (dead.state_name, finished.state_name) == ("Crashed", "Completed")
    assert dead.state is not None
    assert any(sign in (dead.state.message or "") for sign in ("No heartbeat", "nobody holds the shard's lease"))
    assert bereaved.worker not in fleet.workers.values()
    assert continued_at(fleet, finished) >= 10
    counts = avatars.json("status", "--library", bereaved.scene.library)["counts"]
    assert counts == {"done": 1, "rejected": 0}


def finish(command: subprocess.Popen[str]) -> None:
    """Wait for a command that is to succeed."""
    out, err = command.communicate(timeout=TIMEOUT)
    assert command.returncode == 0, out + err


def continued_at(fleet: PrefectFleet, run: FlowRun) -> int:
    """Return the step of texturing from which a flow run went on."""
    found = wait_until(lambda: re.search(r"texturing continues at step (\d+)", fleet.log_of(run)), "its log")
    return int(found[1])
