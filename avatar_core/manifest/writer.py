"""Appending to the manifest: records gather in memory and become one immutable part a flush."""

import json
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

import pyarrow as pa

from avatar_core.errors import ManifestError
from avatar_core.manifest.layout import open_manifest, part_name, write_table
from avatar_core.manifest.records import ManifestRecord
from avatar_core.manifest.schema import SCHEMA, SCHEMA_VERSION

FLUSH_ROWS = 5_000
FLUSH_SECONDS = 30.0


class ManifestWriter:
    """Writes a run's records; safe to share between threads, any number may write to one library.

    Use it in a `with` block, or call `flush` at the end. Records that were not flushed when a run is killed
    are lost; the artifacts are not, and the next run records them again.
    """

    def __init__(
        self,
        library_url: str | os.PathLike[str],
        run_id: str,
        *,
        flush_rows: int = FLUSH_ROWS,
        flush_seconds: float = FLUSH_SECONDS,
    ) -> None:
        """Open the manifest for appending, creating nothing.

        `append` flushes by itself once it holds `flush_rows` records or its oldest waits for `flush_seconds`.
        Raises ConfigError for a library location that cannot be used.
        """
        if not run_id:
            raise ManifestError("A manifest writer needs the id of its run.")
        self.run_id = run_id
        self._folder = open_manifest(library_url)
        self._flush_rows = flush_rows
        self._flush_seconds = flush_seconds
        self._lock = threading.RLock()
        self._rows: list[dict[str, Any]] = []
        self._unwritten: deque[tuple[str, pa.Table]] = deque()
        self._oldest = 0.0
        self._sequence = 0
        self._id, self._parts = uuid.uuid4().hex, 0
        self._last_time = 0

    def append(self, records: ManifestRecord | Iterable[ManifestRecord]) -> None:
        """Add records, in order; raises ManifestError if a flush that was due fails (nothing is lost
        then).
        """
        batch = [records] if isinstance(records, ManifestRecord) else records
        with self._lock:
            for record in batch:
                self._add(record)
            waited = time.monotonic() - self._oldest
            if self.held and (len(self._rows) >= self._flush_rows or waited >= self._flush_seconds):
                self.flush()

    def append_columns(self, columns: Mapping[str, Sequence[Any]], facts: Mapping[str, Any]) -> None:
        """Add many records at once and write them, as a part of their own.

        `columns` are the values by column, all of one length, and `facts` those that all records share; the rest is
        null. `extra` is a mapping in each record. Raises ManifestError if the part cannot be written; the records are
        then still held.
        """
        with self._lock:
            self._seal()
            count = len(columns["avatar_id"])
            # Strictly increasing within the writer, as single records are.
            first = max(self._last_time + 1, time.time_ns() // 1000)
            values: dict[str, Any] = {name: [value] * count for name, value in facts.items()}
            values |= dict(columns)
            if "extra" in values:
                values["extra"] = [json.dumps(dict(one), sort_keys=True) if one else None for one in values["extra"]]
            values |= {
                "run_id": [self.run_id] * count,
                "recorded_at": range(first, first + count),
                "sequence": range(self._sequence, self._sequence + count),
                "schema_version": [SCHEMA_VERSION] * count,
            }
            arrays = [
                pa.array(values[field.name], field.type) if field.name in values else pa.nulls(count, field.type)
                for field in SCHEMA
            ]
            self._unwritten.append((self._next_name(), pa.table(arrays, schema=SCHEMA)))
            self._last_time, self._sequence = first + count, self._sequence + count
            self._write_unwritten()

    @property
    def held(self) -> int:
        """Number of records that are not written yet."""
        with self._lock:
            return len(self._rows) + sum(table.num_rows for _, table in self._unwritten)

    def flush(self) -> str | None:
        """Write what is held as one part and return its name, or None if nothing is held.

        Raises ManifestError if it cannot be written; the records are then still held. A part whose writing failed is
        written again under its name and as it was: its first writing may have succeeded without our hearing of it,
        and a compaction may have read it.
        """
        with self._lock:
            self._seal()
            return self._write_unwritten()

    def _seal(self) -> None:
        """Make a part of the single records that are held, whose content is final from now on."""
        if self._rows:
            table = pa.Table.from_pylist(self._rows, schema=SCHEMA)
            self._unwritten.append((self._next_name(), table))
            self._rows = []

    def _next_name(self) -> str:
        self._parts += 1
        return part_name(self.run_id, self._id, self._parts)

    def _write_unwritten(self) -> str | None:
        name = None
        while self._unwritten:
            name, table = self._unwritten[0]
            try:
                write_table(self._folder, name, table)
            except OSError as error:
                raise ManifestError(
                    f"{self._folder.url} cannot be written: {error}. Check free space and permissions; "
                    f"{self.held} records wait for the next attempt."
                ) from error
            self._unwritten.popleft()
        return name

    def __enter__(self) -> "ManifestWriter":
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Flush, also when the block failed."""
        self.flush()

    def _add(self, record: ManifestRecord) -> None:
        if not self.held:
            self._oldest = time.monotonic()
        # Strictly increasing within the writer, also when the clock is set back.
        self._last_time = max(self._last_time + 1, time.time_ns() // 1000)
        self._rows.append(
            {
                **record.to_row(),
                "run_id": self.run_id,
                "recorded_at": self._last_time,  # microseconds since the epoch, as the schema has it
                "sequence": self._sequence,
                "schema_version": SCHEMA_VERSION,
            }
        )
        self._sequence += 1
