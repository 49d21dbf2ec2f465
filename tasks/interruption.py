"""SIGTERM, as a machine that is taken back or a worker that is stopped sends it: keep a checkpoint, then go."""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator

logger = logging.getLogger(__name__)

_asked = threading.Event()


def stop_requested() -> bool:
    """Tell whether this process was asked to end."""
    return _asked.is_set()


@contextlib.contextmanager
def ending_well() -> Iterator[None]:
    """For the length of the block, let SIGTERM set `stop_requested` rather than end the process.

    At the block's end the signal is delivered again, to whoever would have had it: Prefect's engine, which marks its
    flow run as crashed, or the operating system. Outside of the main thread, which alone gets signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, _ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
        if _asked.is_set():
            _asked.clear()
            os.kill(os.getpid(), signal.SIGTERM)


def _ask(number: int, frame: object) -> None:
    logger.warning("Asked to end (SIGTERM): stopping after this step")
    _asked.set()
