"""What became of a shard or a run: counts, failures by avatar, cost; small enough to lie in the library as JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field

from avatar_core.documents import read_json
from avatar_core.errors import ArtifactError
from flows.run_plan import run_folder
from tasks.failures import Failure

KEPT_FAILURES = 1000
"""How many failed avatars an outcome names; the manifest has them all."""


@dataclass
class Outcome:
    """Counts of avatars, and why some are not done."""

    done: int = 0
    failed: int = 0
    failures: dict[str, list[Failure]] = field(default_factory=dict)
    """By avatar id: the first ones."""
    computed: int = 0
    """How many stage results were computed."""
    seconds: float = 0.0
    """Computing time of the stages."""
    stage_seconds: dict[str, float] = field(default_factory=dict)
    """The same by stage."""
    retried: int = 0
    """Avatars that were made again with another seed because their report fell below the bar."""
    below_bar: list[str] = field(default_factory=list)
    """Ids of avatars whose best attempt is below the bar still: the first ones."""
    stopped: str = ""
    """Why the work ended before everything was tried; empty: it did not."""

    def fail(self, avatar_id: str, failures: list[Failure]) -> None:
        """Note an avatar that cannot be made."""
        self.failed += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures[avatar_id] = failures

    def count(self, stage: str, seconds: float) -> None:
        """Note a result of a stage that was computed."""
        self.computed += 1
        self.seconds += seconds
        self.stage_seconds[stage] = self.stage_seconds.get(stage, 0.0) + seconds

    def add(self, other: Outcome) -> None:
        """Count another outcome in."""
        self.done += other.done
        self.failed += other.failed
        self.computed += other.computed
        self.seconds += other.seconds
        for stage, seconds in other.stage_seconds.items():
            self.stage_seconds[stage] = self.stage_seconds.get(stage, 0.0) + seconds
        self.retried += other.retried
        for avatar_id, failures in other.failures.items():
            if len(self.failures) < KEPT_FAILURES:
                self.failures[avatar_id] = failures
        self.below_bar = (self.below_bar + other.below_bar)[:KEPT_FAILURES]
        self.stopped = self.stopped or other.stopped

    def most_frequent_failure(self) -> str:
        """Return the kind of failure that most avatars have, with an example."""
        causes = [failures[0] for failures in self.failures.values() if failures]
        if not causes:
            return ""
        kind, count = Counter((cause.stage, cause.kind) for cause in causes).most_common(1)[0]
        example = next(cause for cause in causes if (cause.stage, cause.kind) == kind)
        return f"{count} times {kind[0]}: {kind[1]}, such as: {example.message}"

    def encode(self) -> bytes:
        """Return UTF-8 JSON."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def decode(cls, data: bytes) -> Outcome:
        """Return what `encode` wrote; raises ArtifactError for anything else."""
        try:
            content = read_json(data)
            failures = {key: [Failure(**one) for one in value] for key, value in content.pop("failures").items()}
            return cls(**content, failures=failures)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"a shard's outcome is damaged ({error}); delete its file and run again") from error


def write_outcome(library: str, run_id: str, shard: int, outcome: Outcome) -> None:
    """Keep the outcome of a shard in its run's folder."""
    run_folder(library, run_id).write(_outcome_name(shard), outcome.encode())


def read_outcome(library: str, run_id: str, shard: int) -> Outcome:
    """Return the outcome of a shard that has ended; raises FileNotFoundError where it has not."""
    return Outcome.decode(run_folder(library, run_id).read(_outcome_name(shard)))


def has_outcome(library: str, run_id: str, shard: int) -> bool:
    """Tell whether a shard has ended."""
    return run_folder(library, run_id).size(_outcome_name(shard)) is not None


def read_outcomes(library: str, run_id: str) -> dict[int, Outcome]:
    """Return the outcomes of a run's shards that have ended, by number."""
    names = sorted(run_folder(library, run_id).files("outcomes"))
    numbers = [int(name.removesuffix(".json")) for name in names if name.endswith(".json")]
    return {number: read_outcome(library, run_id, number) for number in numbers}


def _outcome_name(shard: int) -> str:
    return f"outcomes/{shard:05d}.json"
