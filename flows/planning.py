"""Planning a run: a stream of catalog rows becomes shards in the library, less what the manifest says is done."""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from avatar_core.catalog import CatalogRow, RejectedRow
from avatar_core.manifest import ManifestRecord, ManifestWriter, read_latest, read_states, rejections
from avatar_core.manifest.schema import CATALOG_STAGE, EXPORT_STAGE, FINISHED_STATUSES
from avatar_core.storage import open_location
from flows.options import RunOptions
from flows.plan import Planner, PlanOptions
from flows.recipe import MEMORY
from flows.run_plan import Counts, RunPlan, run_folder, write_shard
from tasks.work import STAGES, Avatar

VERIFIED_ROWS = 20_000
"""Catalogs of up to so many rows on a local disk are checked against the store rather than the manifest."""
DIGESTED_ROWS = 200
"""Catalogs of up to so many rows are checked by digests."""
MICRO_BATCH = 32
"""Avatars of a task in catalogs of more rows than that."""
KEPT_REJECTIONS = 1000
"""How many rejected rows a plan keeps to show; the manifest has them all."""
RECORDED_AT_ONCE = 50_000
ACCEPTED_AT_ONCE = 1000

_SMALL_WORDS = frozenset(["a", "an", "and", "in", "is", "of", "on", "that", "the", "wearing", "who", "with"])
_WORD = re.compile(r"[^\W_]+")

OnRow = Callable[[int], None]
"""Is told how many rows were read by now."""


@dataclass
class Planned:
    """A plan with what there is to show beside it."""

    run: RunPlan
    rejected: list[RejectedRow] = field(default_factory=list)
    """The first ones."""
    quarantined: dict[str, str] = field(default_factory=dict)
    """Why rows were given up earlier, by id: the first ones."""


def plan_run(
    rows: Iterable[CatalogRow | RejectedRow],
    options: PlanOptions,
    run: RunOptions,
    *,
    library: str,
    run_id: str,
    only: Collection[str] = (),
    limit: int | None = None,
    whole: bool = False,
    on_row: OnRow | None = None,
) -> Planned:
    """Write the shards and the description of a run into the library, and return what was planned.

    Takes the accepted rows: those with the ids `only` (empty: all), and reading no further than `limit` of them.
    Memory holds one shard and a few bytes of each row. The manifest gets the rows that it does not know yet and the
    rejections; `whole` says that the rows are all that the catalog has, so that its earlier rejections no longer count.

    Raises ConfigError when a preset does not load, WeightsError when weights are missing, ManifestError.
    """
    planning = _Planning(options, run, library, run_id, on_row)
    chosen = _chosen(rows, only) if only else rows
    planning.read(chosen, limit)
    return planning.finish(whole)


class _Planning:
    """The state of one planning."""

    def __init__(self, options: PlanOptions, run: RunOptions, library: str, run_id: str, on_row: OnRow | None) -> None:
        self.planner = Planner(options)
        self.options, self.run, self.library, self.run_id = options, run, library, run_id
        self.folder = run_folder(library, run_id)
        self.history = History(library, run)
        self.recorder = _Recorder(library, run_id, options.catalog, self.history)
        self.verify = run.verify
        self.tallies = _Tallies()
        self.rejected: list[RejectedRow] = []
        self.rejected_count = 0
        self.quarantined: dict[str, str] = {}
        self.quarantined_count = 0
        self.done = 0
        self.rows = 0
        self.pending: list[Avatar] = []
        self.shards: list[int] = []
        self.on_row = on_row

    def read(self, rows: Iterable[CatalogRow | RejectedRow], limit: int | None) -> None:
        """Take rows in, shard by shard."""
        batch: list[Avatar] = []
        for row in rows:
            if isinstance(row, RejectedRow):
                self._reject(row)
                continue
            batch.append(self.planner.avatar(row))
            ended = self.rows + len(batch) == limit
            if ended or len(batch) == ACCEPTED_AT_ONCE:
                self._accept(batch)
                batch = []
            if ended:
                break
        self._accept(batch)

    def _reject(self, row: RejectedRow) -> None:
        self.rejected_count += 1
        self.recorder.reject(row)
        if len(self.rejected) < KEPT_REJECTIONS:
            self.rejected.append(row)

    def _accept(self, avatars: Sequence[Avatar]) -> None:
        self.rows += len(avatars)
        self.tallies.add(avatars)
        self.recorder.accept(avatars)
        self.pending += self._not_given_up(avatars)
        if self.verify == "auto" and self.rows > self._checked_rows:
            self.verify = "manifest"
        if self.verify != "auto" and len(self.pending) >= self.run.shard_size:
            self._cut()
        if self.on_row is not None:
            self.on_row(self.rows)

    def _not_given_up(self, avatars: Sequence[Avatar]) -> Iterator[Avatar]:
        """Yield the avatars that are not in quarantine."""
        for avatar in avatars:
            reason = self.history.quarantine(avatar)
            if reason is None:
                yield avatar
                continue
            self.quarantined_count += 1
            if len(self.quarantined) < KEPT_REJECTIONS:
                self.quarantined[avatar.avatar_id] = reason

    @property
    def _checked_rows(self) -> int:
        return VERIFIED_ROWS if open_location(self.library).is_local else DIGESTED_ROWS

    def _cut(self, last: bool = False) -> None:
        """Write what is pending as shards, but for an incomplete one unless it is the last."""
        if self.verify == "manifest":
            left = [avatar for avatar in self.pending if not self.history.done(avatar)]
            self.done += len(self.pending) - len(left)
            self.pending = left
        size = self.run.shard_size
        while len(self.pending) >= size or (last and self.pending):
            write_shard(self.folder, len(self.shards), self.pending[:size])
            self.shards.append(len(self.pending[:size]))
            self.pending = self.pending[size:]

    def finish(self, whole: bool) -> Planned:
        """Write the rest and the description."""
        if self.verify == "auto":
            self.verify = "digest" if self.rows <= DIGESTED_ROWS else "sizes"
        self._cut(last=True)
        self.recorder.finish(whole)
        micro_batch = self.run.micro_batch or (1 if self.rows <= DIGESTED_ROWS else MICRO_BATCH)
        counts = Counts(
            rows=self.rows,
            rejected=self.rejected_count,
            done=self.done,
            quarantined=self.quarantined_count,
            unique=self.tallies.unique(),
            near_duplicates=self.tallies.near_duplicates,
        )
        run = RunPlan(
            run_id=self.run_id,
            library=self.library,
            catalog=self.options.catalog,
            options=self.run.model_copy(update={"verify": self.verify, "micro_batch": micro_batch}),
            recipes=tuple(self.planner.recipes),
            shards=tuple(self.shards),
            counts=counts,
        )
        run.write()
        return Planned(run, self.rejected, self.quarantined)


