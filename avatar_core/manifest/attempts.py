"""How often each result was tried, for deciding when to give up."""

import os
from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from avatar_core.manifest.latest import IDENTITY, ORDER
from avatar_core.manifest.schema import ATTEMPT_STATUSES
from avatar_core.manifest.view import View, id_array, reading

_READ = (*IDENTITY, "key", "status", "attempt", *ORDER, "schema_version")


def attempts(
    library_url: str | os.PathLike[str], avatar_ids: Collection[str] | None = None
) -> dict[tuple[str, str, str], int]:
    """Return how many attempts at (avatar_id, stage, key) ended, of all avatars or of `avatar_ids`.

    Results that nobody tried to compute are left out, hence so are records without a key. A record that does not
    say which attempt it was counts as a first one. Raises ManifestError and ConfigError as `read_latest` does.
    """
    counts = reading(library_url, lambda view: _counts(view, id_array(avatar_ids)))
    names = (*IDENTITY, "key", "attempt_max")
    return {(avatar, stage, key): count for avatar, stage, key, count in zip(*(counts[n].to_pylist() for n in names))}


def _counts(view: View, avatar_ids: pa.Array | None) -> pa.Table:
    records = view.records(_READ, avatar_ids)
    tried = pc.is_in(records["status"], value_set=pa.array(ATTEMPT_STATUSES))
    records = records.filter(pc.and_(tried, pc.is_valid(records["key"])))
    index = records.schema.get_field_index("attempt")
    records = records.set_column(index, "attempt", pc.fill_null(records["attempt"], 1))
    return records.group_by([*IDENTITY, "key"]).aggregate([("attempt", "max")])
