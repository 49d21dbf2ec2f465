"""Progress of stages: what a task says while it runs, and where that goes."""

import logging
import time
from collections.abc import Sequence
from typing import Protocol

from tasks.work import Avatar, StageWork

logger = logging.getLogger(__name__)


class Reporter(Protocol):
    """Is told what happens; a display, a log, or both."""

    def shard_started(self, shard: int, works: Sequence[StageWork]) -> None:
        """A shard begins; `works` are the computations that are left of it."""

    def stage_started(self, work: StageWork, owner: Avatar) -> None:
        """A stage's computation begins."""

    def stage_progress(self, work: StageWork, done: int, total: int, note: str) -> None:
        """`done` of `total` steps are finished."""

    def stage_finished(self, work: StageWork, owner: Avatar, seconds: float, computed: bool) -> None:
        """The result is in the store; `computed` is False when it had been there."""

    def stage_failed(self, work: StageWork, owner: Avatar, error: Exception) -> None:
        """The computation ended with an error."""


class LogReporter:
    """Writes to the log: the default where nobody watches."""

    def __init__(self, every_seconds: float = 30.0) -> None:
        self._every = every_seconds
        self._last = 0.0

    def shard_started(self, shard: int, works: Sequence[StageWork]) -> None:
        """Log the start."""
        logger.info("Shard %d begins: %d results to compute", shard, len(works))

    def stage_started(self, work: StageWork, owner: Avatar) -> None:
        """Log the start."""
        logger.info("%s of %s begins (key %s)", work.stage, owner.avatar_id, work.key)

    def stage_progress(self, work: StageWork, done: int, total: int, note: str) -> None:
        """Log a step, at most one in `every_seconds`."""
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            logger.info("%s: %d of %d steps %s", work.stage, done, total, note)

    def stage_finished(self, work: StageWork, owner: Avatar, seconds: float, computed: bool) -> None:
        """Log the end."""
        how = f"done in {seconds:.1f} s" if computed else "was there already"
        logger.info("%s of %s %s", work.stage, owner.avatar_id, how)

    def stage_failed(self, work: StageWork, owner: Avatar, error: Exception) -> None:
        """Log the message; the task logs the traceback."""
        logger.error("%s of %s failed: %s", work.stage, owner.avatar_id, error)


_reporter: Reporter = LogReporter()


def set_reporter(reporter: Reporter) -> None:
    """Send this process's progress to `reporter` from now on."""
    global _reporter
    _reporter = reporter


def reporter() -> Reporter:
    """Return where this process's progress goes."""
    return _reporter
