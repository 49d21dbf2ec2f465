"""Stages that take no time: what stands for the models where planning, manifest, store and dispatch are tested.

Everything around them is the product's own: results go through the real store and the real manifest.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from avatar_core.errors import DivergenceError
from avatar_core.storage import ArtifactStore
from flows.options import RunOptions
from flows.plan import PlanOptions
from flows.planning import Planned, plan_run
from tasks.failures import Failure
from tasks.publishing import publish_result
from tasks.work import Avatar, Place, StageWork

Job = tuple[StageWork, Avatar]


@dataclass
class SimulatedStages:
    """Computes a stage by writing a small file; counts what it was asked for."""

    fails: Collection[tuple[str, str]] = ()
    """(stage, avatar id) that raise."""
    score: Callable[[StageWork], float] = lambda work: 0.3
    before: Callable[[str, StageWork, Avatar], None] = lambda stage, work, owner: None
    """Called before each result."""
    made_at: str | None = None
    """When the results say that they were made."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """(stage, avatar id), in order."""

    def __call__(self, stage: str, jobs: list[Job], place: Place) -> list[dict[str, Any]]:
        """Compute one stage of several avatars, as `tasks.batches.run_batch` does."""
        return [self._one(stage, work, place, owner) for work, owner in jobs]

    def _one(self, stage: str, work: StageWork, place: Place, owner: Avatar) -> dict[str, Any]:
        self.before(stage, work, owner)
        self.calls.append((stage, owner.avatar_id))
        if (stage, owner.avatar_id) in self.fails:
            return {"failure": asdict(Failure.of(stage, DivergenceError(f"{owner.avatar_id} diverged")))}
        meta = {"seconds": 1.5, "peak_mb": 100.0, "device": place.device, "score": self.score(work)}
        meta |= {"made_at": self.made_at} if self.made_at else {}
        ref = ArtifactStore(place.library).publish(stage, work.key, lambda folder: _write(folder, work), meta)
        publish_result(place, work, owner, ref, meta, computed=True)
        return {"ref": ref.to_json()}


def _write(folder: Path, work: StageWork) -> None:
    name = "report.json" if work.stage == "export" else "result.json"
    (folder / name).write_text(json.dumps({"key": work.key, "seed": work.seed, "mesh": {"watertight": True}}))


def catalog_text(rows: Collection[Mapping[str, Any]]) -> str:
    """Return a catalog with the columns that the rows have."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(names), *(",".join(f'"{row.get(name, "")}"' for name in names) for row in rows)]
    return "\n".join(lines) + "\n"


def plan_text(text: str, library: str, run_id: str = "run-1", **options: Any) -> Planned:
    """Plan a catalog given as text with the tiny preset and the given run options."""
    import io

    from avatar_core.catalog import read_catalog

    rows = read_catalog(io.BytesIO(text.encode()))
    return plan_run(
        rows,
        PlanOptions(preset="tiny", catalog="people.csv"),
        RunOptions(**options),
        library=library,
        run_id=run_id,
        whole=True,
    )
