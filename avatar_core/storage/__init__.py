"""Content-addressed artifacts and checkpoints, on a local disk or behind any fsspec URL."""

from avatar_core.storage.keys import canonical_json, stage_key
from avatar_core.storage.location import Location, open_location
from avatar_core.storage.paths import atomic_file, cache_root, write_atomic
from avatar_core.storage.refs import ArtifactRef
from avatar_core.storage.store import ArtifactStore

__all__ = [
    "ArtifactRef",
    "ArtifactStore",
    "Location",
    "atomic_file",
    "cache_root",
    "canonical_json",
    "open_location",
    "stage_key",
    "write_atomic",
]
