"""The quality gate: whether an avatar's report reaches the bar, and which of several attempts is the best."""

import json
import math
from dataclasses import dataclass, field, replace

from avatar_core.errors import ConfigError
from avatar_core.storage import ArtifactRef, ArtifactStore
from flows.options import Gate
from flows.recipe import Cook
from tasks.work import Avatar

MAX_SEED = 2**31 - 1


@dataclass
class Attempts:
    """The attempts at one avatar so far, best first."""

    made: list[tuple[float, Avatar]] = field(default_factory=list)
    tried: int = 0
    """How many attempts ended, those included that failed."""

    def add(self, value: float, avatar: Avatar) -> None:
        """Note a finished attempt; of equals the earlier one is the better."""
        self.made.append((value, avatar))
        self.made.sort(key=lambda one: -one[0])

    @property
    def best(self) -> tuple[float, Avatar]:
        """The best attempt's value and avatar."""
        return self.made[0]


def measured(store: ArtifactStore, gate: Gate, texturing: ArtifactRef, export: ArtifactRef) -> float:
    """Return what the gate compares; raises ConfigError where the report has no such number."""
    if gate.measure == "score":
        value = store.read_meta(texturing).get("score")
    else:
        value = json.loads((store.fetch(export) / "report.json").read_bytes())
        for name in gate.measure.split("."):
            value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, bool):
        value = float(value)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(
            f"gate.measure: reports have no number at {gate.measure!r}; use `score` or a path such as "
            "mesh.watertight, as `avatars show ID --json` lists them under report."
        )
    return float(value)


def next_seed(seed: int) -> int:
    """Return the seed that is tried after `seed`."""
    return seed + 1 if seed < MAX_SEED else 0


def with_next_seed(avatar: Avatar, cook: Cook) -> Avatar:
    """Return the same avatar to be made from the next seed."""
    seed = next_seed(avatar.seed)
    texts = {"shape": avatar.shape, "appearance": avatar.appearance, "motion": avatar.motion}
    return replace(avatar, seed=seed, keys=cook.keys(texts, seed))