def _chosen(rows: Iterable[CatalogRow | RejectedRow], only: Collection[str]) -> Iterator[CatalogRow | RejectedRow]:
    """Return the rows with the ids `only`: a rejected row that repeats the id of a good one is no concern."""
    found = [row for row in rows if row.id in only]
    accepted = {row.id for row in found if isinstance(row, CatalogRow)}
    return (row for row in found if isinstance(row, CatalogRow) or row.id not in accepted)


class History:
    """What the manifest knows of earlier runs, as far as planning asks."""

    def __init__(self, library: str, run: RunOptions) -> None:
        self._library = library
        self._run = run
        self._exports: dict[str, str] | None = None
        columns = ("avatar_id", "stage", "key", "status", "catalog", "run_id")
        self._catalog = read_latest(library, columns=columns, stages=(CATALOG_STAGE,))
        self._given_up = {} if run.retry else _given_up(library, run.max_attempts)

    def accepted(self) -> dict[str, str]:
        """Return the digests of the rows that the manifest has, by avatar id."""
        mask = pc.equal(self._catalog["status"], "accepted")
        known = self._catalog.filter(mask)
        return dict(zip(known["avatar_id"].to_pylist(), known["key"].to_pylist()))

    def stood(self, catalog: str) -> bool:
        """Tell whether earlier rejections of a catalog count still."""
        return catalog in rejections(self._catalog_rejections())["catalog"].to_pylist()

    def _catalog_rejections(self) -> pa.Table:
        mask = pc.is_in(self._catalog["status"], value_set=pa.array(["rejected", "read"]))
        table = self._catalog.filter(mask)
        return table.append_column("line", pa.array([0] * table.num_rows, pa.int64()))

    def done(self, avatar: Avatar) -> bool:
        """Tell whether the manifest has the avatar as exported, from what it is planned to be made from.

        With a quality gate, that is for the worker to say, which has the reports.
        """
        if self._run.gate is not None:
            return False
        if self._exports is None:
            self._exports = self._finished_exports()
        return self._exports.get(avatar.avatar_id) == avatar.keys[EXPORT_STAGE]

    def _finished_exports(self) -> dict[str, str]:
        """Return the keys of the exports that count, by avatar id."""
        columns = ("avatar_id", "key", "status", "recorded_at")
        table = read_latest(self._library, columns=columns, stages=(EXPORT_STAGE,))
        counts = pc.is_in(table["status"], value_set=pa.array(FINISHED_STATUSES))
        if self._run.remake_before is not None:
            limit = pa.scalar(self._run.remake_before, table["recorded_at"].type)
            counts = pc.and_(counts, pc.greater_equal(table["recorded_at"], limit))
        finished = table.filter(counts)
        return dict(zip(finished["avatar_id"].to_pylist(), finished["key"].to_pylist()))

    def quarantine(self, avatar: Avatar) -> str | None:
        """Return why the avatar was given up, or None if it was not."""
        for stage, key, reason in self._given_up.get(avatar.avatar_id, ()):
            if avatar.keys[stage] == key:
                return reason
        return None


