"""What of a plan is left to do, by looking at the store: the one place that decides what is finished."""

from datetime import datetime

from avatar_core.manifest import attempts, read_latest
from avatar_core.manifest.schema import FINISHED_STATUSES
from avatar_core.storage import ArtifactRef, ArtifactStore
from avatar_core.storage.store import Verify
from flows.delivery import deliver
from flows.options import RunOptions
from flows.plan import Plan


def finished_works(plan: Plan, store: ArtifactStore, options: RunOptions) -> dict[str, ArtifactRef]:
    """Return the references of the plan's results that are in the store, intact, and up to date, by key.

    `options.verify` says how they are checked: "digest" for their content, anything else for presence and sizes. A
    result whose inputs have to be computed again, or that was made before `options.remake_before`, is computed again.
    It is deleted here, before anything else happens, so that a kill between two computations cannot leave it behind as
    finished.
    """
    how: Verify = "digest" if options.verify == "digest" else "sizes"
    finished: dict[str, ArtifactRef] = {}
    for key, work in plan.works.items():  # inputs come before what reads them
        ref = store.find(work.stage, key, verify=how)
        if ref is None:
            continue
        current = all(upstream in finished for upstream in work.upstream.values())
        if current and not _too_old(store, ref, options.remake_before):
            finished[key] = ref
        else:
            store.delete(ref)
    return finished


def _too_old(store: ArtifactStore, ref: ArtifactRef, limit: datetime | None) -> bool:
    """Tell whether a result was made before `limit`; one that does not say when it was made is old."""
    if limit is None:
        return False
    made = store.read_meta(ref).get("made_at")
    return made is None or datetime.fromisoformat(made) < limit


Identity = tuple[str, str, str]
"""An avatar's id, a stage and a key."""


def recorded_results(plan: Plan, library: str) -> tuple[set[Identity], dict[Identity, int]]:
    """Return what the manifest has as finished for the plan's avatars, and how often each result was tried."""
    ids = [avatar.avatar_id for avatar in plan.avatars]
    rows = read_latest(library, columns=("avatar_id", "stage", "key", "status"), avatar_ids=ids).to_pylist()
    finished = {
        (row["avatar_id"], row["stage"], row["key"]) for row in rows if row["status"] in FINISHED_STATUSES
    }
    return finished, attempts(library, ids)


def undelivered(plan: Plan, store: ArtifactStore, finished: dict[str, ArtifactRef]) -> list[str]:
    """Return the ids of the avatars whose export is finished but whose folder is not up to date; mends it."""
    ready = [avatar for avatar in plan.avatars if avatar.keys["export"] in finished]
    return [avatar.avatar_id for avatar in ready if deliver(store, finished[avatar.keys["export"]], avatar.avatar_id)]
