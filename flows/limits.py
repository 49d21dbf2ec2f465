"""When a run stops before its end: its budget is spent, too much fails, or somebody asked it to."""

import json
from dataclasses import dataclass, field

from avatar_core.documents import read_json
from flows.options import RunOptions
from flows.outcome import Outcome
from flows.run_plan import run_folder

STOP_NAME = "stop.json"


@dataclass
class Limits:
    """Watches over a run's work in this process; shared by its shards."""

    options: RunOptions
    spent: Outcome = field(default_factory=Outcome)
    """What the run's finished shards add up to, here or elsewhere."""

    def reason_to_stop(self, now: Outcome) -> str:
        """Return why to stop, given what the shard at hand has done so far beside `spent`; empty: go on."""
        options = self.options
        made = self.spent.done + now.done
        if options.max_avatars is not None and made >= options.max_avatars:
            return f"{made} avatars are done, which is what the run may make (max_avatars)"
        hours = (self.spent.seconds + now.seconds) / 3600
        if options.max_gpu_hours is not None and hours >= options.max_gpu_hours:
            return f"{hours:.2f} hours of computing are spent of {options.max_gpu_hours:g} (max_gpu_hours)"
        failed = self.spent.failed + now.failed
        tried = made + failed
        if tried >= options.failure_minimum and failed > options.failure_fraction * tried:
            worst = Outcome(failures={**self.spent.failures, **now.failures}).most_frequent_failure()
            return f"{failed} of {tried} avatars failed, more than the run puts up with (failure_fraction); {worst}"
        return ""


def ask_to_stop(library: str, run_id: str, reason: str) -> None:
    """Ask every process that works on a run to stop after what it has in hand."""
    run_folder(library, run_id).write(STOP_NAME, json.dumps({"reason": reason}).encode())


def asked_to_stop(library: str, run_id: str) -> str:
    """Return why a run was asked to stop, or an empty text."""
    try:
        return str(read_json(run_folder(library, run_id).read(STOP_NAME))["reason"])
    except (ValueError, KeyError, TypeError):
        return "somebody asked, in words that cannot be read"
    except FileNotFoundError:
        return ""
