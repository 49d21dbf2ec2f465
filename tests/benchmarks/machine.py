"""What figures were measured on, and a clock that waits for it."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from avatar_core.export.provenance import versions

ROOT = Path(__file__).parents[2]


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Return what decides how fast code runs here, and which code it was."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": _load(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "system": f"{platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "versions": versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
    }


CLOCKS: Mapping[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""Seconds that pass, and seconds that this process computes: what other programs on the machine hardly disturb."""


def clock_of(device: torch.device, kind: str = "wall") -> Callable[[], float]:
    """Return a clock in seconds, of CLOCKS, that first waits for the work queued on `device`."""
    seconds = CLOCKS[kind]
    if device.type != "cuda":
        return seconds

    def clock() -> float:
        torch.cuda.synchronize(device)
        return seconds()

    return clock


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _load() -> float | None:
    """Return the mean number of processes that wanted a core in the last minute: other work disturbs timings."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _commit() -> str | None:
    """Return the commit of the code, with a plus where files differ from it; None outside of a repository."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
