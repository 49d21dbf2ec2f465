"""Measure what orchestration costs: planning, dispatch, carrying out and planning again, at up to a million rows.

The planner, dispatcher, shards, manifest, store, leases, tasks and Prefect's server are the product's own; only the
stages are simulated, by one small file each, and the workers that the dispatcher hands all shards to, which end them at
once. What a fleet needs for all rows is then projected from these figures, at a duration of the stages that is given.
One table goes to the screen and everything to a JSON file.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from .machine import machine_facts

SUPPORT = Path(__file__).parents[1] / "support"
EXAMPLES = """examples:
  a million rows planned and dispatched, three thousand carried out, one thousand through Prefect's server:
      python -m tests.benchmarks.fleet --rows 1000000 --dispatch --carry 3000 --prefect 1000 --out fleet.json
  whether the command works:
      python -m tests.benchmarks.fleet --rows 2000 --carry 200 --prefect 0
"""
BODIES = [
    f"a {height} {build} {who}"
    for height in ("tall", "short", "very tall", "very short", "average")
    for build in ("fat", "slim", "muscular", "skinny", "strong", "round", "slender", "stocky")
    for who in ("man", "woman", "child", "old man", "old woman", "teenager", "person", "boy", "girl")
]
PEOPLE = ("man", "woman", "boy", "girl", "knight", "doctor", "wizard", "nurse", "pirate", "chef", "firefighter")
COLORS = ("red", "blue", "green", "yellow", "black", "white", "purple", "orange", "pink", "brown", "gray", "beige")
TOPS = ("shirt", "jacket", "t-shirt", "coat", "sweater", "vest", "robe")
BOTTOMS = ("trousers", "jeans", "shorts", "skirt", "leggings")
SHOES = ("boots", "shoes", "sneakers", "sandals")
ACTIONS = (
    "walking", "running", "dancing", "waving", "jumping", "kicking a ball", "sitting down", "boxing", "climbing",
    "throwing", "praying", "eating", "crawling", "bowing",
)  # fmt: skip


@dataclass(frozen=True)
class Measure:
    """One figure."""

    part: str
    name: str
    value: float
    unit: str


def write_catalog(path: Path, rows: int) -> None:
    """Write a catalog with 360 bodies, some hundred motions and nearly as many appearances as rows."""
    draw = random.Random(1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "shape", "appearance", "motion", "seed", "tags"])
        for number in range(rows):
            pick = draw.choice
            look = f"a {pick(PEOPLE)} in a {pick(COLORS)} {pick(TOPS)}, {pick(COLORS)} {pick(BOTTOMS)}"
            look += f" and {pick(COLORS)} {pick(SHOES)}"
            motion = f"{pick(ACTIONS)} then {pick(ACTIONS)}"
            writer.writerow([f"a{number:07d}", pick(BODIES), look, motion, draw.randrange(4), "crowd"])


class Meter:
    """Seconds of wall and of this process's processors, and its peak memory."""

    def __init__(self) -> None:
        from tasks.measuring import reset_peak_memory

        reset_peak_memory()
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def measures(self, part: str, rows: int) -> Iterator[Measure]:
        """Yield what was spent since the beginning."""
        from tasks.measuring import peak_memory_mb

        wall, cpu = time.monotonic() - self._wall, time.process_time() - self._cpu
        yield Measure(part, "wall", wall, "s")
        yield Measure(part, "processor", cpu, "s")
        yield Measure(part, "processor a row", 1000 * cpu / max(rows, 1), "ms")
        yield Measure(part, "peak memory", peak_memory_mb(), "MB")


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def planning(part: str, catalog: Path, library: Path, run_id: str, rows: int, **options: Any) -> list[Measure]:
    """Plan a catalog as `avatars run` does."""
    from avatar_core.catalog import read_catalog
    from flows.options import RunOptions
    from flows.plan import PlanOptions
    from flows.planning import plan_run

    meter = Meter()
    planned = plan_run(
        read_catalog(str(catalog)),
        PlanOptions(preset="draft", catalog=catalog.name),
        RunOptions(**options),
        library=str(library),
        run_id=run_id,
        whole=True,
    )
    counts = planned.run.counts
    return [
        *meter.measures(part, rows),
        Measure(part, "shards", len(planned.run.shards), ""),
        Measure(part, "avatars left", planned.run.avatars, ""),
        Measure(part, "bodies", counts.unique["coarse_shape"], ""),
        Measure(part, "motions", counts.unique["motion"], ""),
        Measure(part, "near duplicates", counts.near_duplicates, ""),
        Measure(part, "plan on disk", folder_bytes(library / "runs" / run_id) / 1e6, "MB"),
        Measure(part, "manifest on disk", folder_bytes(library / "manifest") / 1e6, "MB"),
    ]


