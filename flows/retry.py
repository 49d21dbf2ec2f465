"""What failed, or a reviewer wants from another seed, as requests to make it again: rows from the manifest, settings
from the runs that made it last.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from avatar_core.catalog import CatalogRow
from avatar_core.errors import CatalogError, ConfigError
from avatar_core.manifest import read_latest, read_states
from avatar_core.manifest.schema import CATALOG_STAGE, EXPORT_STAGE, FAILED_STATUSES, FINISHED_STATUSES
from flows.options import RunOptions
from flows.quality import next_seed
from flows.recipe import Recipe
from flows.run_plan import RunPlan, read_run
from flows.session import Request

_COLUMNS = (
    "avatar_id", "stage", "status", "catalog", "line", "seed", "shape", "appearance", "motion", "preset", "body",
    "tags", "extra", "run_id", "recorded_at",
)  # fmt: skip


@dataclass(frozen=True)
class Choices:
    """What a user wants otherwise than in the run before."""

    preset: str | None = None
    encoder: str | None = None
    device: str = "auto"
    new_seed: bool = False
    requested: bool = False
    """Make what reviewers asked to have from a new seed, instead of what failed."""


def retry_requests(library: str, avatar_ids: Collection[str], choices: Choices) -> list[Request]:
    """Return requests that make failed avatars again, those in quarantine too: all, or those of `avatar_ids`.

    One request for each catalog and each way of making that occurs. An avatar is made as in the run in which it failed
    last, as far as `choices` say nothing else; with `new_seed` from the seed after those that were tried. With
    `requested`, those that reviewers want from a new seed are made so, as in the run in which they were made last.

    Raises CatalogError for an avatar that did not fail, or that nobody asked for, ConfigError where a run's plan is
    gone or cannot be used.
    """
    wanted = (_requested if choices.requested else _failed)(library, avatar_ids)
    records: dict[str, list[dict[str, Any]]] = {avatar_id: [] for avatar_id in wanted}
    for record in read_latest(library, columns=_COLUMNS, avatar_ids=wanted).to_pylist():
        records[record["avatar_id"]].append(record)
    plans: dict[str, RunPlan] = {}
    requests: list[Request] = []
    for avatar_id in wanted:
        row, catalog, run_id = _row(library, avatar_id, records[avatar_id], choices)
        if run_id not in plans:
            plans[run_id] = read_run(library, run_id)
        _add(requests, _request(library, plans[run_id], row, catalog, choices))
    return requests


def _failed(library: str, avatar_ids: Collection[str]) -> list[str]:
    """Return the ids of the avatars that failed, sorted; raises CatalogError where one of `avatar_ids` did not."""
    known = _known(library, avatar_ids, "state")
    for avatar_id in avatar_ids:
        if known[avatar_id] != "failed":
            raise CatalogError(
                f"{avatar_id} did not fail, it is {known[avatar_id]}: `avatars run` makes what is unfinished, and a "
                "changed row or seed in the catalog makes another avatar."
            )
    return sorted(avatar_id for avatar_id, state in known.items() if state == "failed")


def _requested(library: str, avatar_ids: Collection[str]) -> list[str]:
    """Return the ids of the avatars that a reviewer wants from a new seed, sorted; raises CatalogError where nobody
    asked for one of `avatar_ids`.
    """
    known = _known(library, avatar_ids, "review")
    for avatar_id in avatar_ids:
        if known[avatar_id] != "requested":
            raise CatalogError(
                f"Nobody asked to have {avatar_id} from a new seed, or it was made since: ask for it in "
                "`avatars gallery`."
            )
    return sorted(avatar_id for avatar_id, review in known.items() if review == "requested")


def _known(library: str, avatar_ids: Collection[str], column: str) -> dict[str, str | None]:
    """Return a column of the states by avatar, of all or of `avatar_ids`; raises CatalogError where there is no such
    avatar.
    """
    states = read_states(library, columns=("avatar_id", column), avatar_ids=avatar_ids or None)
    known = dict(zip(states["avatar_id"].to_pylist(), states[column].to_pylist()))
    for avatar_id in avatar_ids:
        if avatar_id not in known:
            raise CatalogError(
                f"The library {library} has no avatar {avatar_id!r}; `avatars status` lists those it has."
            )
    return known


def _row(
    library: str, avatar_id: str, records: list[dict[str, Any]], choices: Choices
) -> tuple[CatalogRow, str, str]:
    """Return an avatar's row, its catalog, and the run in which it failed or was finished last."""
    accepted = [one for one in records if one["stage"] == CATALOG_STAGE and one["status"] == "accepted"]
    ends = [one for one in records if one["status"] in FAILED_STATUSES or (choices.requested and _is_export(one))]
    if not accepted or not ends:
        raise CatalogError(
            f"The manifest of {library} does not say what row {avatar_id} was: run its catalog again with "
            f"--only {avatar_id}."
        )
    row, anew = accepted[0], choices.new_seed or choices.requested
    seed = next_seed(max(one["seed"] or 0 for one in records)) if anew else row["seed"]
    last = max(ends, key=lambda one: one["recorded_at"])
    rebuilt = CatalogRow(
        line=row["line"],
        id=avatar_id,
        shape=row["shape"],
        appearance=row["appearance"],
        motion=row["motion"],
        seed=seed,
        preset=row["preset"] if choices.preset is None else None,
        body=row["body"],
        tags=tuple(row["tags"]),
        extra=json.loads(row["extra"]) if row["extra"] else {},
    )
    return rebuilt, row["catalog"] or "", last["run_id"]


