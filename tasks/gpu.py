"""GPU slots: how many stages may use one CUDA device of this machine at a time, across processes."""

import contextlib
import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from avatar_core.errors import ConfigError

logger = logging.getLogger(__name__)

SLOTS_VARIABLE = "AVATARS_GPU_SLOTS"
_POLL_SECONDS = 0.5


def slot_count() -> int:
    """Return how many stages may share a device (AVATARS_GPU_SLOTS, default 1); raises ConfigError."""
    text = os.environ.get(SLOTS_VARIABLE, "1")
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{SLOTS_VARIABLE} is {text!r}; give a whole number of at least 1, or unset it.")
    return int(text)


@contextlib.contextmanager
def gpu_slot(device: str) -> Iterator[None]:
    """Hold one slot of `device` for the length of the block; wait while all are taken. Nothing on a CPU.

    A slot is a lock on a file, so the operating system frees it when its holder dies.
    """
    if not device.startswith("cuda"):
        yield
        return
    handle = _acquire(device.replace(":", "-"), slot_count())
    try:
        yield
    finally:
        os.close(handle)


def _acquire(device: str, slots: int) -> int:
    folder = Path(tempfile.gettempdir()) / f"avatar-foundry-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    said = False
    while True:
        for slot in range(slots):
            handle = os.open(folder / f"{device}.{slot}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                continue
            return handle
        if not said:
            logger.info("All %d slots of %s are taken by other processes; waiting for one.", slots, device)
            said = True
        time.sleep(_POLL_SECONDS)
