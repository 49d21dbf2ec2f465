"""The manifest: what became of every avatar in every stage, as append-only Parquet."""

from avatar_core.manifest.attempts import attempts
from avatar_core.manifest.compaction import Compaction, compact, compact_all
from avatar_core.manifest.costs import cost, read_costs, roll_up
from avatar_core.manifest.following import StatesFollower
from avatar_core.manifest.overview import Summary, read_states, read_summary
from avatar_core.manifest.reader import read_history, read_latest
from avatar_core.manifest.records import ManifestRecord
from avatar_core.manifest.references import References, references
from avatar_core.manifest.schema import REVIEWS, SCHEMA, SCHEMA_VERSION, STAGES, STATUSES, WITHDRAWN
from avatar_core.manifest.states import (
    STATE_COLUMNS,
    avatar_states,
    rejections,
    state_counts,
    status_counts,
)
from avatar_core.manifest.writer import ManifestWriter

__all__ = [
    "REVIEWS",
    "SCHEMA",
    "SCHEMA_VERSION",
    "STAGES",
    "STATE_COLUMNS",
    "STATUSES",
    "WITHDRAWN",
    "Compaction",
    "ManifestRecord",
    "ManifestWriter",
    "References",
    "StatesFollower",
    "Summary",
    "attempts",
    "avatar_states",
    "compact",
    "compact_all",
    "cost",
    "read_costs",
    "read_history",
    "read_latest",
    "read_states",
    "read_summary",
    "references",
    "rejections",
    "roll_up",
    "state_counts",
    "status_counts",
]
