"""What the package says about deployments: flows, queues, schedules, templates and automations."""

import importlib.resources
import json
import string
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

PoolType = Literal["process", "docker", "kubernetes"]
POOL_TYPES: tuple[PoolType, ...] = ("process", "docker", "kubernetes")


class Schedule(BaseModel):
    """When a deployment runs by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slug: str
    """Its name within the deployment."""
    cron: str
    timezone: str = "UTC"
    active: bool = False
    parameters: dict[str, Any] = Field(default_factory=dict)
    """What scheduled runs are given beside the deployment's own parameters."""


class Concurrency(BaseModel):
    """How many runs of a deployment there may be at a time, and what becomes of more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(ge=1)
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"]


class PoolPlace(BaseModel):
    """Where a deployment's runs go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PoolType
    """The type of pool: in the file, pools are called by their type."""
    work_queue_name: str
    job_variables: dict[str, Any] = Field(default_factory=dict)


class Deployment(BaseModel):
    """One flow on one type of pool."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PoolType
    entrypoint: str
    """Module and name of the flow, which the workers' installed package has."""
    description: str
    tags: tuple[str, ...]
    work_pool: PoolPlace
    schedules: tuple[Schedule, ...] = ()
    concurrency_limit: Concurrency | None = None


def deployments_folder() -> Path:
    """Return the folder of the package's deployment files."""
    return Path(str(importlib.resources.files("deployments")))


def read_deployments(pool_type: PoolType) -> list[Deployment]:
    """Return the deployments of one type of pool, as prefect.yaml has them."""
    entries = [Deployment.model_validate(entry) for entry in _prefect_yaml()["deployments"]]
    return [entry for entry in entries if entry.work_pool.name == pool_type]


def read_queues() -> list[str]:
    """Return the names of a pool's queues, the most urgent first."""
    return list(_prefect_yaml()["queues"])


def read_template(pool_type: PoolType) -> dict[str, Any]:
    """Return the base job template of one type of pool."""
    return json.loads((deployments_folder() / "templates" / f"{pool_type}.json").read_bytes())


def read_automations(pool: str, dead_after: int) -> list[dict[str, Any]]:
    """Return the automations of a pool whose runs count as crashed after `dead_after` seconds without heartbeat."""
    text = (deployments_folder() / "automations.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(string.Template(text).substitute(pool=pool, dead_after=dead_after))


def _prefect_yaml() -> dict[str, Any]:
    return yaml.safe_load((deployments_folder() / "prefect.yaml").read_text(encoding="utf-8"))
