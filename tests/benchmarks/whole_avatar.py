"""Seconds of a whole avatar, stage by stage, as the tasks compute it, without the orchestrator about them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from avatar_core.catalog import CatalogRow, read_catalog
from avatar_core.storage import ArtifactRef, ArtifactStore
from flows.plan import Planner, PlanOptions
from tasks.models import load_models
from tasks.publishing import manifest_writer
from tasks.stages import TASKS
from tasks.work import STAGES, Place

from .figures import Figure
from .workbench import Say, Workbench

CATALOG = "demo.csv"
"""Its first row is made."""


def measure(presets: Sequence[str], bench: Workbench, say: Say, stages: Sequence[str] = STAGES) -> list[Figure]:
    """Return seconds and peak memory of each stage by preset, in a fresh library, with models loaded.

    A tiny avatar is made first, which does not count: it compiles and loads what any later avatar finds. Stages are
    given in seconds on the wall, as their artifacts say, and in those of the bench's clock.
    stages: to compute, each after those that it reads.
    """
    total = (1 + len(presets)) * len(stages)
    figures: list[Figure] = []
    for index, preset in enumerate(("tiny", *presets)):
        warming = index == 0
        what = "warming up" if warming else preset
        costs = []
        for done, cost in enumerate(make(preset, bench, stages)):
            costs.append(cost)
            say(index * len(stages) + done + 1, total, f"{what}: {cost.stage} is done")
        figures += [] if warming else _figures(preset, costs)
    return figures


@dataclass(frozen=True)
class StageCost:
    """What one stage took."""

    stage: str
    wall: float
    """Seconds that its artifact says it took."""
    clock: float
    """Seconds of the bench's clock, with the reading of its inputs and the writing of its result."""
    peak_mb: float
    """Largest resident memory."""


def _figures(preset: str, costs: Sequence[StageCost]) -> list[Figure]:
    def figure(name: str, value: float, unit: str = "s") -> Figure:
        return Figure("whole avatar", name, value, unit, preset)

    return [
        *(figure(cost.stage, cost.wall) for cost in costs),
        figure("all stages, on the wall", sum(cost.wall for cost in costs)),
        figure("all stages, by the clock of the other parts", sum(cost.clock for cost in costs)),
        figure("largest peak memory of a stage", max(cost.peak_mb for cost in costs), "MB"),
    ]


def make(preset: str, bench: Workbench, stages: Sequence[str]) -> Iterator[StageCost]:
    """Make one new avatar; yield what each stage took when it is done."""
    device = str(bench.context.device)
    load_models("anny", "bodyclip", device)
    rows = read_catalog(str(files("configs") / "catalogs" / CATALOG))
    planner = Planner(PlanOptions(preset=preset))
    avatar = planner.avatar(next(row for row in rows if isinstance(row, CatalogRow)))
    works = planner.cooks[avatar.recipe].works(avatar)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        place = Place(library=str(Path(folder) / "library"), device=device, run_id="benchmark")
        store = ArtifactStore(place.library)
        with manifest_writer(place.library, place.run_id):
            for stage in stages:
                began = bench.clock()
                reference = TASKS[stage].fn(works[stage], place, avatar)
                taken = bench.clock() - began
                meta = store.read_meta(ArtifactRef.from_json(reference))
                yield StageCost(stage, float(meta["seconds"]), taken, float(meta["peak_mb"]))
