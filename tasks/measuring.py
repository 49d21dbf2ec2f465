"""What a piece of work cost: wall seconds and the peak of this process's memory."""

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


_highest_mb = 0.0


def reset_peak_memory() -> None:
    """Start a new peak of resident memory, where the kernel offers that (Linux)."""
    global _highest_mb
    _highest_mb = max(_highest_mb, peak_memory_mb())
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:
        return  # the peak stays that of the process, which is a bound from above


def peak_memory_mb() -> float:
    """Return the peak of resident memory in MB: since the last reset on Linux, else since the process began."""
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def lifetime_peak_mb() -> float:
    """Return the peak of resident memory in MB since the process began."""
    return max(_highest_mb, peak_memory_mb())


@dataclass
class Cost:
    """Seconds and peak memory of a `with` block."""

    seconds: float = 0.0
    peak_mb: float = 0.0
    _started: float = 0.0

    def __enter__(self) -> "Cost":
        reset_peak_memory()
        self._started = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.seconds = time.monotonic() - self._started
        self.peak_mb = peak_memory_mb()