def carrying(part: str, library: Path, run_id: str, avatars: int) -> list[Measure]:
    """Carry out as many shards as hold `avatars`, without Prefect."""
    from simulated_stages import SimulatedStages

    from avatar_core.storage.leases import LeaseStore
    from flows.generation import Generation, Tools
    from flows.limits import Limits
    from flows.run_plan import read_run, read_shard, run_folder
    from tasks.work import Place

    run = read_run(str(library), run_id)
    place, cooks, done = Place(run.library, "cpu", run_id), run.cooks(), 0
    meter = Meter()
    with LeaseStore(run.library, owner="benchmark") as leases:
        for shard in range(len(run.shards)):
            if done >= avatars:
                break
            shard_avatars = read_shard(run_folder(run.library, run_id), shard)
            generation = Generation(
                run, shard_avatars, cooks, place, Limits(run.options), Tools(SimulatedStages(), leases)
            )
            generation.prepare()
            done += generation.run().done
    return [*meter.measures(part, done), Measure(part, "avatars", done, "")]


def _compute_simulated() -> Callable[..., dict[str, Any]]:
    from simulated_stages import SimulatedStages

    from tasks.work import Avatar, Place, StageWork

    stages = SimulatedStages()

    def compute(work: StageWork, place: Place, owner: Avatar) -> dict[str, Any]:
        return stages(work.stage, [(work, owner)], place)[0]["ref"]  # type: ignore[no-any-return]

    return compute


@contextlib.contextmanager
def private_server() -> Iterator[Callable[[], float]]:
    """Run a server of one's own; gives a function that returns its database's size, in MB."""
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        database = Path(PREFECT_API_DATABASE_CONNECTION_URL.value().partition("///")[2])
        yield lambda: sum(path.stat().st_size for path in database.parent.glob(database.name + "*")) / 1e6


def through_prefect(part: str, library: Path, run_id: str, avatars: int) -> list[Measure]:
    """Carry out shards as flow runs with one task a stage and micro-batch, on a private server."""
    from unittest import mock

    from flows.run_plan import read_run

    run, done = read_run(str(library), run_id), 0
    with private_server() as megabytes, mock.patch("tasks.batches.compute", _compute_simulated()):
        from flows.shard import generate_shard

        meter, before = Meter(), megabytes()
        for shard in reversed(range(len(run.shards))):  # those that `carrying` leaves alone
            if done >= avatars:
                break
            done += generate_shard(run.library, run_id, shard, "cpu")["done"]
        return [
            *meter.measures(part, done),
            Measure(part, "avatars", done, ""),
            Measure(part, "server's database an avatar", 1000 * (megabytes() - before) / max(done, 1), "kB"),
        ]