def _is_export(record: Mapping[str, Any]) -> bool:
    return record["stage"] == EXPORT_STAGE and record["status"] in FINISHED_STATUSES


def _request(library: str, plan: RunPlan, row: CatalogRow, catalog: str, choices: Choices) -> Request:
    recipe = _recipe(plan, row, choices)
    return Request(
        library=library,
        catalog=catalog,
        rows=(row,),
        preset=choices.preset or row.preset,
        encoder=choices.encoder or plan.recipes[0].encoder,
        device=choices.device,
        options=_options(plan.options),
        recipes=() if recipe is None else (recipe,),
    )


def _recipe(plan: RunPlan, row: CatalogRow, choices: Choices) -> Recipe | None:
    """Return how a row was made, with the stages and weights of this installation; None where the user says how."""
    if choices.preset is not None:
        return None
    for recipe in plan.recipes:
        if (recipe.preset, recipe.body) == (row.preset, row.body):
            return replace(recipe, encoder=choices.encoder or recipe.encoder).here()
    raise ConfigError(
        f"{row.id} is to be made by preset {row.preset} by now, which run {plan.run_id}, its last one, did not "
        "use: give --preset, or run its catalog again."
    )


def _options(options: RunOptions) -> RunOptions:
    """Return a run's settings for trying again: without its budget, checked and cut up by the number of rows."""
    changes = {"retry": True, "verify": "auto", "micro_batch": None, "max_avatars": None, "max_gpu_hours": None}
    return options.model_copy(update=changes | {"remake_before": None})


def _add(requests: list[Request], request: Request) -> None:
    """Add a row's request to the one that is alike but for its rows and recipes, if there is any."""
    for index, other in enumerate(requests):
        mixed = _mixed(other.recipes, request.recipes)
        if mixed is not None and replace(other, rows=(), recipes=(), preset=None) == replace(
            request, rows=(), recipes=(), preset=None
        ):
            requests[index] = replace(other, rows=(*other.rows, *request.rows), recipes=mixed)
            return
    requests.append(request)


def _mixed(some: Iterable[Recipe], others: Iterable[Recipe]) -> tuple[Recipe, ...] | None:
    """Return the recipes of both, each once; None where they make the same preset and body differently."""
    found = {(recipe.preset, recipe.body): recipe for recipe in some}
    for recipe in others:
        if found.setdefault((recipe.preset, recipe.body), recipe) != recipe:
            return None
    return tuple(found.values())
