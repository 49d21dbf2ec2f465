"""How Prefect caches stage results: by stage key, as small JSON references.

Prefect's default policy caches nothing across runs, and its source-based one does not see changes in avatar_core. The
stage key does: it digests version, settings, weights, seed, prompts and upstream keys. The cache is a shortcut only.
The artifact store decides what exists, so work is submitted with `refresh_cache` once the store was found without it.
"""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect.context import TaskRunContext

RESULT_SERIALIZER = "json"


def cache_key(context: "TaskRunContext", parameters: Mapping[str, Any]) -> str:
    """Return the cache key of a stage task's call: its stage key, within its library.

    References are relative to the library, so a result in one library says nothing about another.
    """
    work, place = parameters["work"], parameters["place"]
    library = hashlib.sha256(place.library.encode()).hexdigest()[:12]
    return f"{work.stage}-{work.key}-{library}"
