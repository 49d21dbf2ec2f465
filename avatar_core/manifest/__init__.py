"""The manifest: what became of every avatar in every stage, as append-only Parquet."""

from avatar_core.manifest.compaction import Compaction, compact
from avatar_core.manifest.reader import failed_avatars, read_history, read_latest
from avatar_core.manifest.records import ManifestRecord
from avatar_core.manifest.schema import SCHEMA, SCHEMA_VERSION, STAGES, STATUSES
from avatar_core.manifest.states import (
    STATE_COLUMNS,
    avatar_states,
    rejections,
    state_counts,
    status_counts,
)
from avatar_core.manifest.writer import ManifestWriter

__all__ = [
    "SCHEMA",
    "SCHEMA_VERSION",
    "STAGES",
    "STATE_COLUMNS",
    "STATUSES",
    "Compaction",
    "ManifestRecord",
    "ManifestWriter",
    "avatar_states",
    "compact",
    "failed_avatars",
    "read_history",
    "read_latest",
    "rejections",
    "state_counts",
    "status_counts",
]
