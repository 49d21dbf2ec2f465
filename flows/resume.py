"""What of a plan is left to do, by looking at the store: the one place that decides what is finished."""

from avatar_core.manifest import read_latest
from avatar_core.manifest.schema import FINISHED_STATUSES
from avatar_core.storage import ArtifactRef, ArtifactStore
from flows.delivery import deliver
from flows.plan import Plan


def finished_works(plan: Plan, store: ArtifactStore) -> dict[str, ArtifactRef]:
    """Return the references of the plan's results that are in the store, intact, and up to date, by key.

    A result whose inputs have to be computed again is computed again too. It is deleted here, before anything else
    happens, so that a kill between the two computations cannot leave it behind as finished.
    """
    finished: dict[str, ArtifactRef] = {}
    for key, work in plan.works.items():  # inputs come before what reads them
        ref = store.find(work.stage, key)
        if ref is None:
            continue
        if all(upstream in finished for upstream in work.upstream.values()):
            finished[key] = ref
        else:
            store.delete(ref)
    return finished


def recorded_results(plan: Plan, library: str) -> set[tuple[str, str, str]]:
    """Return (avatar id, stage, key) of the results that the manifest has as finished, for the plan's avatars."""
    ids = [avatar.avatar_id for avatar in plan.avatars]
    table = read_latest(library, columns=("avatar_id", "stage", "key", "status"), avatar_ids=ids)
    return {
        (row["avatar_id"], row["stage"], row["key"]) for row in table.to_pylist() if row["status"] in FINISHED_STATUSES
    }


def undelivered(plan: Plan, store: ArtifactStore, finished: dict[str, ArtifactRef]) -> list[str]:
    """Return the ids of the avatars whose export is finished but whose folder is not up to date; mends it."""
    ready = [avatar for avatar in plan.avatars if avatar.keys["export"] in finished]
    return [avatar.avatar_id for avatar in ready if deliver(store, finished[avatar.keys["export"]], avatar.avatar_id)]
