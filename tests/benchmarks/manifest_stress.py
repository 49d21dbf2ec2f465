"""Writers, compactions and readers on one manifest at once, on a storage that fails; is every record there once?

Writers tell how far they are only after a flush succeeded; a reader notes that first and must then find every record
up to there, none twice, no gap, and no older record in place of a newer one. Each of them is a process of its own, one
writer's clock is an hour behind, and on local storage one compaction's clock is an hour ahead. Now and then writers
wait until something was compacted and read, so that slow compactions and readings get their share.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from avatar_core.errors import ManifestError
from avatar_core.manifest import ManifestRecord, ManifestWriter, compact, compaction, read_latest, read_states

from .flaky_storage import PROTOCOL, FlakyFileSystem

EXAMPLES = """examples:
  the full test, some minutes on two cores:
      python -m tests.benchmarks.manifest_stress --out stress.json
  a short one, without errors, on plain files:
      python -m tests.benchmarks.manifest_stress --writers 4 --flushes 100 --storage local
"""

SKEW = timedelta(hours=1)
PATIENCE = 600.0
"""Seconds without a compaction, or without a reading, after which writers take it that there will be none."""
HEAD = "head"
"""Suffix of the one avatar of each writer whose record every flush replaces."""


@dataclass(frozen=True)
class Trial:
    """What is done to which manifest."""

    library: str
    flushes: int
    rows: int
    """New avatars a flush; the head's record comes on top."""
    error_rate: float
    grace_seconds: float
    rounds: int
    """As often writers wait for another compaction and another reading."""
    seed: int


