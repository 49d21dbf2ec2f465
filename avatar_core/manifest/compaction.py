"""Compaction: records move into slices sorted by avatar, and what they replace goes after a while."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from avatar_core.errors import ManifestError
from avatar_core.manifest.latest import ORDER, codes, latest_rows
from avatar_core.manifest.layout import (
    SNAPSHOT,
    STATES,
    compacted_name,
    compacted_time,
    open_manifest,
    write_table,
)
from avatar_core.manifest.pieces import ROWS_PER_PIECE, Piece, group_starts, pieces, read_piece
from avatar_core.manifest.pointer import Current, Slice, exclusive, publish, read_content, read_current
from avatar_core.manifest.schema import SCHEMA
from avatar_core.manifest.states import STATES_SCHEMA, STATES_VERSION, avatar_states, stage_totals
from avatar_core.manifest.view import View, open_view
from avatar_core.storage.location import Location
from avatar_core.storage.paths import remove_stale

logger = logging.getLogger(__name__)

GRACE_SECONDS = 3600.0
MAXIMUM_PARTS = 5_000
ABANDONED_SECONDS = 86_400.0
"""After this time a file that no pointer ever named is what a killed compaction left behind."""


@dataclass(frozen=True)
class Compaction:
    """What a compaction did."""

    records: int
    """Records in the slices; 0 if nothing was merged."""
    merged_files: int
    """Parts and earlier snapshots whose records are now in the slices that this compaction wrote."""
    deleted_files: int
    """Files deleted because something has replaced them for longer than the grace period."""


def compact(
    library_url: str | os.PathLike[str],
    *,
    grace_seconds: float = GRACE_SECONDS,
    minimum_parts: int = 1,
    maximum_parts: int = MAXIMUM_PARTS,
    rows_per_file: int = ROWS_PER_PIECE,
) -> Compaction:
    """Merge the manifest's parts into the slices, with the state of each avatar beside its records.

    What is kept of each avatar, stage and key: its last record, last finished computation and last attempt. Slices
    that no part concerns are left as they are. Memory holds about twice `rows_per_file` records, and all new ids.

    Does nothing but delete old files while there are fewer than `minimum_parts` new parts, and merges
    `maximum_parts` at most: with many more, one that cannot be read just now would keep all others from being merged.

    Writers, readers and other compactions may be at work meanwhile: a reader starts over if a file that it needs is
    deleted, and a compaction that another one overtook drops what it made. `grace_seconds` only has to be longer than
    a reading to spare readers that trouble; on object stores it must also be longer than two small writes and the
    difference between the clocks of compactions (see `pointer`).
    Raises ManifestError if a file is damaged or nothing can be written.
    """
    folder = open_manifest(library_url)
    try:
        view = open_view(folder)
        due = len(view.loose) >= max(minimum_parts, 1)
        some = replace(view, loose=view.loose[:maximum_parts])
        records, merged = _merge(some, rows_per_file) if due else (0, 0)
        deleted = _delete_replaced(folder, grace_seconds)
    except OSError as error:
        raise ManifestError(
            f"{folder.url} cannot be compacted: {error}. Check free space and permissions; nothing is lost."
        ) from error
    return Compaction(records, merged, deleted)


def compact_all(
    library_url: str | os.PathLike[str],
    *,
    grace_seconds: float = GRACE_SECONDS,
    minimum_parts: int = 1,
    maximum_parts: int = MAXIMUM_PARTS,
) -> Compaction:
    """Compact as often as `minimum_parts` new parts are left: a run of many results leaves more than one merges.

    Returns the records that are there in the end, and the sums of the files. Raises as `compact` does.
    """
    total = Compaction(0, 0, 0)
    while True:
        done = compact(
            library_url, grace_seconds=grace_seconds, minimum_parts=minimum_parts, maximum_parts=maximum_parts
        )
        total = Compaction(
            done.records or total.records,
            total.merged_files + done.merged_files,
            total.deleted_files + done.deleted_files,
        )
        if not done.merged_files:
            return total


def _merge(view: View, rows_per_file: int) -> tuple[int, int]:
    """Publish slices that include the loose files; return their records and the number of files merged."""
    written: list[str] = []  # what is deleted again if it comes to nothing; see `publish`
    try:
        slices = tuple(_merged_slices(view, rows_per_file, written))
        replaced = {*view.loose, *view.current.names} - Current(slices).names
        published = publish(view.folder, view.current, _successor(view, slices, replaced), written)
    except FileNotFoundError:
        if read_content(view.folder) == view.current.content:
            raise
        published = False
    except BaseException:
        _discard(view.folder, written)
        raise
    if not published:
        _discard(view.folder, written)
        logger.info("Another compaction of %s was quicker; this one changes nothing.", view.folder.url)
        return 0, 0
    records = sum(item.rows for item in slices)
    merged = sum(not name.startswith(STATES) for name in replaced)
    logger.info("Compacted %d files of %s; it has %d records now.", merged, view.folder.url, records)
    return records, merged


def _merged_slices(view: View, rows_per_file: int, written: list[str]) -> Iterator[Slice]:
    for piece in pieces(view, rows_per_file):
        up_to_date = piece.within is not None and piece.within.states_version == STATES_VERSION
        if piece.loose_rows == 0 and piece.within is not None and up_to_date:
            yield piece.within
        else:
            yield from _written_slices(view, piece, rows_per_file, written)


def _written_slices(view: View, piece: Piece, rows_per_file: int, written: list[str]) -> Iterator[Slice]:
    """Write the records of a piece in files of about `rows_per_file`; `written` gets their names first."""
    table = read_piece(view, piece, SCHEMA.names)
    table = table.sort_by([(name, "ascending") for name in ("avatar_id", "stage", *ORDER)])
    avatars, ids = codes(table["avatar_id"])
    counts = np.bincount(avatars)  # of the ids in their order, for the table is sorted
    ends = np.cumsum(counts)
    starts = group_starts(counts, rows_per_file)
    for first, end in zip(starts, [*starts[1:], len(ids)]):
        begin = ends[first] - counts[first]
        rows = table.slice(begin, ends[end - 1] - begin)
        moment = datetime.now(UTC)
        snapshot, states = (compacted_name(kind, moment, len(written) // 2) for kind in (SNAPSHOT, STATES))
        written += [snapshot, states]
        latest = latest_rows(rows)
        write_table(view.folder, snapshot, rows)
        write_table(view.folder, states, avatar_states(latest), STATES_SCHEMA)
        lower = piece.lower if first == 0 else ids[first].as_py()
        yield Slice(lower, snapshot, states, rows.num_rows, stage_totals(latest), STATES_VERSION)


def _successor(view: View, slices: tuple[Slice, ...], replaced: set[str]) -> Current:
    """Return the pointer that follows: it remembers replaced files as long as they are there."""
    existing = view.folder.files()
    covered = {name: since for name, since in (view.current.covered or {}).items() if name in existing}
    covered.update(dict.fromkeys(replaced, datetime.now(UTC)))
    return Current(slices, (), covered)


def _discard(folder: Location, names: list[str]) -> int:
    """Delete files that do not count, and return how many; what cannot be deleted is left to a later compaction."""
    deleted = 0
    for name in names:
        try:
            folder.remove(name)
            deleted += 1
        except OSError as error:
            logger.warning("%s/%s is left behind for now: %s", folder.url, name, error)
    return deleted


def _delete_replaced(folder: Location, grace_seconds: float) -> int:
    """Delete the files that the pointer of now has long replaced, and abandoned ones; return how many."""
    if not folder.files():
        return 0
    with exclusive(folder):
        deleted = _discard(folder, list(_replaced(folder, read_current(folder), grace_seconds)))
    if folder.is_local:
        remove_stale(folder.path(), max(grace_seconds, GRACE_SECONDS))
    return deleted


def _replaced(folder: Location, current: Current, grace_seconds: float) -> Iterator[str]:
    if current.covered is None:
        return
    now = datetime.now(UTC)
    replaced_by = now - timedelta(seconds=grace_seconds)
    abandoned_by = now - timedelta(seconds=max(grace_seconds, ABANDONED_SECONDS))
    for name in folder.files():
        made = compacted_time(name)
        if name in current.covered:
            due = current.covered[name] <= replaced_by
        else:
            due = made is not None and made <= abandoned_by and name not in current.names
        if due:
            yield name
