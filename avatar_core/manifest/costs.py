"""What a library cost: seconds, memory and bytes of the computations in its manifest, summed up by several criteria."""

import os
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from avatar_core.errors import ConfigError
from avatar_core.manifest.pieces import retained
from avatar_core.manifest.view import View, reading

CRITERIA = ("stage", "device", "run_id", "catalog")
"""What costs can be told apart by."""

COST_SCHEMA = pa.schema(
    {
        **dict.fromkeys(CRITERIA, pa.string()),
        "computations": pa.int64(),
        "seconds": pa.float64(),
        "gpu_seconds": pa.float64(),
        "peak_mb": pa.float64(),
        "bytes": pa.int64(),
    }
)
"""Units: seconds of wall time; gpu_seconds those on devices other than `cpu`; peak_mb the largest, in MiB; bytes of
the results.
"""

_SUMS = ("computations", "seconds", "gpu_seconds", "bytes")
_READ = (*CRITERIA, "status", "seconds", "peak_mb", "bytes")


def read_costs(library_url: str | os.PathLike[str]) -> pa.Table:
    """Return the costs of all computations by stage, device, run and catalog, as COST_SCHEMA; `roll_up` sums them up.

    A computation is a record with status `done`, counted once for each avatar, stage and key; what was found finished
    (`cached`) or failed costs nothing here. Holds one piece of the manifest in memory at a time. Raises ManifestError
    and ConfigError as `read_latest` does.
    """
    return reading(library_url, _read_costs)


def roll_up(costs: pa.Table, by: Sequence[str] = ()) -> pa.Table:
    """Return costs summed up by some of CRITERIA, sorted by them; by none: one row with the total.

    Raises ConfigError for anything else.
    """
    unknown = set(by) - set(CRITERIA)
    if unknown:
        raise ConfigError(f"Costs cannot be summed up by {', '.join(sorted(unknown))}: use {', '.join(CRITERIA)}.")
    sums = costs.group_by(list(by)).aggregate([*((name, "sum") for name in _SUMS), ("peak_mb", "max")])
    named = {name: sums[name] for name in by}
    named |= {name: pc.fill_null(sums[f"{name}_sum"], 0) for name in _SUMS} | {"peak_mb": sums["peak_mb_max"]}
    ordered = pa.table({name: named[name] for name in COST_SCHEMA.names if name in named})
    return ordered.sort_by([(name, "ascending") for name in by]) if by else ordered


def cost(costs: pa.Table, price_per_hour: float | Mapping[str, float]) -> pa.Table:
    """Return a table of costs with the column `cost`: its hours at a price, of one machine or by device.

    Prices by device need the column device; devices without a price cost nothing. Stages that ran at the same time
    count one by one. Raises ConfigError for a price below 0, or for prices by device without that column.
    """
    prices = price_per_hour.values() if isinstance(price_per_hour, Mapping) else [price_per_hour]
    if not all(price >= 0 for price in prices):
        raise ConfigError(f"A price an hour is 0 or more, not {min(prices)}.")
    if not isinstance(price_per_hour, Mapping):
        return costs.append_column("cost", pc.multiply(costs["seconds"], price_per_hour / 3600))
    if "device" not in costs.column_names:
        raise ConfigError("Prices by device need costs by device: roll up by device too.")
    rates = pa.array([price_per_hour.get(device, 0.0) / 3600 for device in costs["device"].to_pylist()], pa.float64())
    return costs.append_column("cost", pc.multiply(costs["seconds"], rates))


def _read_costs(view: View) -> pa.Table:
    found = [COST_SCHEMA.empty_table()]
    for records in retained(view, _READ):
        found.append(roll_up(_computations(records), CRITERIA))
    return roll_up(pa.concat_tables(found), CRITERIA).cast(COST_SCHEMA)


def _computations(records: pa.Table) -> pa.Table:
    """Return the records of computations, one row each, as COST_SCHEMA."""
    done = records.filter(pc.equal(records["status"], "done"))
    on_gpu = pc.fill_null(pc.not_equal(done["device"], "cpu"), False)
    seconds = pc.fill_null(done["seconds"], 0.0)
    columns = {
        **{name: done[name] for name in (*CRITERIA, "peak_mb", "bytes")},
        "computations": pa.repeat(1, done.num_rows),
        "seconds": seconds,
        "gpu_seconds": pc.if_else(on_gpu, seconds, 0.0),
    }
    return pa.table({name: columns[name] for name in COST_SCHEMA.names}, schema=COST_SCHEMA)
