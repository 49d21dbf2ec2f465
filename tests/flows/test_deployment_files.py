"""What the package registers with Prefect: every flow on every type of pool, templates and automations that fit it."""

import importlib.resources
import json
import re
from typing import Any

import docker.types
import pytest
import yaml
from prefect.client.schemas.actions import DeploymentCreate, WorkPoolCreate
from prefect.events.schemas.automations import AutomationCore
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.templating import apply_values

from avatar_core.errors import ConfigError
from flows.deployment import Fleet, _gpus
from flows.deployment_files import (
    POOL_TYPES,
    PoolType,
    deployments_folder,
    read_automations,
    read_deployments,
    read_queues,
    read_template,
)

FLOWS = {"plan-catalog", "run-catalog", "generate-shard", "regenerate", "compact-manifest", "collect-garbage"}
SCHEDULED = {"regenerate": "nightly", "compact-manifest": "hourly", "collect-garbage": "weekly"}


def prefects_own(pool_type: PoolType) -> dict[str, Any]:
    """Return the template that Prefect itself has for a type of pool."""
    package = importlib.resources.files("prefect.server.api") / "collections_data/views/aggregate-worker-metadata.json"
    collections = json.loads(package.read_text())
    (found,) = [types[pool_type] for types in collections.values() if pool_type in types]
    return found["default_base_job_configuration"]


def placeholders(template: dict[str, Any]) -> set[str]:
    """Return the names of the variables that a template's job configuration refers to."""
    return set(re.findall(r"\{\{\s*(\w+)\s*\}\}", json.dumps(template["job_configuration"])))


def rendered(pool_type: PoolType, **variables: Any) -> dict[str, Any]:
    """Return the job configuration that a worker makes of a template, with its defaults and some variables."""
    template = read_template(pool_type)
    properties = template["variables"]["properties"]
    defaults = {name: one["default"] for name, one in properties.items() if "default" in one}
    return apply_values(template["job_configuration"], {**defaults, **variables}, remove_notset=True)


@pytest.mark.parametrize("pool_type", POOL_TYPES)
def test_each_type_of_pool_has_every_flow_on_a_queue_that_it_has(pool_type: PoolType) -> None:
    entries = read_deployments(pool_type)
    flows = {load_flow_from_entrypoint(one.entrypoint, use_placeholder_flow=False).name: one for one in entries}
    assert set(flows) == FLOWS
    assert len(entries) == len(FLOWS)
    assert {one.work_pool.work_queue_name for one in entries} <= set(read_queues())
    schedules = {name: one.schedules[0].slug for name, one in flows.items() if one.schedules}
    assert schedules == SCHEDULED
    for name in SCHEDULED:
        limit = flows[name].concurrency_limit
        assert limit is not None
        assert (limit.limit, limit.collision_strategy) == (1, "CANCEL_NEW")
        assert not any(one.active for one in flows[name].schedules)


@pytest.mark.parametrize("pool_type", POOL_TYPES)
def test_a_scheduled_run_is_given_nothing_that_its_flow_does_not_take(pool_type: PoolType) -> None:
    for entry in read_deployments(pool_type):
        known = load_flow_from_entrypoint(entry.entrypoint).parameters.properties
        for schedule in entry.schedules:
            assert schedule.parameters.keys() <= known.keys()


@pytest.mark.parametrize("pool_type", POOL_TYPES)
def test_templates_have_all_that_prefects_own_have_and_define_what_they_refer_to(pool_type: PoolType) -> None:
    ours, own = read_template(pool_type), prefects_own(pool_type)
    assert own["variables"]["properties"].keys() <= ours["variables"]["properties"].keys()
    assert own["job_configuration"].keys() <= ours["job_configuration"].keys()
    assert placeholders(own) <= placeholders(ours)
    assert placeholders(ours) <= ours["variables"]["properties"].keys()
    WorkPoolCreate(name="pool", type=pool_type, base_job_template=ours)


