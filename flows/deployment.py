"""Registering with a Prefect server what its workers need to make avatars: a pool, queues, deployments, automations.

Registering again brings the server to what is asked for then, whatever it had before.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.flows import load_flow_from_entrypoint

from avatar_core import __version__
from avatar_core.errors import ConfigError
from flows.deployment_files import (
    Deployment,
    PoolType,
    read_automations,
    read_deployments,
    read_queues,
    read_template,
)

HEARTBEATS = 4
"""How many heartbeats a run may miss before it counts as crashed."""
SHORTEST_HEARTBEAT_SECONDS = 30
"""Prefect sends none oftener."""
WORKER_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "avatar_core",
}
"""What the processes of flow runs have in their environment, beside what their worker has."""
GPU_VARIABLES: dict[PoolType, str] = {"docker": "device_requests", "kubernetes": "gpus"}
"""The job variable that asks for GPUs, by type of pool; a process has those that its worker sees."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Fleet:
    """What is asked for."""

    pool: str
    pool_type: PoolType = "process"
    image: str | None = None
    """Container image with this release, for docker and kubernetes."""
    gpus: int = 1
    """GPUs of a container that makes avatars."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """What flow runs are given that are not told otherwise, such as library and catalog; by the flows' own names."""
    shards_on: str | None = None
    """Pool over which run-catalog and regenerate spread their shards; None: they make the avatars themselves."""
    schedule: bool = False
    """Whether the schedules are active."""
    concurrency: int | None = None
    """Most flow runs of the pool at a time; None: as many as its workers take."""
    dead_after: int = 240
    """Seconds without a heartbeat after which a flow run counts as crashed."""
    environment: dict[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raise ConfigError where something is missing or contradicts something else."""
        if not _NAME.fullmatch(self.pool):
            raise ConfigError(f"--pool {self.pool!r}: give letters, digits, dots, dashes and underscores.")
        if self.pool_type != "process" and not self.image:
            raise ConfigError(
                f"--type {self.pool_type} needs --image: build one with deployments/Dockerfile and push it where the "
                "workers can pull it."
            )
        if self.pool_type == "process" and self.image:
            raise ConfigError("--image is for --type docker or kubernetes; workers of type process use what is there.")
        if self.schedule and not {"library", "catalog"} <= self.parameters.keys():
            raise ConfigError("--schedule needs --library and --catalog: scheduled runs have nobody to ask for them.")
        if self.shards_on == self.pool:
            raise ConfigError(
                f"--shards-on {self.pool}: a run that spreads its shards waits for them, so it needs another pool, "
                "whose workers need no GPU; otherwise it may hold the very slot that they wait for."
            )

    @property
    def tag(self) -> str:
        """The tag by which automations know the pool's flow runs."""
        return f"avatar-foundry:{self.pool}"


@dataclass(frozen=True)
class Registered:
    """One thing that the server has now."""

    kind: str
    name: str
    detail: str = ""


def register(fleet: Fleet, client: SyncPrefectClient) -> list[Registered]:
    """Create or update everything; return what the server has then. Raises ConfigError."""
    fleet.check()
    return [
        _register_pool(fleet, client),
        *_register_queues(fleet, client),
        *[_register_deployment(fleet, entry, client) for entry in read_deployments(fleet.pool_type)],
        *_register_automations(fleet, client),
    ]


def _register_pool(fleet: Fleet, client: SyncPrefectClient) -> Registered:
    settings: dict[str, Any] = {
        "description": "Makes avatars; registered by `avatars deploy`.",
        "base_job_template": read_template(fleet.pool_type),
        "concurrency_limit": fleet.concurrency,
    }
    try:
        existing = client.read_work_pool(fleet.pool)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=fleet.pool, type=fleet.pool_type, **settings))
    else:
        if existing.type != fleet.pool_type:
            raise ConfigError(
                f"The server has a work pool {fleet.pool!r} of type {existing.type}, which cannot change: give "
                f"--type {existing.type}, another --pool, or delete it (`prefect work-pool delete {fleet.pool}`)."
            )
        client.update_work_pool(fleet.pool, WorkPoolUpdate(**settings))
    limit = "as many flow runs as workers take" if fleet.concurrency is None else f"{fleet.concurrency} flow runs"
    return Registered("work pool", fleet.pool, f"{fleet.pool_type}; {limit}")


