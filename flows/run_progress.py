"""How a dispatched run is placed and how far it is: plain facts, which need no Prefect."""

from collections.abc import Callable
from dataclasses import dataclass, field

from flows.outcome import Outcome


@dataclass(frozen=True)
class Pool:
    """Where shards are carried out."""

    name: str
    queue: str | None = None
    """Work queue of the pool: urgent, scheduled or backfill; None: the deployment's own."""
    window: int = 8
    """How many shards are submitted and not ended at a time: twice the pool's devices keeps all of them at work."""
    device: str = "auto"


@dataclass
class RunProgress:
    """How far a dispatched run is."""

    total: Outcome = field(default_factory=Outcome)
    waiting: int = 0
    submitted: int = 0
    running: int = 0
    ended: int = 0
    lost: list[int] = field(default_factory=list)
    """Shards that were given up."""


OnProgress = Callable[[RunProgress], None]