@pytest.mark.parametrize("pool_type", POOL_TYPES)
def test_the_job_variables_of_deployments_fit_the_schema_of_their_template(pool_type: PoolType) -> None:
    image = {} if pool_type == "process" else {"image": "avatars:cpu"}
    for entry in read_deployments(pool_type):
        variables = {**image, "env": {"NAME": "value"}, **entry.work_pool.job_variables}
        assert variables.keys() <= read_template(pool_type)["variables"]["properties"].keys()
        created = DeploymentCreate(name="x", flow_id="00000000-0000-0000-0000-000000000000", job_variables=variables)
        created.check_valid_configuration(read_template(pool_type))


def test_a_pod_gets_the_gpus_that_are_asked_for_and_time_for_a_checkpoint() -> None:
    pod = rendered("kubernetes", image="avatars:cuda", gpus=2)["job_manifest"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": 2}
    assert pod["terminationGracePeriodSeconds"] >= 60
    assert pod["restartPolicy"] == "Never"
    assert "nodeSelector" not in pod
    placed = rendered("kubernetes", image="avatars:cuda", node_selector={"zone": "a"})
    assert placed["job_manifest"]["spec"]["template"]["spec"]["nodeSelector"] == {"zone": "a"}


def test_a_container_gets_gpus_by_device_requests_that_docker_takes() -> None:
    usual = rendered("docker")["container_create_kwargs"]["device_requests"]
    for requests, count in ((usual, 1), (_gpus("docker", 3), 3)):
        (request,) = [docker.types.DeviceRequest(**one) for one in requests]
        assert (request.count, request.capabilities) == (count, [["gpu"]])
    without = rendered("docker", device_requests=_gpus("docker", 0))
    assert without["container_create_kwargs"]["device_requests"] == []


def test_automations_concern_the_runs_of_their_pool_alone() -> None:
    automations = [AutomationCore.model_validate(one) for one in read_automations("night", 90)]
    assert len({one.name for one in automations}) == len(automations)
    for automation in automations:
        assert "night" in automation.name
        related = automation.trigger.match_related  # type: ignore[union-attr]
        first = related[0] if isinstance(related, list) else related
        assert first.root["prefect.resource.id"] == "prefect.tag.avatar-foundry:night"
    within = [one.trigger.within.total_seconds() for one in automations]  # type: ignore[union-attr]
    assert within[0] == 90


def test_the_worker_manifest_names_a_service_account_that_it_makes() -> None:
    documents = list(yaml.safe_load_all((deployments_folder() / "kubernetes-worker.yaml").read_text()))
    kinds = {one["kind"]: one for one in documents}
    pod = kinds["Deployment"]["spec"]["template"]
    assert pod["spec"]["serviceAccountName"] == kinds["ServiceAccount"]["metadata"]["name"]
    assert kinds["RoleBinding"]["roleRef"]["name"] == kinds["Role"]["metadata"]["name"]
    assert pod["metadata"]["labels"] == kinds["Deployment"]["spec"]["selector"]["matchLabels"]
    assert pod["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"] == kinds["ConfigMap"]["metadata"]["name"]


@pytest.mark.parametrize(
    ("fleet", "word"),
    [
        (Fleet(pool="gpu", pool_type="kubernetes"), "--image"),
        (Fleet(pool="gpu", image="avatars:cpu"), "--image"),
        (Fleet(pool="gpu", schedule=True, parameters={"library": "/data"}), "--catalog"),
        (Fleet(pool="gpu", shards_on="gpu"), "--shards-on"),
        (Fleet(pool='x"y'), "--pool"),
    ],
)
def test_contradictions_are_named_before_anything_is_registered(fleet: Fleet, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        fleet.check()


def test_what_fits_together_is_let_through() -> None:
    Fleet(pool="cpu", shards_on="gpu", schedule=True, parameters={"library": "/data", "catalog": "/c.csv"}).check()
    Fleet(pool="k8s-1.a", pool_type="kubernetes", image="avatars:cuda").check()
