"""The reports of a library's finished avatars, one after the other, or many at once where they are far away."""

import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from avatar_core.errors import ArtifactError
from avatar_core.reports.avatar_page import MAX_BYTES, read_report
from avatar_core.storage import Location
from flows.delivery import REPORT, delivered_uri

READERS = 16
"""Reports that are fetched at once from a library that is not on this machine's disk."""
AHEAD = 8
"""How many wait for each reader: memory holds no more, however many there are."""


@dataclass(frozen=True)
class Read:
    """An avatar's report, or why there is none."""

    avatar_id: str
    report: dict[str, Any] | None
    reason: str = ""
    """Why it cannot be read."""


def read_reports(library: Location, ids: Iterable[str]) -> Iterator[Read]:
    """Yield the report of each of `ids`, in their order."""
    if library.is_local:
        yield from (read_one(library, avatar_id) for avatar_id in ids)
        return
    waiting: deque[Future[Read]] = deque()
    left = iter(ids)
    with ThreadPoolExecutor(READERS) as pool:
        try:
            for avatar_id in itertools.islice(left, READERS * AHEAD):
                waiting.append(pool.submit(read_one, library, avatar_id))
            while waiting:
                yield waiting.popleft().result()
                for avatar_id in itertools.islice(left, 1):
                    waiting.append(pool.submit(read_one, library, avatar_id))
        finally:
            pool.shutdown(cancel_futures=True)


def read_one(library: Location, avatar_id: str) -> Read:
    """Return the report of one avatar; what keeps it from being read is part of the answer.

    Raises CatalogError for an id that could lead elsewhere.
    """
    relative = f"{delivered_uri(avatar_id)}/{REPORT}"
    try:
        size = library.size(relative)
        if size is None:
            return Read(avatar_id, None, f"it has no {REPORT}")
        if size > MAX_BYTES:
            return Read(avatar_id, None, f"{REPORT} has {size} bytes, more than {MAX_BYTES}")
        return Read(avatar_id, read_report(library.read(relative)))
    except (OSError, ArtifactError) as error:
        return Read(avatar_id, None, str(error))


def drawn(ids: Iterable[str], count: int, seed: int) -> list[str]:
    """Return `count` of the ids, fewer where there are fewer, drawn by the seed whatever their order; sorted."""
    return sorted(heapq.nsmallest(count, ids, key=lambda one: (sha256(f"{seed}:{one}".encode()).digest(), one)))
