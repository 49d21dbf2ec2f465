"""Records of a large run that never took place, as its workers would have written them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from avatar_core.errors import DivergenceError
from avatar_core.manifest import ManifestRecord, ManifestWriter
from avatar_core.storage import ArtifactRef
from tasks.failures import Failure
from tasks.work import STAGES

SHARD = 1000
"""Avatars that one worker makes together."""

_SECONDS = dict(zip(STAGES, (8.0, 2.0, 5.0, 20.0, 240.0, 4.0)))
_COLOURS = ("red", "navy blue", "olive", "grey", "white", "black", "mustard", "teal")
_CLOTHES = ("shirt and jeans", "suit and tie", "hoodie and shorts", "dress with a belt", "coat and boots")
_MOVES = ("walks slowly", "runs", "waves with both arms", "jumps in place", "dances a waltz", "sits down")
_FAILED = 0.02
_SHARED = 0.3


@dataclass(frozen=True)
class Synthetic:
    """A run of so many avatars; equal seeds give equal records."""

    avatars: int
    seed: int = 0
    random_ids: bool = False
    """Whether ids say nothing about the order in which avatars are made: the worst case for files sorted by id."""

    def write(self, library: str) -> int:
        """Write the records of all shards to a manifest; return how many there are."""
        count = 0
        for shard in range(-(-self.avatars // SHARD)):
            with ManifestWriter(library, f"20260102-030405-{shard % 64:06x}") as writer:
                for record in self.records(shard):
                    writer.append(record)
                    count += 1
        return count

    def records(self, shard: int) -> Iterator[ManifestRecord]:
        """Yield the records of a shard's avatars: the catalog's, then each stage's."""
        numbers = range(shard * SHARD, min((shard + 1) * SHARD, self.avatars))
        generator = np.random.default_rng((self.seed, shard))
        rows = [self._row(number, generator) for number in numbers]
        yield from (ManifestRecord(stage="catalog", status="accepted", **row) for row in rows)
        broken: set[str] = set()
        for stage in STAGES:
            for row in rows:
                record = self._of_stage(stage, row, generator, broken)
                yield record

    def avatar_id(self, number: int) -> str:
        """Return the id of an avatar."""
        prefix = f"{number * 2654435761 % 2**32:08x}" if self.random_ids else "walker"
        return f"{prefix}-{number:07d}"

    def _row(self, number: int, generator: np.random.Generator) -> dict[str, object]:
        colour, clothes, move = (str(generator.choice(words)) for words in (_COLOURS, _CLOTHES, _MOVES))
        return {
            "avatar_id": self.avatar_id(number),
            "catalog": "people.csv",
            "line": number + 2,
            "seed": int(generator.integers(2**31)),
            "shape": "a tall and slim person" if generator.random() < 0.5 else "a short and heavy person",
            "appearance": f"a person in a {colour} {clothes}, number {number % 5000}",
            "motion": f"a person {move}",
            "preset": "standard",
            "body": "anny",
            "tags": ("crowd",),
        }

    def _of_stage(
        self, stage: str, row: dict[str, object], generator: np.random.Generator, broken: set[str]
    ) -> ManifestRecord:
        place = {"device": f"cuda:{row['line'] % 8}", "host": f"gpu-{row['line'] % 16:02d}"}
        key, luck = generator.bytes(16).hex(), generator.random()
        if row["avatar_id"] in broken:
            failure = Failure("texturing", "DivergenceError", "", "").downstream(stage)
        elif stage in ("texturing", "motion") and luck < _FAILED:
            broken.add(str(row["avatar_id"]))
            failure = Failure.of(stage, DivergenceError(f"the loss of step {int(luck * 1e4)} is not finite"))
        else:
            ref = ArtifactRef(stage, key, f"store/{stage}/{key}", generator.bytes(32).hex(), 40_000 + int(luck * 1e6))
            if stage in ("coarse_shape", "candidate_poses") and luck < _SHARED:
                return ManifestRecord.of_artifact(status="cached", ref=ref, **row)  # type: ignore[arg-type]
            costs = {"seconds": round(_SECONDS[stage] * (1 + luck), 3), "peak_mb": round(2000 + 500 * luck, 1)}
            return ManifestRecord.of_artifact(status="done", ref=ref, score=luck, attempt=1, **costs, **place, **row)  # type: ignore[arg-type]
        return ManifestRecord(
            stage=stage,
            status="skipped" if failure.skipped else "failed",
            key=key,
            error_kind=failure.kind,
            error_message=failure.message,
            remedy=failure.remedy,
            attempt=None if failure.skipped else 1,
            **place,
            **row,  # type: ignore[arg-type]
        )
