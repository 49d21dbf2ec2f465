"""`avatars deploy`: prepares a Prefect server for workers that make avatars, and says how to start them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from avatar_core.errors import ConfigError
from flows.cli.errors import friendly
from flows.cli.logs import quiet_prefect
from flows.deployment_files import POOL_TYPES, PoolType, deployments_folder

if TYPE_CHECKING:
    from flows.deployment import Fleet, Registered

RUNS = "What flow runs are given unless they say otherwise"
CONTAINERS = "Containers (docker, kubernetes)"


@friendly
def deploy(
    pool: Annotated[str, typer.Option("--pool", help="Name of the work pool; its deployments get the same.")] = "gpu",
    pool_type: Annotated[
        str, typer.Option("--type", help="What runs a flow: process (on the worker's machine), docker or kubernetes.")
    ] = "process",
    library: Annotated[
        str | None, typer.Option("--library", "-l", help="Folder or URL, as workers see it.", rich_help_panel=RUNS)
    ] = None,
    catalog: Annotated[
        str | None, typer.Option("--catalog", help="CSV, path or URL, as workers see it.", rich_help_panel=RUNS)
    ] = None,
    preset: Annotated[str | None, typer.Option("--preset", "-p", help="Effort.", rich_help_panel=RUNS)] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N.", rich_help_panel=RUNS)
    ] = None,
    schedule: Annotated[
        bool,
        typer.Option(
            "--schedule/--no-schedule",
            help="Regenerate nightly, compact hourly, collect garbage weekly; needs --library and --catalog.",
        ),
    ] = False,
    shards_on: Annotated[
        str | None,
        typer.Option(
            "--shards-on",
            help="Pool over which run-catalog and regenerate spread their shards. Default: they make all avatars "
            "themselves, one after the other.",
        ),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", min=1, help="Most flow runs of the pool at a time.")
    ] = None,
    dead_after: Annotated[
        int,
        typer.Option("--dead-after", min=60, help="Seconds without heartbeat after which a flow run has crashed."),
    ] = 240,
    image: Annotated[
        str | None,
        typer.Option("--image", help="Image with this release (deployments/Dockerfile).", rich_help_panel=CONTAINERS),
    ] = None,
    gpus: Annotated[
        int, typer.Option("--gpus", min=0, help="GPUs of a container; 0 for the CPU.", rich_help_panel=CONTAINERS)
    ] = 1,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", help="NAME=VALUE for flow runs, beside what workers have; may be given several times."),
    ] = None,
) -> None:
    """Prepare the Prefect server in PREFECT_API_URL for workers that make avatars.

    Makes a **work pool** with the queues urgent, scheduled and backfill, one **deployment** of every flow on it, and
    **automations** that notice flow runs whose worker is gone. The same command again changes nothing; another brings
    the server to what it says. Nothing is uploaded: workers run the flows of the release that they have installed, so
    install the same one everywhere.

    Then start workers, one for each GPU, and give work from anywhere with `avatars run --pool`.

    Examples:

    One GPU box: a server, a pool, a worker for each GPU.

        prefect server start

        export PREFECT_API_URL=http://127.0.0.1:4200/api

        avatars deploy --pool gpu

        CUDA_VISIBLE_DEVICES=0 prefect worker start -p gpu --limit 1

        avatars run people.csv --library /data/people --pool gpu

    A library that keeps up with its catalog: changed rows, new releases, failed rows, every night.

        avatars deploy --pool gpu --library s3://bucket/people --catalog s3://bucket/people.csv --schedule

    A fleet, with the planning on a small CPU machine:

        avatars deploy --pool gpu --type kubernetes --image registry.example/avatars:0.1.0

        avatars deploy --pool cpu --shards-on gpu -l s3://bucket/people --catalog s3://bucket/people.csv --schedule

    Exit status: 0, or 2 when the server does not answer or the options contradict each other.
    """
    if pool_type not in POOL_TYPES:
        raise ConfigError(f"--type {pool_type!r} is none of {', '.join(POOL_TYPES)}.")
    from flows.orchestrator import require_server

    url = require_server()
    from flows.deployment import Fleet

    given = {"library": _seen_by_workers(library), "catalog": _seen_by_workers(catalog), "preset": preset}
    fleet = Fleet(
        pool=pool,
        pool_type=pool_type,
        image=image,
        gpus=gpus,
        parameters={name: value for name, value in {**given, "device": device}.items() if value is not None},
        shards_on=shards_on,
        schedule=schedule,
        concurrency=concurrency,
        dead_after=dead_after,
        environment=_environment(env or []),
    )
    console = Console(soft_wrap=True)
    _show(console, url, _register(fleet))
    for line in next_steps(fleet, url):
        console.print(line, markup=False, highlight=False)


def _register(fleet: "Fleet") -> list["Registered"]:
    from prefect.client.orchestration import get_client

    from flows.deployment import register

    quiet_prefect()
    with get_client(sync_client=True) as client:
        return register(fleet, client)


def _seen_by_workers(place: str | None) -> str | None:
    """Return a path or URL as other processes of this machine see it, too: not relative to a folder."""
    from flows.session import shared_library

    return None if place is None else shared_library(place)


def _environment(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise ConfigError(f"--env {name!r}: write NAME=VALUE.")
    return {name: value for name, _, value in pairs}


def _show(console: Console, url: str, registered: list[Any]) -> None:
    table = Table("what", "name", "how", title=f"Registered at {url}", title_justify="left")
    for one in registered:
        table.add_row(one.kind, one.name, one.detail)
    console.print(table)


def next_steps(fleet: "Fleet", url: str) -> list[str]:
    """Return what to do next, as lines to show: how workers of the pool start, and how they get work."""
    if fleet.shards_on is not None:
        run = f"prefect deployment run run-catalog/{fleet.pool} -p catalog=CATALOG.csv -p library=LIBRARY"
    else:
        run = f"avatars run CATALOG.csv --library LIBRARY --pool {fleet.pool}"
    return [f"Next, {_WORKERS[fleet.pool_type](fleet, url)}", "Then, on any machine with this release:", f"  {run}"]


def _process_workers(fleet: "Fleet", url: str) -> str:
    if fleet.shards_on is not None:
        where, start = "on a machine with this release that needs no GPU", f"prefect worker start -p {fleet.pool}"
    else:
        where = "on each machine with this release, one worker for each GPU (k = 0, 1, …; leave it out on a CPU)"
        start = f"CUDA_VISIBLE_DEVICES=k prefect worker start -p {fleet.pool} --limit 1"
    return "\n".join([f"{where}:", f"  export PREFECT_API_URL={url}", f"  {start}"])


def _docker_worker(fleet: "Fleet", url: str) -> str:
    return "\n".join(
        [
            "on each machine with Docker and NVIDIA's container toolkit:",
            '  pip install "avatar-foundry[docker]"',
            f"  export PREFECT_API_URL={url}",
            f"  prefect worker start -p {fleet.pool} --type docker --limit 1",
        ]
    )


def _kubernetes_worker(fleet: "Fleet", url: str) -> str:
    manifest = deployments_folder() / "kubernetes-worker.yaml"
    return "\n".join(
        [
            "one worker for the whole cluster (first put the server's address and the pool into the manifest):",
            f"  kubectl apply -f {manifest}",
        ]
    )


_WORKERS: dict[PoolType, Any] = {
    "process": _process_workers,
    "docker": _docker_worker,
    "kubernetes": _kubernetes_worker,
}
