"""One run of a catalog in this process: read, plan, see what is left, and carry that out."""

import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from avatar_core.catalog import CatalogRow, RejectedRow, read_catalog
from avatar_core.errors import CatalogError, ConfigError
from avatar_core.manifest import ManifestRecord, ManifestWriter, compact, read_latest, rejections
from avatar_core.storage import ArtifactRef, ArtifactStore, open_location
from flows import orchestrator
from flows.plan import Plan, PlanOptions, plan_catalog
from flows.resume import finished_works, undelivered
from tasks.work import StageWork

if TYPE_CHECKING:
    from flows.generate import Outcome

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
    """A planned run."""

    request: Request
    run_id: str
    device: str
    preset: str
    plan: Plan
    finished: dict[str, ArtifactRef] = field(default_factory=dict)
    """The plan's results that the library has, by key."""
    mended: list[str] = field(default_factory=list)
    """Avatars whose folder was put back from the store."""

    @property
    def left(self) -> list[StageWork]:
        """What has to be computed."""
        return [work for key, work in self.plan.works.items() if key not in self.finished]

    @property
    def log_path(self) -> Path:
        """The run's log file: in the library if that is local, else in the cache."""
        return log_path(self.request.library, self.run_id)


def new_run_id() -> str:
    """Return a name for a run that sorts by time: 20260102-030405-1a2b3c."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"


def log_path(library: str, run_id: str) -> Path:
    """Return where a run's log goes: into the library if that is local, else into the cache."""
    location = open_location(library)
    folder = location.path("runs") if location.is_local else orchestrator.cache_home() / "runs"
    return folder / run_id / "run.log"


def resolve_device(device: str) -> str:
    """Return `cpu` or a CUDA device; `auto` takes CUDA where there is one. Raises ConfigError."""
    import torch

    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return device
    kind, _, index = device.partition(":")
    if kind != "cuda" or not (index.isdecimal() or index == ""):
        raise ConfigError(f"--device {device!r} is none of auto, cpu, cuda and cuda:N.")
    count = torch.cuda.device_count()
    if int(index or 0) >= count:
        raise ConfigError(f"--device {device}: this machine has {count} usable CUDA devices. Use --device cpu.")
    return f"cuda:{int(index or 0)}"


def check_catalog(request: Request) -> None:
    """Raise CatalogError unless the catalog opens and has a header, before anything is made for it."""
    if not request.rows:
        rows = read_catalog(request.catalog)
        next(rows, None)
        rows.close()  # type: ignore[attr-defined]


def prepare(request: Request, run_id: str) -> Session:
    """Read and plan what was asked for and find what the library has; write rejections to the manifest.

    Raises CatalogError, ConfigError and WeightsError; nothing was computed then.
    """
    from avatar_core.config import DEFAULT_PRESETS

    device = resolve_device(request.device)
    preset = request.preset or DEFAULT_PRESETS[device.partition(":")[0]]
    options = PlanOptions(preset=preset, encoder=request.encoder, catalog=request.catalog_name)
    plan = plan_catalog(_rows(request, preset), options, only=request.only, limit=request.limit)
    missing = set(request.only) - {row.id for row in plan.rejected} - {avatar.avatar_id for avatar in plan.avatars}
    if missing:
        raise CatalogError(f"{request.catalog}: no row has the id {', '.join(sorted(missing))}.")
    session = Session(request, run_id, device, preset, plan)
    record_catalog(session)
    store = ArtifactStore(request.library)
    session.finished = finished_works(plan, store)
    session.mended = undelivered(plan, store, session.finished)
    return session


def _rows(request: Request, preset: str) -> Iterator[CatalogRow | RejectedRow]:
    from avatar_core.bodies import BODY_NAMES
    from avatar_core.config import preset_names

    if request.rows:
        return iter(request.rows)
    return read_catalog(request.catalog, presets={*preset_names(), preset}, bodies=BODY_NAMES)


def record_catalog(session: Session) -> None:
    """Write to the manifest what the catalog's rows are, as far as it does not say so already."""
    request, plan = session.request, session.plan
    name = request.catalog_name
    latest = read_latest(request.library)
    known = {
        (row["avatar_id"], row["seed"], row["shape"], row["appearance"], row["motion"], row["preset"], row["line"])
        for row in latest.to_pylist()
        if row["status"] == "accepted"
    }
    records = []
    for avatar in plan.avatars:
        facts = (avatar.seed, avatar.shape, avatar.appearance, avatar.motion, avatar.preset, avatar.line)
        if (avatar.avatar_id, *facts) not in known:
            records.append(
                ManifestRecord(
                    avatar_id=avatar.avatar_id,
                    stage="catalog",
                    status="accepted",
                    catalog=name,
                    line=avatar.line,
                    seed=avatar.seed,
                    shape=avatar.shape,
                    appearance=avatar.appearance,
                    motion=avatar.motion,
                    preset=avatar.preset,
                    body=avatar.body,
                    tags=avatar.tags,
                    extra=avatar.extra,
                )
            )
    stood = name in rejections(latest)["catalog"].to_pylist()
    if request.whole and (plan.rejected or stood):
        records.append(ManifestRecord.catalog_read(name))
        records.extend(ManifestRecord.rejected(row, catalog=name) for row in plan.rejected)
    with ManifestWriter(request.library, session.run_id) as writer:
        writer.append(records)


def start_server(session: Session) -> orchestrator.PrivateServer | None:
    """Start Prefect's private server in the background, unless the user has a server."""
    return orchestrator.begin(session.log_path.with_name("prefect-server.log"))


def load_session_models(session: Session) -> None:
    """Load the models that the run needs; meanwhile the server starts."""
    from tasks.models import load_models

    for body in {work.body for work in session.left}:
        load_models(body, session.request.encoder, session.device)


def carry_out(session: Session) -> "Outcome":
    """Run the flow on what is left; Prefect's API must be reachable by now."""
    from flows.generate import generate_catalog, plan_uri

    uri = plan_uri(session.run_id)
    open_location(session.request.library).write(uri, session.plan.encode())
    outcome = generate_catalog(uri, session.request.library, session.device, session.run_id)
    compact(session.request.library, minimum_parts=COMPACT_AT_PARTS)
    return outcome
