"""Which process is meant, on which machine, and whether it is provably dead."""

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process, told apart from later ones with the same id, and from those of other machines and containers."""

    host: str
    boot: str
    """Boot of the host and namespace of its process ids; empty where the system does not tell."""
    pid: int
    started: str
    """When it started, in ticks since the boot; empty where the system does not tell."""


def this_process() -> Process:
    """Return the process that calls."""
    return Process(platform.node(), _boot(), os.getpid(), _started(os.getpid()) or "")


def is_dead(process: Process) -> bool:
    """Return whether `process` is of this machine and boot and has ended; False where that cannot be proven."""
    if not process.boot or (process.host, process.boot) != (platform.node(), _boot()):
        return False
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it lives, and belongs to another user
        return False
    started = _started(process.pid)
    # No start: a zombie, which works no more. Another start: a later process with the same id.
    return started is None or started != process.started


@cache
def _boot() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # Containers share the boot of their host, and may share its name, but number their processes apart.
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """Return the start of a process, None if it is a zombie or gone; "" where the system does not tell."""
    if not Path("/proc/self/stat").exists():
        return ""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name of the command comes first, in brackets, and may hold anything.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]