class Progress:
    """What the processes know of one another."""

    def __init__(self, context: Any, writers: int) -> None:
        self.written = context.Array("l", writers)
        """Flushes that each writer has surely made."""
        self.over = context.Event()
        """Whether all writers have ended."""
        self.said = context.Queue()
        self._changed = context.Condition()
        self._done = context.Array("l", 2)

    @property
    def goes_on(self) -> bool:
        """Whether writers are still at work, and the command that started all of them."""
        parent = multiprocessing.parent_process()
        return not self.over.is_set() and (parent is None or parent.is_alive())

    def count(self, kind: int) -> None:
        """Tell of a compaction (0) or a reading (1) that did not fail."""
        with self._changed:
            self._done[kind] += 1
            self._changed.notify_all()

    def wait(self, least: int) -> bool:
        """Wait until there were so many of either, or all is over; False if neither comes."""
        with self._changed:
            return self._changed.wait_for(lambda: min(self._done) >= least or self.over.is_set(), PATIENCE)

    def end(self) -> None:
        """Let everybody come to an end."""
        with self._changed:
            self.over.set()
            self._changed.notify_all()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 if nothing was lost, doubled or torn."""
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="stress-") as folder:
        flaky = options.storage == PROTOCOL
        library = f"{PROTOCOL}://{folder}/library" if flaky else f"{folder}/library"
        rate = options.error_rate if flaky else 0.0
        trial = Trial(library, options.flushes, options.rows, rate, options.grace, options.rounds, options.seed)
        result = run(trial, options.writers, options.compactors, options.readers)
    text = json.dumps({"settings": {**vars(options), "out": None}, **result}, indent=1)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0 if result["whole"] else 1


def run(trial: Trial, writers: int, compactors: int, readers: int) -> dict[str, Any]:
    """Let all work at once and return what they say, and whether the manifest is whole afterwards."""
    context = multiprocessing.get_context("spawn")
    progress = Progress(context, writers)
    workers = {_write: writers, _compact: compactors, _read: readers}
    begun = time.perf_counter()
    tasks = [(act, number) for act, count in workers.items() for number in range(count)]
    processes = [context.Process(target=_work, args=(*task, trial, progress), daemon=True) for task in tasks]
    for process in processes:
        process.start()
    reports: list[dict[str, Any]] = []
    while sum("flushes" in report["counts"] for report in reports) < writers:
        reports.append(progress.said.get())
        if reports[-1]["problems"]:
            break
    progress.end()
    reports += [progress.said.get() for _ in range(len(processes) - len(reports))]
    for process in processes:
        process.join()
    seconds = time.perf_counter() - begun
    problems = [problem for report in reports for problem in report["problems"]]
    compact(trial.library, grace_seconds=0)
    problems += check(trial.library, [trial.flushes] * writers, trial.rows)
    return {
        "whole": not problems,
        "problems": problems[:20],
        "seconds": round(seconds, 1),
        "records": read_latest(trial.library, columns=["avatar_id"]).num_rows,
        "counts": dict(sum((Counter(report["counts"]) for report in reports), Counter())),
        "last errors": [report["last error"] for report in reports if report.get("last error")],
    }


def check(library: str, flushed: Sequence[int], rows: int) -> list[str]:
    """Return what is wrong with the manifest, given how many flushes each writer has surely made.

    Raises ManifestError if it cannot be read.
    """
    table = read_latest(library, columns=["avatar_id", "line"])
    records = dict(zip(table["avatar_id"].to_pylist(), table["line"].to_pylist()))
    problems = [] if len(records) == table.num_rows else [f"{table.num_rows - len(records)} records are there twice"]
    states = read_states(library, columns=["avatar_id"])["avatar_id"].to_pylist()
    known = set(states)
    if len(known) != len(states):
        problems.append(f"{len(states) - len(known)} states are there twice")
    found = Counter(name.partition("-")[0] for name in records if not name.endswith(HEAD))
    for writer, least in enumerate(flushed):
        count = found[f"w{writer}"]
        if least == 0 and count == 0:
            continue
        if count % rows or count < least * rows:
            problems.append(f"w{writer}: {count} records after {least} flushes of {rows}")
        missing = [number for number in range(count) if _avatar(writer, number) not in records]
        if missing:
            problems.append(f"w{writer}: {missing[:3]} are missing though later ones are there")
        head = records.get(f"w{writer}-{HEAD}")
        if head is None or head * rows != count:
            problems.append(f"w{writer}: its last record is of flush {head} of {count / rows}")
        if not known >= {_avatar(writer, number) for number in range(least * rows)}:
            problems.append(f"w{writer}: a state is missing")
    return problems


def _work(act: Callable[..., dict[str, Any]], number: int, trial: Trial, progress: Progress) -> None:
    """Report what `act` reports, or why it could not."""
    try:
        report = act(trial, progress, number)
    except Exception:
        report = {"problems": [traceback.format_exc()], "counts": {}}
    progress.said.put(report)


def _write(trial: Trial, progress: Progress, number: int) -> dict[str, Any]:
    _inject(trial, number)
    if number == 0:
        true_time = time.time_ns
        time.time_ns = lambda: true_time() - SKEW // timedelta(microseconds=1) * 1000
    writer = ManifestWriter(trial.library, f"run-{number % 2}")
    failures = 0
    for flush in range(trial.flushes):
        if not progress.wait(flush * trial.rounds // trial.flushes):
            return {"problems": [f"nothing was compacted, or nothing read, in {PATIENCE:.0f} s"], "counts": {}}
        for row in range(trial.rows):
            writer.append(ManifestRecord(_avatar(number, flush * trial.rows + row), "motion", "done", key=f"{flush}"))
        writer.append(ManifestRecord(f"w{number}-{HEAD}", "motion", "done", key="k", line=flush + 1))
        while writer.held:
            try:
                writer.flush()
            except ManifestError:
                failures += 1
        progress.written[number] = flush + 1
    counts = {"flushes": trial.flushes, "failed flushes": failures, "injected errors": FlakyFileSystem.errors}
    return {"problems": [], "counts": counts}


def _compact(trial: Trial, progress: Progress, number: int) -> dict[str, Any]:
    logging.getLogger("avatar_core").setLevel(logging.ERROR)  # what cannot be deleted now is no news here
    _inject(trial, 1000 + number)
    if number == 1 and not trial.library.startswith(PROTOCOL):
        compaction.datetime = _FastClock
    counts: Counter[str] = Counter()
    last_error = ""
    while progress.goes_on:
        try:
            done = compact(trial.library, grace_seconds=trial.grace_seconds, maximum_parts=200, rows_per_file=5000)
        except ManifestError as error:
            counts["failed compactions"] += 1
            last_error = str(error)
            continue
        counts["compactions that published" if done.merged_files else "compactions that did not"] += 1
        counts["deleted files"] += done.deleted_files
        progress.count(0)  # also if it had nothing to do: one that failed in the end may have published before
    return {"problems": [], "counts": counts | {"injected errors": FlakyFileSystem.errors}, "last error": last_error}


def _read(trial: Trial, progress: Progress, number: int) -> dict[str, Any]:
    _inject(trial, 2000 + number)
    counts: Counter[str] = Counter()
    problems: list[str] = []
    last_error = ""
    while progress.goes_on:
        flushed = list(progress.written)
        try:
            problems += check(trial.library, flushed, trial.rows)
            counts["readings"] += 1
            progress.count(1)
        except ManifestError as error:
            counts["failed readings"] += 1
            last_error = str(error)
            if "injected" not in str(error) and not trial.error_rate:
                problems.append(str(error))
    counts["injected errors"] = FlakyFileSystem.errors
    return {"problems": problems, "counts": counts, "last error": last_error}


def _inject(trial: Trial, number: int) -> None:
    FlakyFileSystem.error_rate = trial.error_rate
    FlakyFileSystem.generator = random.Random(trial.seed * 10_000 + number)


def _avatar(writer: int, number: int) -> str:
    return f"w{writer}-{number:06d}"


class _FastClock(datetime):
    """The time of a machine whose clock is ahead."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        """Return the wrong time."""
        return datetime.now(tz) + SKEW


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.manifest_stress",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--writers", type=int, default=8, help="processes that write (default: %(default)s)")
    add("--flushes", type=int, default=1000, help="of each writer (default: %(default)s)")
    add("--rows", type=int, default=3, help="new avatars a flush (default: %(default)s)")
    add("--compactors", type=int, default=2, help="processes that compact all the while (default: %(default)s)")
    add("--readers", type=int, default=2, help="processes that read all the while (default: %(default)s)")
    add("--error-rate", type=float, default=0.1, help="of the flaky storage's operations (default: %(default)s)")
    add("--rounds", type=int, default=20, help="times that writers wait for the others (default: %(default)s)")
    add("--grace", type=float, default=2.0, help="seconds that replaced files stay (default: %(default)s)")
    add("--storage", choices=[PROTOCOL, "local"], default=PROTOCOL, help="default: %(default)s")
    add("--seed", type=int, default=0, help="of the injected errors (default: %(default)s)")
    add("--out", type=Path, help="JSON file to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