def _register_queues(fleet: Fleet, client: SyncPrefectClient) -> list[Registered]:
    registered = []
    for priority, name in enumerate(read_queues(), start=1):
        try:
            queue = client.read_work_queue_by_name(name, work_pool_name=fleet.pool)
        except ObjectNotFound:
            client.create_work_queue(name, priority=priority, work_pool_name=fleet.pool)
        else:
            client.update_work_queue(queue.id, priority=priority)
        registered.append(Registered("work queue", f"{fleet.pool}/{name}", f"priority {priority}"))
    return registered


def _register_deployment(fleet: Fleet, entry: Deployment, client: SyncPrefectClient) -> Registered:
    flow: Flow[..., Any] = load_flow_from_entrypoint(entry.entrypoint, use_placeholder_flow=False)
    limit = entry.concurrency_limit
    client.create_deployment(
        flow_id=client.create_flow(flow),
        name=fleet.pool,
        version=__version__,
        entrypoint=entry.entrypoint,
        description=entry.description,
        tags=[*entry.tags, fleet.tag],
        work_pool_name=fleet.pool,
        work_queue_name=entry.work_pool.work_queue_name,
        job_variables=_job_variables(fleet, entry, flow),
        parameters=_parameters(fleet, flow),
        parameter_openapi_schema=flow.parameters.model_dump(exclude_unset=True),
        enforce_parameter_schema=True,
        schedules=_schedules(fleet, entry),
        concurrency_limit=None if limit is None else limit.limit,
        concurrency_options=None
        if limit is None
        else ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy(limit.collision_strategy)),
        pull_steps=[],
    )
    when = ", ".join(f"{one.cron} {one.timezone}" for one in entry.schedules)
    state = "" if not when else f", {when} ({'active' if fleet.schedule else 'inactive'})"
    return Registered("deployment", f"{flow.name}/{fleet.pool}", f"queue {entry.work_pool.work_queue_name}{state}")


def _spreads(flow: Flow[..., Any]) -> bool:
    """Tell whether a flow can have its shards made by a pool."""
    return "pool" in flow.parameters.properties


def _job_variables(fleet: Fleet, entry: Deployment, flow: Flow[..., Any]) -> dict[str, Any]:
    heartbeat = max(SHORTEST_HEARTBEAT_SECONDS, fleet.dead_after // HEARTBEATS)
    heartbeats = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(heartbeat)}
    variables: dict[str, Any] = {"env": {**WORKER_ENVIRONMENT, **heartbeats, **fleet.environment}}
    if fleet.image:
        variables["image"] = fleet.image
    name = GPU_VARIABLES.get(fleet.pool_type)
    if name is not None:
        waits = fleet.shards_on is not None and _spreads(flow)
        variables[name] = _gpus(fleet.pool_type, 0 if waits else fleet.gpus)
    return {**variables, **entry.work_pool.job_variables}


def _gpus(pool_type: PoolType, count: int) -> Any:
    if pool_type == "kubernetes":
        return count
    return [{"count": count, "capabilities": [["gpu"]]}] if count else []


def _parameters(fleet: Fleet, flow: Flow[..., Any]) -> dict[str, Any]:
    given = dict(fleet.parameters)
    if fleet.shards_on is not None and _spreads(flow):
        given["pool"] = fleet.shards_on
    return {name: value for name, value in given.items() if name in flow.parameters.properties}


def _schedules(fleet: Fleet, entry: Deployment) -> list[DeploymentScheduleCreate]:
    return [
        DeploymentScheduleCreate(
            schedule=CronSchedule(cron=one.cron, timezone=one.timezone),
            active=one.active or fleet.schedule,
            parameters=one.parameters,
            slug=one.slug,
        )
        for one in entry.schedules
    ]


def _register_automations(fleet: Fleet, client: SyncPrefectClient) -> list[Registered]:
    registered = []
    for content in read_automations(fleet.pool, fleet.dead_after):
        automation = AutomationCore.model_validate(content)
        existing = client.read_automations_by_name(automation.name)
        if existing:
            client.update_automation(existing[0].id, automation)
        else:
            client.create_automation(automation)
        registered.append(Registered("automation", automation.name))
    return registered
