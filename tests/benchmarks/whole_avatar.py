"""Seconds of a whole avatar, stage by stage, as the tasks compute it, without the orchestrator about them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

from avatar_core.catalog import read_catalog
from avatar_core.storage import ArtifactRef, ArtifactStore
from flows.plan import PlanOptions, plan_catalog
from tasks.models import load_models
from tasks.publishing import manifest_writer
from tasks.stages import TASKS
from tasks.work import STAGES, Place

from .figures import Figure
from .workbench import Say

CATALOG = "demo.csv"
"""Its first row is made."""


def measure(presets: Sequence[str], device: str, say: Say) -> list[Figure]:
    """Return wall seconds and peak memory of each stage by preset, in a fresh library, with models loaded.

    A tiny avatar is made first, which does not count: it compiles and loads what any later avatar finds.
    """
    total = (1 + len(presets)) * len(STAGES)
    _make("tiny", device, lambda done, note: say(done, total, f"warming up: {note}"))
    figures: list[Figure] = []
    for index, preset in enumerate(presets):
        begun = (1 + index) * len(STAGES)
        metas = _make(preset, device, lambda done, note, begun=begun: say(begun + done, total, note))
        seconds = {stage: float(meta["seconds"]) for stage, meta in metas.items()}
        figures += [Figure("whole avatar", stage, value, "s", preset) for stage, value in seconds.items()]
        figures.append(Figure("whole avatar", "all six stages", sum(seconds.values()), "s", preset))
        peak = max(float(meta["peak_mb"]) for meta in metas.values())
        figures.append(Figure("whole avatar", "largest peak memory of a stage", peak, "MB", preset))
    return figures


def _make(preset: str, device: str, say: Callable[[int, str], None]) -> dict[str, dict[str, float]]:
    """Return what the store says of each stage of one new avatar: `seconds` and `peak_mb`."""
    load_models("anny", "bodyclip", device)
    rows = read_catalog(str(files("configs") / "catalogs" / CATALOG))
    plan = plan_catalog(rows, PlanOptions(preset=preset), limit=1)
    avatar = plan.avatars[0]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        library = str(Path(folder) / "library")
        place = Place(library=library, device=device, run_id="benchmark")
        store = ArtifactStore(library)
        metas = {}
        with manifest_writer(library, place.run_id):
            for done, stage in enumerate(STAGES):
                say(done, f"{preset}: {stage}")
                reference = TASKS[stage].fn(plan.works[avatar.keys[stage]], place, avatar)
                metas[stage] = store.read_meta(ArtifactRef.from_json(reference))
        return metas
