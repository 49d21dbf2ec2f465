"""How an avatar came about, from the manifest: its stages, their keys and attempts, and what reviewers said."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from avatar_core.manifest import read_history
from avatar_core.manifest.schema import CATALOG_STAGE, FINISHED_STATUSES, REVIEW_STAGE
from tasks.work import STAGES, UPSTREAM

Record = dict[str, Any]
"""A record of the manifest by column."""


@dataclass(frozen=True)
class StageLine:
    """One stage of an avatar."""

    stage: str
    reads: tuple[str, ...]
    """The stages whose results it reads."""
    record: Record | None
    """Its latest record, None before the stage has one."""

    @property
    def mark(self) -> str:
        """How it stands: done, failed, or open."""
        if self.record is None:
            return "open"
        if self.record["status"] in FINISHED_STATUSES:
            return "done"
        return "open" if self.record["status"] in ("running", "skipped") else "failed"


@dataclass(frozen=True)
class Lineage:
    """What the manifest knows of an avatar."""

    row: Record | None
    """The latest record of its row in a catalog."""
    stages: tuple[StageLine, ...]
    reviews: tuple[Record, ...]
    """The latest first."""
    earlier: tuple[Record, ...]
    """Records of stages that later ones replaced, the latest first."""

    @property
    def trouble(self) -> tuple[Record, ...]:
        """The latest records of stages that failed."""
        return tuple(line.record for line in self.stages if line.mark == "failed" and line.record is not None)


def read_lineage(library: str, avatar_id: str) -> Lineage:
    """Return what the manifest has of an avatar; raises ManifestError."""
    records = read_history(library, avatar_id).to_pylist()
    latest = {record["stage"]: record for record in records}
    replaced = [one for one in records if one["stage"] in STAGES and one is not latest[one["stage"]]]
    return Lineage(
        row=latest.get(CATALOG_STAGE),
        stages=tuple(StageLine(stage, UPSTREAM[stage], latest.get(stage)) for stage in STAGES),
        reviews=_newest_first([one for one in records if one["stage"] == REVIEW_STAGE]),
        earlier=_newest_first(replaced),
    )


def _newest_first(records: Sequence[Record]) -> tuple[Record, ...]:
    return tuple(reversed(records))
