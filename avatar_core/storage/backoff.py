"""Repetition of remote operations that fail for a passing reason, after growing pauses with jitter."""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import tenacity

from avatar_core.storage.failures import is_transient

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class BackOff:
    """How often and after which pauses an operation is repeated.

    The clients of object stores repeat single requests themselves, for seconds; this is for what outlasts them.
    """

    attempts: int = 4
    """How often an operation is tried in all; at least 1."""
    first_seconds: float = 0.5
    """The longest pause after the first failure; it doubles with every failure."""
    longest_seconds: float = 20.0
    """What no pause exceeds."""
    generator: random.Random = field(default_factory=random.Random, compare=False)
    """Draws the jitter, half of each pause at most, so that a fleet does not come back all at once."""
    sleep: Callable[[float], None] = field(default=time.sleep, compare=False)

    def call(self, what: str, operation: Callable[[], Result]) -> Result:
        """Return `operation()`, repeated while it fails for a passing reason; raises its last error.

        `operation` must do the same when it is repeated; `what` names it in the log.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_transient),
            stop=tenacity.stop_after_attempt(self.attempts),
            wait=self._pause,
            before_sleep=lambda state: _log(what, state),
            sleep=self.sleep,
            reraise=True,
        )
        return retrying(operation)

    def _pause(self, state: tenacity.RetryCallState) -> float:
        longest = min(self.longest_seconds, self.first_seconds * 2.0 ** (state.attempt_number - 1))
        return longest * self.generator.uniform(0.5, 1.0)


def _log(what: str, state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = state.next_action.sleep if state.next_action else 0.0
    logger.warning("%s failed (attempt %d): %s. Again in %.1f s.", what, state.attempt_number, error, pause)