def _given_up(library: str, max_attempts: int) -> dict[str, list[tuple[str, str, str]]]:
    """Return (stage, key, reason) of what failed too often, by avatar id."""
    states = read_states(library, columns=("avatar_id", "state"))
    suspects = states.filter(pc.equal(states["state"], "failed"))["avatar_id"].to_pylist()
    if not suspects:
        return {}
    columns = ("avatar_id", "stage", "key", "status", "attempt", "error_message")
    given_up: dict[str, list[tuple[str, str, str]]] = {}
    for row in read_latest(library, columns=columns, avatar_ids=suspects).to_pylist():
        if row["status"] == "failed" and (row["attempt"] or 1) >= max_attempts:
            reason = f"{row['stage']} failed {row['attempt']} times: {row['error_message']}"
            given_up.setdefault(row["avatar_id"], []).append((row["stage"], row["key"], reason))
    return given_up


class _Tallies:
    """How many different results the rows need, and how many rows nearly repeat others."""

    def __init__(self) -> None:
        self.near_duplicates = 0
        self._keys: dict[str, set[int]] = {stage: set() for stage in STAGES}
        self._texts: set[int] = set()
        self._gists: dict[str, int] = {}

    def add(self, avatars: Sequence[Avatar]) -> None:
        """Count some rows."""
        for stage, keys in self._keys.items():
            keys.update([hash(avatar.keys[stage]) for avatar in avatars])
        gist, before = self._gist, len(self._texts)
        self._texts.update(
            [hash((gist(a.shape), gist(a.appearance), gist(a.motion), a.seed, a.recipe)) for a in avatars]
        )
        self.near_duplicates += len(avatars) - (len(self._texts) - before)

    def _gist(self, text: str) -> int:
        """Return what stands for a text's words that count, whatever their case and what is between them."""
        gist = self._gists.get(text)
        if gist is None:
            if len(self._gists) >= MEMORY:
                self._gists.clear()
            words = [word for word in _WORD.findall(text.lower()) if word not in _SMALL_WORDS]
            gist = self._gists[text] = hash(" ".join(words))
        return gist

    def unique(self) -> dict[str, int]:
        """Return the number of different results of each stage."""
        return {stage: len(keys) for stage, keys in self._keys.items()}


_ROW_COLUMNS = ("avatar_id", "line", "seed", "shape", "appearance", "motion", "preset", "body", "tags", "extra")


class _Recorder:
    """Tells the manifest what the rows of a catalog are, as far as it does not say so already."""

    def __init__(self, library: str, run_id: str, catalog: str, history: History) -> None:
        self._writer = ManifestWriter(library, run_id)
        self._catalog = catalog
        self._history = history
        self._known = history.accepted()
        self._rejected = 0
        self._new: list[tuple[Avatar, str]] = []

    def accept(self, avatars: Sequence[Avatar]) -> None:
        """Note accepted rows."""
        for avatar in avatars:
            digest = row_digest(avatar)
            if self._known.get(avatar.avatar_id) != digest:
                self._new.append((avatar, digest))
        if len(self._new) >= RECORDED_AT_ONCE:
            self._flush()

    def reject(self, row: RejectedRow) -> None:
        """Note a rejected row."""
        self._rejected += 1
        self._writer.append(ManifestRecord.rejected(row, catalog=self._catalog))

    def finish(self, whole: bool) -> None:
        """Write what is noted; after the whole catalog, earlier rejections no longer count."""
        self._flush()
        if whole and (self._rejected or self._history.stood(self._catalog)):
            self._writer.append(ManifestRecord.catalog_read(self._catalog))
        self._writer.flush()

    def _flush(self) -> None:
        if self._new:
            columns = {name: [getattr(one, name) for one, _ in self._new] for name in _ROW_COLUMNS}
            columns["key"] = [digest for _, digest in self._new]
            facts = {"stage": CATALOG_STAGE, "status": "accepted", "catalog": self._catalog}
            self._writer.append_columns(columns, facts)
            self._new = []


def row_digest(avatar: Avatar) -> str:
    """Return what tells one version of a row from another: 32 hexadecimal characters."""
    facts = (
        f"{avatar.line}\x1f{avatar.seed}\x1f{avatar.shape}\x1f{avatar.appearance}\x1f{avatar.motion}\x1f{avatar.preset}\x1f"
        f"{avatar.body}\x1f{avatar.tags or ''}\x1f{sorted(avatar.extra.items()) if avatar.extra else ''}"
    )
    return hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()
