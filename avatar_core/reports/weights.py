"""The models behind many avatars, counted by what their reports say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from avatar_core.licences import Terms, terms_of_weights
from avatar_core.reports.measures import Json, place

MAX_KINDS = 1000
"""Different models that are told apart; others are left out: no file may fill memory."""
MAX_TEXT = 200
"""Characters of a name that are kept."""


class Weights(NamedTuple):
    """What a report says of a model."""

    role: str
    name: str
    digest: str
    licence: str


def word(value: Any) -> str:
    """Return a JSON value that is a text, cut at MAX_TEXT characters; empty for anything else."""
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def count_weights(report: Json, counts: Counter[Weights]) -> None:
    """Add the models of a report to `counts`."""
    weights = place(report, "weights")
    for role, facts in weights.items() if isinstance(weights, Mapping) else ():
        found = Weights(word(role), *(word(place(facts, name)) for name in ("name", "digest", "licence")))
        if found in counts or len(counts) < MAX_KINDS:
            counts[found] += 1


def weigh(counts: Mapping[Weights, int]) -> tuple[list[tuple[str, Terms]], dict[str, int]]:
    """Return models with the roles that they play, by role, and how many avatars use each, by its digest."""
    roles: dict[tuple[str, str, str], list[str]] = {}
    avatars: dict[str, int] = {}
    for found, count in sorted(counts.items()):
        roles.setdefault((found.name, found.digest, found.licence), []).append(found.role)
        avatars[found.digest] = max(avatars.get(found.digest, 0), count)
    return [(", ".join(parts), terms_of_weights(*known)) for known, parts in roles.items()], avatars