def dispatching(part: str, library: Path, run_id: str, window: int = 64) -> list[Measure]:
    """Hand out all shards of a run to workers that end them at once, on a private server."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterStateType, FlowRunFilterTags
    from prefect.client.schemas.filters import FlowRunFilterState as StateFilter
    from prefect.client.schemas.objects import StateType
    from prefect.states import Completed, Running

    from flows.deployment import Fleet, register
    from flows.dispatch import Dispatcher
    from flows.outcome import Outcome, write_outcome
    from flows.run_plan import read_run
    from flows.run_progress import Pool

    run = read_run(str(library), run_id)
    with private_server() as megabytes, get_client(sync_client=True) as client:
        register(Fleet(pool="benchmark"), client)
        waiting = FlowRunFilter(
            tags=FlowRunFilterTags(all_=[run_id]),
            state=StateFilter(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        )
        polls = 0

        def work(seconds: float) -> None:
            nonlocal polls
            polls += 1
            for one in client.read_flow_runs(flow_run_filter=waiting):
                client.set_flow_run_state(one.id, Running(), force=True)
                shard = one.parameters["shard"]
                write_outcome(run.library, run_id, shard, Outcome(done=run.shards[shard]))
                client.set_flow_run_state(one.id, Completed(), force=True)

        meter, before = Meter(), megabytes()
        outcome = Dispatcher(run, Pool("benchmark", window=window), client, wait=work).carry_out()
        assert outcome.done == run.avatars, outcome
        shards = len(run.shards)
        return [
            *meter.measures(part, run.avatars),
            Measure(part, "shards", shards, ""),
            Measure(part, "window", window, "shards"),
            Measure(part, "polls", polls, ""),
            Measure(part, "server's database a shard", 1000 * (megabytes() - before) / max(shards, 1), "kB"),
        ]


def projected(measures: Sequence[Measure], options: argparse.Namespace) -> Iterator[Measure]:
    """Say what a fleet would need for all rows, from what was measured."""
    found = {(one.part, one.name): one.value for one in measures}
    each = found.get(("carry out through Prefect", "wall")) or found.get(("carry out", "wall"))
    if each is None:
        return
    part = "projection"
    count = found.get(("carry out through Prefect", "avatars")) or found[("carry out", "avatars")]
    seconds = options.seconds + each / count
    yield Measure(part, "stages of an avatar, assumed", options.seconds, "s")
    yield Measure(part, "orchestration of an avatar", each / count, "s")
    for workers in options.workers:
        hours = (found["plan", "wall"] + options.rows * seconds / workers) / 3600
        yield Measure(part, f"all rows by {workers} workers", hours, "h")
    if ("carry out through Prefect", "server's database an avatar") in found:
        size = found["carry out through Prefect", "server's database an avatar"] * options.rows / 1e6
        yield Measure(part, "server's database", size, "GB")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks.fleet", description=__doc__, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the catalog")
    parser.add_argument("--carry", type=int, default=2000, help="avatars carried out without Prefect")
    parser.add_argument("--prefect", type=int, default=1000, help="avatars carried out through Prefect")
    parser.add_argument("--seconds", type=float, default=18.0, help="of all stages of an avatar, for the projection")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 16, 64, 256], help="for the projection")
    parser.add_argument("--dispatch", action="store_true", help="hand all shards to workers that end them at once")
    parser.add_argument("--again", type=int, default=10_000, help="rows of a finished catalog that is run again")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(SUPPORT))
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    with tempfile.TemporaryDirectory(prefix="fleet-", dir=options.folder) as name:
        found = list(_measure(Path(name), options))
    found += projected(found, options)
    _show(found)
    if options.out is not None:
        machine, measures = machine_facts(torch.device("cpu")), [asdict(one) for one in found]
        content = {"machine": machine, "rows": options.rows, "measures": measures}
        options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


def _measure(folder: Path, options: argparse.Namespace) -> Iterator[Measure]:
    from flows.session import compact_when_due

    catalog, library = folder / "crowd.csv", folder / "library"
    write_catalog(catalog, options.rows)
    yield from _said(planning("plan", catalog, library, "run-1", options.rows, micro_batch=32))
    yield from _said(planning("plan again, nothing done", catalog, library, "run-2", options.rows, micro_batch=32))
    if options.carry:
        yield from _said(carrying("carry out", library, "run-2", options.carry))
    if options.prefect:
        yield from _said(through_prefect("carry out through Prefect", library, "run-2", options.prefect))
    if options.dispatch:
        yield from _said(dispatching("dispatch", library, "run-1"))
    if options.again:
        small, finished = folder / "small.csv", folder / "finished"
        write_catalog(small, options.again)
        planning("", small, finished, "run-1", options.again, micro_batch=32)
        yield from _said(carrying("carry out all of a small catalog", finished, "run-1", options.again))
        compact_when_due(str(finished))  # as every run does in the end
        yield from _said(_run_again(small, finished, options.again))


def _run_again(catalog: Path, library: Path, rows: int) -> list[Measure]:
    """Prepare a run of a finished catalog as `avatars run` does: it finds nothing to compute."""
    from flows.session import Request, prepare

    meter = Meter()
    session = prepare(Request(library=str(library), catalog=str(catalog), preset="draft", device="cpu"), "run-9")
    part = "run again, all done"
    return [*meter.measures(part, rows), Measure(part, "results left", session.left.total(), "")]


def _said(measures: list[Measure]) -> list[Measure]:
    print(f"{measures[0].part}: {measures[0].value:.1f} s", file=sys.stderr, flush=True)
    return measures


def _show(measures: Sequence[Measure]) -> None:
    table = Table("part", "what", "value", "unit")
    for one in measures:
        table.add_row(one.part, one.name, f"{one.value:,.2f}" if one.value < 1000 else f"{one.value:,.0f}", one.unit)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
