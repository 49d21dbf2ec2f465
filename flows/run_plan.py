"""The plan of a run as files in the library: one small description, and shards of avatars as Parquet.

    runs/<run id>/plan.json               options, recipes, counts, how many shards
    runs/<run id>/shards/00000.parquet    the avatars of a shard, with the keys of their stages

Any worker carries out a shard from these alone: flow parameters hold the run's id and the shard's number, nothing else.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from avatar_core.documents import read_json, shown
from avatar_core.errors import AvatarError, ConfigError
from avatar_core.storage import Location, open_location
from flows.options import RunOptions
from flows.recipe import Cook, Recipe
from tasks.work import STAGES, Avatar

RUNS_FOLDER = "runs"
FORMAT = 1
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_TEXTS = ("avatar_id", "shape", "appearance", "motion", "preset", "body", "catalog")
SCHEMA = pa.schema(
    [
        *[pa.field(name, pa.string(), nullable=False) for name in _TEXTS],
        pa.field("line", pa.int64(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("recipe", pa.int32(), nullable=False),
        pa.field("tags", pa.list_(pa.string()), nullable=False),
        pa.field("extra", pa.string(), nullable=False),
        *[pa.field(f"{stage}_key", pa.string(), nullable=False) for stage in STAGES],
    ]
)


@dataclass(frozen=True)
class Counts:
    """What planning found, for people and for budgets."""

    rows: int = 0
    """Accepted rows."""
    rejected: int = 0
    done: int = 0
    """Accepted rows that the manifest has as finished, which no shard repeats."""
    quarantined: int = 0
    """Accepted rows that were given up after too many attempts, which no shard repeats either."""
    unique: Mapping[str, int] = field(default_factory=dict)
    """How many different results each stage has for all accepted rows."""
    near_duplicates: int = 0
    """Rows whose texts differ from an earlier row's in case, punctuation and small words alone."""


@dataclass(frozen=True)
class RunPlan:
    """What a run is to do."""

    run_id: str
    library: str
    catalog: str
    """Name of the catalog, for the manifest."""
    options: RunOptions
    recipes: tuple[Recipe, ...]
    shards: tuple[int, ...]
    """How many avatars each shard has."""
    counts: Counts

    @property
    def avatars(self) -> int:
        """How many avatars the shards have in all."""
        return sum(self.shards)

    def cooks(self) -> list[Cook]:
        """Return what turns the avatars of the shards into works.

        Raises ConfigError where this installation is not the one that planned the run: its keys would be others.
        """
        for recipe in self.recipes:
            here = recipe.here()
            for stage in STAGES:
                same = here.versions[stage] == recipe.versions[stage] and here.weights[stage] == recipe.weights[stage]
                if not same:
                    raise ConfigError(
                        f"Run {self.run_id} was planned with another version or other weights of {stage} than this "
                        "machine has. Install the same release of avatar-foundry everywhere, and run the catalog again."
                    )
        return [Cook(recipe) for recipe in self.recipes]

    def write(self) -> None:
        """Publish the description; the shards must be there by then."""
        content = {
            "format": FORMAT,
            "run_id": self.run_id,
            "catalog": self.catalog,
            "options": self.options.model_dump(mode="json"),
            "recipes": [asdict(recipe) for recipe in self.recipes],
            "shards": list(self.shards),
            "counts": asdict(self.counts),
        }
        run_folder(self.library, self.run_id).write("plan.json", json.dumps(content, indent=1).encode())


def run_folder(library: str, run_id: str) -> Location:
    """Return the folder of a run's files; raises ConfigError for an id that could lead elsewhere."""
    if not _RUN_ID.fullmatch(run_id):
        raise ConfigError(f"{shown(run_id)} is no id of a run; `avatars status` names those of the library.")
    return open_location(library).child(RUNS_FOLDER, run_id)


def read_run(library: str, run_id: str) -> RunPlan:
    """Return the plan that `RunPlan.write` wrote; raises ConfigError if there is none that can be used."""
    folder = run_folder(library, run_id)
    try:
        content = read_json(folder.read("plan.json"))
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}")
        return RunPlan(
            run_id=content["run_id"],
            library=library,
            catalog=content["catalog"],
            options=RunOptions.model_validate(content["options"]),
            recipes=tuple(Recipe(**recipe) for recipe in content["recipes"]),
            shards=tuple(content["shards"]),
            counts=Counts(**content["counts"]),
        )
    except FileNotFoundError:
        raise ConfigError(f"{folder.url} holds no plan: there is no run {run_id!r} in this library.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{folder.url}/plan.json cannot be used ({error}): plan the catalog again.") from error


def shard_name(number: int) -> str:
    """Return the file of a shard, relative to its run's folder."""
    return f"shards/{number:05d}.parquet"


def shard_lease(run_id: str, number: int) -> str:
    """Return the lease that a worker holds while it carries out a shard: how others see that it lives."""
    return f"{RUNS_FOLDER}/{run_id}/{number:05d}"


def dispatch_lease(run_id: str) -> str:
    """Return the lease that the one holds who hands out a run's shards."""
    return f"{RUNS_FOLDER}/{run_id}/dispatch"


def write_shard(folder: Location, number: int, avatars: Sequence[Avatar]) -> None:
    """Write the avatars of one shard into a run's folder."""
    columns: dict[str, list[Any]] = {name: [getattr(one, name) for one in avatars] for name in SCHEMA.names[:10]}
    columns["tags"] = [list(one.tags) for one in avatars]
    columns["extra"] = [json.dumps(dict(one.extra)) if one.extra else "" for one in avatars]
    columns |= {f"{stage}_key": [one.keys[stage] for one in avatars] for stage in STAGES}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=SCHEMA), sink, compression="zstd")
    folder.write(shard_name(number), sink.getvalue().to_pybytes())


def read_shard(folder: Location, number: int) -> list[Avatar]:
    """Return the avatars of one shard; raises AvatarError if it cannot be read."""
    try:
        table = pq.read_table(pa.BufferReader(folder.read(shard_name(number))), schema=SCHEMA)
    except (OSError, pa.ArrowException) as error:
        raise AvatarError(f"{folder.url}/{shard_name(number)} cannot be read ({error}): plan again.") from error
    return list(_avatars(table))


def _avatars(table: pa.Table) -> Iterable[Avatar]:
    for row in table.to_pylist():
        keys = {stage: row.pop(f"{stage}_key") for stage in STAGES}
        extra = row.pop("extra")
        yield Avatar(
            **{**row, "tags": tuple(row["tags"])},
            keys=keys,
            extra=read_json(extra) if extra else {},
        )
