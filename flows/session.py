"""One run of a catalog: read, plan, see what is left, and carry that out, in this process or on a work pool."""

import logging
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from avatar_core.catalog import CatalogRow, RejectedRow, read_catalog
from avatar_core.errors import CatalogError
from avatar_core.manifest import compact_all
from avatar_core.storage import ArtifactStore, open_location
from flows import orchestrator
from flows.options import RunOptions
from flows.outcome import Outcome
from flows.plan import Plan, PlanOptions
from flows.planning import OnRow, Planned, plan_run
from flows.recipe import Recipe
from flows.resume import finished_works, undelivered
from flows.run_plan import RunPlan, read_shard, run_folder
from flows.run_state import note_begin, note_end
from tasks.devices import resolve_device

if TYPE_CHECKING:
    from flows.run_progress import OnProgress, Pool

logger = logging.getLogger(__name__)

COMPACT_AT_PARTS = 500


@dataclass(frozen=True)
class Request:
    """What a user asked for."""

    library: str
    catalog: str = ""
    """Path or URL of the catalog; a name for the manifest when `rows` are given."""
    rows: tuple[CatalogRow, ...] = ()
    """Rows to make instead of a catalog's."""
    preset: str | None = None
    """None: by device."""
    encoder: str = "bodyclip"
    device: str = "auto"
    only: tuple[str, ...] = ()
    """Ids of the rows to make; empty: all."""
    limit: int | None = None
    recipes: tuple[Recipe, ...] = ()
    """By which rows are made whose preset and body they name; see PlanOptions."""
    options: RunOptions = field(default_factory=RunOptions)
    body: str | None = None
    """Of rows that name none; None: the preset's."""

    @property
    def whole(self) -> bool:
        """Whether every row of the catalog is meant."""
        return not self.only and self.limit is None and not self.rows

    @property
    def catalog_name(self) -> str:
        """Name of the catalog without its folder."""
        return PurePosixPath(self.catalog.replace("\\", "/")).name


@dataclass
class Session:
    """A planned run, and what of it is left to do."""

    request: Request
    planned: Planned
    device: str
    preset: str
    shards: list[int] = field(default_factory=list)
    """The shards that have anything left."""
    left: Counter[str] = field(default_factory=Counter)
    """How many results are to be computed, by stage; where the manifest's word was taken, at most so many."""
    waiting: int = 0
    """How many avatars lack any result; where the manifest's word was taken, those that it does not have as done."""
    avatar_ids: list[str] = field(default_factory=list)
    """The avatars of the plan: the first ones."""
    mended: list[str] = field(default_factory=list)
    """Avatars whose folder was put back from the store."""

    @property
    def run(self) -> RunPlan:
        """The plan."""
        return self.planned.run

    @property
    def log_path(self) -> Path:
        """The run's log file: in the library if that is local, else in the cache."""
        return log_path(self.request.library, self.run.run_id)


def new_run_id() -> str:
    """Return a name for a run that sorts by time: 20260102-030405-678901-1a2b."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{uuid.uuid4().hex[:4]}"


def shared_library(library: str) -> str:
    """Return a library's location as other processes see it: a relative path becomes an absolute one."""
    location = open_location(library)
    return str(location.path()) if location.is_local else library


def log_path(library: str, run_id: str) -> Path:
    """Return where a run's log goes: into the library if that is local, else into the cache."""
    location = open_location(library)
    folder = location.path("runs") if location.is_local else orchestrator.cache_home() / "runs"
    return folder / run_id / "run.log"


def check_catalog(request: Request) -> None:
    """Raise CatalogError unless the catalog opens and has a header, before anything is made for it."""
    if not request.rows:
        rows = read_catalog(request.catalog)
        next(rows, None)
        rows.close()  # type: ignore[attr-defined]


def prepare(request: Request, run_id: str, on_row: OnRow | None = None) -> Session:
    """Read and plan what was asked for and find what the library has; the manifest gets rows and rejections.

    Raises CatalogError, ConfigError and WeightsError; nothing was computed then.
    """
    from avatar_core.config import DEFAULT_PRESETS

    device = resolve_device(request.device)
    preset = request.preset or DEFAULT_PRESETS[device.partition(":")[0]]
    planned = plan_run(
        _rows(request, preset),
        PlanOptions(
            preset=preset,
            encoder=request.encoder,
            body=request.body,
            catalog=request.catalog_name,
            recipes=request.recipes,
        ),
        request.options,
        library=request.library,
        run_id=run_id,
        only=request.only,
        limit=request.limit,
        whole=request.whole,
        on_row=on_row,
    )
    session = Session(request, planned, device, preset)
    _survey(session)
    known = {*session.avatar_ids, *planned.quarantined, *(row.id for row in planned.rejected)}
    missing = set(request.only) - known
    if missing:
        raise CatalogError(f"{request.catalog}: no row has the id {', '.join(sorted(missing))}.")
    note_begin(session.run, session.waiting)
    if not session.shards:
        note_end(session.run, Outcome())
    return session


def _survey(session: Session) -> None:
    """Find which shards have anything left, and put back folders of avatars that are finished."""
    run = session.run
    if run.options.verify == "manifest":
        session.shards = list(range(len(run.shards)))
        session.left = Counter(run.counts.unique)
        session.waiting = run.avatars
        return
    store, folder, cooks = ArtifactStore(run.library), run_folder(run.library, run.run_id), run.cooks()
    for shard in range(len(run.shards)):
        plan = Plan.of(read_shard(folder, shard), cooks)
        session.avatar_ids += [avatar.avatar_id for avatar in plan.avatars]
        finished = finished_works(plan, store, run.options)
        session.mended += undelivered(plan, store, finished)
        left = [work.stage for key, work in plan.works.items() if key not in finished]
        session.waiting += sum(not finished.keys() >= set(avatar.keys.values()) for avatar in plan.avatars)
        if left or run.options.gate is not None:  # finished avatars are held against the gate, too
            session.shards.append(shard)
            session.left.update(left)


def _rows(request: Request, preset: str) -> Iterator[CatalogRow | RejectedRow]:
    from avatar_core.bodies import body_names
    from avatar_core.config import preset_names

    if request.rows:
        return iter(request.rows)
    return read_catalog(request.catalog, presets={*preset_names(), preset}, bodies=body_names())


def start_server(session: Session) -> orchestrator.PrivateServer | None:
    """Start Prefect's private server in the background, unless the user has a server."""
    return orchestrator.begin(session.log_path.with_name("prefect-server.log"))


def load_session_models(session: Session) -> None:
    """Load the models that the run needs; meanwhile the server starts."""
    from tasks.models import load_models

    for body in {recipe.body for recipe in session.run.recipes}:
        load_models(body, session.request.encoder, session.device)


def carry_out(session: Session) -> Outcome:
    """Carry out what is left in this process, shard by shard; Prefect's API must be reachable by now."""
    from flows.run import run_here

    outcome = run_here(session.run, session.shards, session.device)
    compact_when_due(session.request.library)
    return outcome


def carry_out_on(session: Session, pool: "Pool", on_progress: "OnProgress | None" = None) -> Outcome:
    """Carry out what is left on a work pool of the server that Prefect is configured for."""
    from flows.dispatch import dispatch

    outcome = dispatch(session.run, pool, shards=session.shards, on_progress=on_progress)
    compact_when_due(session.request.library)
    return outcome


def compact_when_due(library: str) -> None:
    """Compact the manifest where it has gathered many parts."""
    compact_all(library, minimum_parts=COMPACT_AT_PARTS)
