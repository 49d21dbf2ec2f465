"""Which stages draw random numbers: rows that differ only in their seeds share the results of the others."""

from collections.abc import Mapping
from typing import Any

UNSEEDED = 0
"""The seed of stages that draw no numbers."""
SEEDED = frozenset({"texturing", "motion", "export"})
"""Stages that draw random numbers whatever their settings."""
SEARCHES: Mapping[str, str] = {"candidate_poses": "codebook"}
"""Stages that draw none with this method of theirs, and some with any other."""


def draws_numbers(stage: str, config: Mapping[str, Any]) -> bool:
    """Tell whether the seed decides anything in `stage` with the settings `config`."""
    return stage in SEEDED or (stage in SEARCHES and config.get("method") != SEARCHES[stage])
