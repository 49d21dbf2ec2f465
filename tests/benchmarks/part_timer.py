"""Where the time of running code goes, by callables that are wrapped from outside."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

OTHER = "other"
"""The part of what no part covers."""

Seen = Callable[[tuple[Any, ...], Any], None]
"""Is shown the positional arguments and the result of a call."""


@dataclass(frozen=True, eq=False)
class Probe:
    """A callable to time: an attribute of a module, a class or an object."""

    owner: Any
    attribute: str
    part: str = ""
    """The part that its time belongs to; empty keeps the part that is running."""
    detail: str = ""
    """What its time is called inside of the part."""
    seen: Seen | None = None
    """Is shown every call, inside of the timed span."""


class PartTimer:
    """Adds up seconds by part and detail; every moment belongs to the innermost span that runs.

    So the parts of a span add up to its whole length. Spans may be nested, and opened and closed in any function.

    Args:
        clock: seconds; one that waits for a device before it looks charges each part with its own kernels.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: list[tuple[str, str]] = []
        self._since = 0.0
        self.seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
        """By part and detail; the detail is empty for what is not told apart."""

    def enter(self, part: str = "", detail: str = "") -> None:
        """Open a span; without a part it stays in the one that is running."""
        self._charge()
        self._open.append((part or self._part(), detail))

    def leave(self) -> None:
        """Close the span that was opened last."""
        self._charge()
        self._open.pop()

    @contextmanager
    def span(self, part: str = "", detail: str = "") -> Iterator[None]:
        """Time a block."""
        self.enter(part, detail)
        try:
            yield
        finally:
            self.leave()

    @contextmanager
    def probing(self, *probes: Probe) -> Iterator[None]:
        """Time the callables of `probes` inside the block.

        Raises AttributeError where a callable is no longer there: the product has changed, the probe must follow.
        """
        with ExitStack() as stack:
            for probe in probes:
                stack.enter_context(self._wrapped(probe))
            yield

    def take(self) -> dict[tuple[str, str], float]:
        """Return the seconds so far and start again at zero."""
        taken = dict(self.seconds)
        self.seconds.clear()
        return taken

    def _part(self) -> str:
        return self._open[-1][0] if self._open else OTHER

    def _charge(self) -> None:
        now = self._clock()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    @contextmanager
    def _wrapped(self, probe: Probe) -> Iterator[None]:
        original = getattr(probe.owner, probe.attribute)
        own = vars(probe.owner).get(probe.attribute)

        @functools.wraps(original)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.span(probe.part, probe.detail):
                result = original(*args, **kwargs)
                if probe.seen is not None:
                    probe.seen(args, result)
                return result

        setattr(probe.owner, probe.attribute, timed)
        try:
            yield
        finally:
            if own is None:
                delattr(probe.owner, probe.attribute)
            else:
                setattr(probe.owner, probe.attribute, own)
