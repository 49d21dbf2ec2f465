"""Libraries as runs leave them, made by the planner, the store and the manifest's writer, without computing stages."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from avatar_core.catalog import CatalogRow
from avatar_core.storage import ArtifactStore
from flows.options import RunOptions
from flows.run_plan import read_shard, run_folder
from flows.session import Request, Session, new_run_id, prepare
from tasks.failures import Failure
from tasks.publishing import manifest_writer, publish_failure, publish_result
from tasks.work import STAGES, Avatar, Place

DIVERGED = Failure("texturing", "DivergenceError", "the loss is not finite", "Give the row another seed.")


def row(avatar_id: str, seed: int | None = 5, line: int = 2, **texts: object) -> CatalogRow:
    """Return a row of a catalog."""
    found = {"shape": "a tall man", "appearance": f"a man called {avatar_id}", "motion": "walking"} | texts
    return CatalogRow(
        line=line, id=avatar_id, seed=seed, preset=None, body=None, tags=("crowd",), extra={"team": "blue"}, **found
    )


def plan(library: Path, rows: Sequence[CatalogRow], options: RunOptions | None = None, **others: object) -> Session:
    """Plan a run of rows with the preset `tiny`."""
    settings = {"catalog": "people.csv", "preset": "tiny", "device": "cpu"} | others
    request = Request(library=str(library), rows=tuple(rows), options=options or RunOptions(), **settings)
    return prepare(request, new_run_id())


def avatars(session: Session) -> list[Avatar]:
    """Return the avatars of a run's shards."""
    folder = run_folder(session.run.library, session.run.run_id)
    return [avatar for shard in range(len(session.run.shards)) for avatar in read_shard(folder, shard)]


def finish(
    session: Session,
    avatar: Avatar,
    stages: Sequence[str] = STAGES,
    files: Mapping[str, bytes] = MappingProxyType({"result.txt": b"made"}),
    **meta: object,
) -> None:
    """Publish results of an avatar's stages, each of the same `files`, and record them."""
    store = ArtifactStore(session.run.library)
    facts = {"seconds": 36.0, "peak_mb": 100.0, "device": "NVIDIA H100", "score": 0.25} | meta
    for stage in stages:
        work = session.run.cooks()[avatar.recipe].works(avatar)[stage]
        ref = store.publish(stage, work.key, functools.partial(_save, files), facts)
        publish_result(_place(session), work, avatar, ref, facts, computed=True)


def fail(session: Session, avatar: Avatar, failure: Failure = DIVERGED, attempt: int = 1) -> None:
    """Record that a stage of an avatar failed."""
    work = session.run.cooks()[avatar.recipe].works(avatar)[failure.stage]
    publish_failure(_place(session), work, avatar, failure, attempt=attempt)
    manifest_writer(session.run.library, session.run.run_id).flush()


def _save(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _place(session: Session) -> Place:
    return Place(session.run.library, "cpu", session.run.run_id)
