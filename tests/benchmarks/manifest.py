"""Measure the manifest at the size of a large library: writing, compaction, size on disk, queries.

The records are made up; everything else is the product's own writer, compaction and reader. Every step runs in a
process of its own, with one thread, so that its processor seconds and its peak of memory are its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from avatar_core.manifest import (
    attempts,
    compact,
    read_costs,
    read_latest,
    read_states,
    read_summary,
    references,
    roll_up,
)
from avatar_core.manifest.layout import MANIFEST_FOLDER
from tasks.measuring import peak_memory_mb

from .figures import Figure, table
from .synthetic_manifest import Synthetic

EXAMPLES = """examples:
  a million avatars (about a quarter of an hour on one core):
      python -m tests.benchmarks.manifest --rows 1000000 --out manifest.json
  ids in random order, the worst case for files that are sorted by id:
      python -m tests.benchmarks.manifest --rows 1000000 --random-ids
"""
STATE_COLUMNS = ("avatar_id", "state", "stage", "stages_done", "error_stage", "error_kind", "updated_at", "score")
"""What tells where avatars are, without their texts."""


@dataclass(frozen=True)
class Measured:
    """What one step cost."""

    result: Any
    wall: float
    cpu: float
    peak_mb: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    synthetic = Synthetic(options.rows, options.seed, options.random_ids)
    with tempfile.TemporaryDirectory(prefix="manifest-") as temporary:
        figures = measure(str(options.library or temporary), synthetic)
    Console(width=None if sys.stdout.isatty() else 140).print(table(figures, _title(options)))
    if options.out is not None:
        result = {"machine": _machine(), "settings": vars(options) | {"out": None, "library": None}}
        result["figures"] = [figure.to_json() for figure in figures]
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def measure(library: str, synthetic: Synthetic) -> list[Figure]:
    """Return the figures of a new manifest in `library`."""
    some_id = synthetic.avatar_id(synthetic.avatars // 2)
    some_ids = [synthetic.avatar_id(number) for number in range(0, synthetic.avatars, max(synthetic.avatars // 100, 1))]
    figures: list[Figure] = []

    def step(part: str, name: str, act: Callable[..., Any], *arguments: Any, note: str = "") -> Any:
        print(f"{part}: {name}", file=sys.stderr, flush=True)
        measured = _apart(act, *arguments)
        for unit, value in (("s wall", measured.wall), ("s cpu", measured.cpu), ("MiB peak", measured.peak_mb)):
            figures.append(Figure(part, name, value, unit, note=note))
        return measured.result

    if _files(library):
        rows = pq.ParquetDataset(_files(library)).read(["sequence"]).num_rows
    else:
        rows = step("write", "all records", _write, synthetic, library)
    figures.append(Figure("write", "records", rows, "rows"))
    figures.append(Figure("write", "parts", len(_files(library)), "files"))
    figures.append(Figure("write", "parts on disk", _bytes(library) / rows, "B/row"))
    kept = step("compaction", "of everything", _compact, library)
    size = _bytes(library)
    figures.append(Figure("compaction", "records kept", kept, "rows"))
    figures.append(Figure("compaction", "files afterwards", len(_files(library)), "files"))
    figures.append(Figure("compaction", "size on disk", size / 1e6, "MB"))
    figures.append(Figure("compaction", "size on disk", size / kept, "B/row"))
    states = step("query", "states of all avatars", _states, library, note="read_states, every column")
    assert states == synthetic.avatars, states
    step("query", "where all avatars are", _states, library, None, STATE_COLUMNS, note="read_states, no texts")
    step("query", "summary of all avatars", _summary, library, note="read_summary")
    step("query", "latest records of one avatar", _latest, library, [some_id])
    step("query", "states of 100 avatars", _states, library, some_ids)
    step("query", "attempts at one shard", _attempts, library, [synthetic.avatar_id(n) for n in range(1000)])
    step("query", "costs", _costs, library, note="read_costs and three roll-ups")
    step("query", "references", _references, library)
    _write_again(synthetic, library)
    step("after a new shard", "states of all avatars", _states, library)
    step("after a new shard", "where all avatars are", _states, library, None, STATE_COLUMNS)
    step("after a new shard", "summary of all avatars", _summary, library)
    step("after a new shard", "compaction", _compact, library)
    return figures


def _write(synthetic: Synthetic, library: str) -> int:
    return synthetic.write(library)


def _write_again(synthetic: Synthetic, library: str) -> None:
    """Write one shard a second time, as a later run would."""
    Synthetic(min(synthetic.avatars, 1000), synthetic.seed + 1, synthetic.random_ids).write(library)


def _compact(library: str) -> int:
    return compact(library, grace_seconds=0).records


def _states(
    library: str, avatar_ids: Sequence[str] | None = None, columns: Sequence[str] | None = None
) -> int:
    return read_states(library, avatar_ids=avatar_ids, columns=columns).num_rows


def _summary(library: str) -> int:
    return sum(read_summary(library).states.values())


def _latest(library: str, avatar_ids: Sequence[str]) -> int:
    return read_latest(library, avatar_ids=avatar_ids).num_rows


def _attempts(library: str, avatar_ids: Sequence[str]) -> int:
    return len(attempts(library, avatar_ids))


def _costs(library: str) -> int:
    costs = read_costs(library)
    return sum(roll_up(costs, by).num_rows for by in ((), ("stage",), ("device", "run_id")))


def _references(library: str) -> int:
    return len(references(library))


def _apart(act: Callable[..., Any], *arguments: Any) -> Measured:
    """Return what `act` cost in a new process with one thread; its modules are loaded before the clock starts."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_timed, args=(sender, act, arguments))
    process.start()
    sender.close()
    try:
        return Measured(*receiver.recv())
    finally:
        process.join()


def _timed(sender: Any, act: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    wall, cpu = time.perf_counter(), time.process_time()
    result = act(*arguments)
    sender.send((result, time.perf_counter() - wall, time.process_time() - cpu, peak_memory_mb()))


def _files(library: str) -> list[Path]:
    return list((Path(library) / MANIFEST_FOLDER).glob("*.parquet"))


def _bytes(library: str) -> int:
    return sum(path.stat().st_size for path in _files(library))


def _machine() -> dict[str, Any]:
    import torch

    from .machine import machine_facts

    return machine_facts(torch.device("cpu"))


def _title(options: argparse.Namespace) -> str:
    return f"manifest of {options.rows:,} avatars, ids {'in random order' if options.random_ids else 'in order'}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.manifest",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rows", type=int, default=1_000_000, help="avatars, each with about seven records (default: %(default)s)")
    add("--random-ids", action="store_true", help="ids that are not in the order in which avatars are made")
    add("--seed", type=int, default=0, help="of the records (default: %(default)s)")
    add("--library", type=Path, help="library to write to and to keep; parts that it has already are not written again")
    add("--out", type=Path, help="JSON file to write")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
