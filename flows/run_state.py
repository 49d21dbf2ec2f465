"""How far runs are, from the files in their folders: when they began, whether they have ended, who works on them.

    runs/<run id>/begun.json     when, by which process, how many avatars have anything left to compute
    runs/<run id>/ended.json     when, and what became of it

A run that was killed has no end; the process that began it tells whether it still is at work.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from avatar_core.documents import read_json
from avatar_core.errors import ConfigError
from avatar_core.storage import open_location
from avatar_core.storage.processes import Process, is_dead, this_process
from flows.limits import asked_to_stop
from flows.outcome import Outcome
from flows.run_plan import RUNS_FOLDER, RunPlan, read_run, run_folder

BEGUN_NAME = "begun.json"
ENDED_NAME = "ended.json"


@dataclass(frozen=True)
class RunState:
    """One run of a library, at one moment."""

    plan: RunPlan
    begun_at: datetime | None
    """None for a run that was planned and not begun."""
    avatars: int
    """How many avatars it set out to make."""
    process: Process | None
    """The process that carries it out or, on a work pool, hands out its shards."""
    shards_ended: int
    ended_at: datetime | None
    stopped: str
    """Why it ended early, or what it was asked to stop for; empty: neither."""

    @property
    def going(self) -> bool:
        """Whether it is at work, as far as can be told from this machine."""
        return self.ended_at is None and self.process is not None and not is_dead(self.process)


def note_begin(run: RunPlan, avatars: int) -> None:
    """Note that this process begins a run that has `avatars` to make."""
    _write(run, BEGUN_NAME, {"at": _now(), "avatars": avatars, "process": asdict(this_process())})


def note_end(run: RunPlan, outcome: Outcome) -> None:
    """Note that a run has ended: everything was tried, or it stopped."""
    facts = {name: getattr(outcome, name) for name in ("done", "failed", "computed", "seconds", "stopped")}
    _write(run, ENDED_NAME, {"at": _now(), **facts})


def run_ids(library: str) -> Iterator[str]:
    """Yield the ids of the runs that were planned in a library, the newest first."""
    folder = open_location(library).child(RUNS_FOLDER)
    for name in reversed(folder.folders()):
        if folder.size(f"{name}/plan.json") is not None:
            yield name


def newest_run(library: str) -> RunState | None:
    """Return the run that was planned last, or None where none was."""
    for name in run_ids(library):
        return read_state(library, name)
    return None


def newest_unended(library: str) -> RunState | None:
    """Return the newest run that has begun and not ended, at work or not; None where all have ended."""
    for name in run_ids(library):
        state = read_state(library, name)
        if state.begun_at is not None and state.ended_at is None:
            return state
    return None


def read_state(library: str, run_id: str) -> RunState:
    """Return how far a run is; raises ConfigError if there is no such run, or its files cannot be used."""
    plan = read_run(library, run_id)
    begun, ended = _read(plan, BEGUN_NAME), _read(plan, ENDED_NAME)
    try:
        return RunState(
            plan=plan,
            begun_at=datetime.fromisoformat(begun["at"]) if begun else None,
            avatars=begun["avatars"] if begun else plan.avatars,
            process=Process(**begun["process"]) if begun else None,
            shards_ended=len(run_folder(library, run_id).files("outcomes")),
            ended_at=datetime.fromisoformat(ended["at"]) if ended else None,
            stopped=ended["stopped"] if ended else asked_to_stop(library, run_id),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{run_folder(library, run_id).url}: {BEGUN_NAME} or {ENDED_NAME} is damaged ({error}): delete them. "
            "They only say how far the run is."
        ) from error


def _write(run: RunPlan, name: str, content: Mapping[str, Any]) -> None:
    run_folder(run.library, run.run_id).write(name, json.dumps(content, indent=1).encode())


def _read(run: RunPlan, name: str) -> dict[str, Any] | None:
    folder = run_folder(run.library, run.run_id)
    try:
        content = read_json(folder.read(name))
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
        return content
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ConfigError(
            f"{folder.url}/{name} is damaged ({error}): delete it, it only says how far the run is."
        ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat()
