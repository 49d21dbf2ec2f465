"""The states of all avatars in memory, brought up to date when the manifest changes."""

import os
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from avatar_core.manifest.files import Files
from avatar_core.manifest.overview import states_in
from avatar_core.manifest.states import STATES_SCHEMA
from avatar_core.manifest.view import View, reading


class StatesFollower:
    """Follows a manifest: looking whether it changed costs a listing, a change the states of the avatars in new parts.

    Compactions change nothing that is read, but are answered by reading all states again. Not for several threads at
    once.
    """

    def __init__(self, library_url: str | os.PathLike[str], columns: Sequence[str] = STATES_SCHEMA.names) -> None:
        """Follow some columns of the states, avatar_id among them; nothing is read before `refresh`."""
        self._library_url = library_url
        self._columns = list(columns)
        self._seen: tuple[bytes | None, frozenset[str]] | None = None
        self.table = pa.schema([STATES_SCHEMA.field(name) for name in self._columns]).empty_table()
        """What `read_states` returned at the last refreshing, in no order."""

    def refresh(self) -> bool:
        """Bring `table` up to date; return whether the manifest has changed. Raises as `read_states` does."""
        return reading(self._library_url, self._refresh)

    def _refresh(self, view: View) -> bool:
        now = (view.current.content, frozenset(view.loose))
        if now == self._seen:
            return False
        if self._seen is not None and self._seen[0] == now[0] and self._seen[1] < now[1]:
            self.table = self._updated(view, sorted(now[1] - self._seen[1]))
        else:
            self.table = states_in(view, self._columns, None).combine_chunks()
        self._seen = now
        return True

    def _updated(self, view: View, new_parts: Sequence[str]) -> pa.Table:
        """Return the table with the states of those avatars exchanged of which `new_parts` tell."""
        ids = pc.unique(Files(view.folder, new_parts).table(["avatar_id", "schema_version"])["avatar_id"])
        kept = self.table.filter(pc.invert(pc.is_in(self.table["avatar_id"], value_set=ids)))
        return pa.concat_tables([kept, states_in(view, self._columns, ids)]).combine_chunks()
