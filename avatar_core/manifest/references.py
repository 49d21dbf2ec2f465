"""Which artifacts the manifest names, for deciding what no longer is needed."""

import os
from collections.abc import Iterable, Iterator, Mapping, Set

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from avatar_core.manifest.files import Files
from avatar_core.manifest.view import View, reading

_READ = ("stage", "key", "schema_version")


class References(Set[tuple[str, str]]):
    """A set of (stage, key), as sorted arrays: 32 bytes a key rather than some 200."""

    def __init__(self, keys: Mapping[str, np.ndarray]) -> None:
        """Take the sorted distinct keys of each stage, (n,) bytes."""
        self._keys = keys

    def __contains__(self, item: object) -> bool:
        """Whether some record names the artifact."""
        if not isinstance(item, tuple) or len(item) != 2 or item[0] not in self._keys:
            return False
        keys, key = self._keys[item[0]], str(item[1]).encode()
        place = np.searchsorted(keys, key)
        return bool(place < len(keys) and keys[place] == key)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield the pairs, sorted."""
        for stage in sorted(self._keys):
            yield from ((stage, key.decode()) for key in self._keys[stage])

    def __len__(self) -> int:
        """Return the number of pairs."""
        return sum(len(keys) for keys in self._keys.values())

    @classmethod
    def _from_iterable(cls, items: Iterable[tuple[str, str]]) -> Set[tuple[str, str]]:  # type: ignore[override]
        return frozenset(items)


def references(library_url: str | os.PathLike[str]) -> References:
    """Return the (stage, key) of every record that has a key, whatever became of it.

    Compaction never drops the last record of a key, so that no artifact falls out of this set. Raises ManifestError
    and ConfigError as `read_latest` does.
    """
    return reading(library_url, _references)


def _references(view: View) -> References:
    found: dict[str, list[np.ndarray]] = {}
    for files in (*(Files(view.folder, [item.snapshot]) for item in view.current.slices), view.loose_files):
        table = files.table(_READ)
        for stage in pc.unique(table["stage"]).to_pylist():
            keys = pc.unique(table.filter(pc.equal(table["stage"], stage))["key"]).drop_null()
            found.setdefault(stage, []).append(_bytes(keys))
    return References({stage: np.unique(np.concatenate(arrays)) for stage, arrays in found.items()})


def _bytes(keys: pa.Array) -> np.ndarray:
    """Return keys as (n,) bytes of one width."""
    return np.array(keys.cast(pa.binary()).to_pylist(), dtype=np.bytes_)
