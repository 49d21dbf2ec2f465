"""Measure the gallery of a large library: from its start to its first page, searches, deep pages, reviews.

The records are made up; manifest, command and server are the product's own, and every page comes over HTTP from a
process of its own, as a browser gets it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console

from avatar_core.manifest import compact, read_states
from flows.gallery.shelf import REFRESH_SECONDS

from .figures import Figure, table
from .machine import machine_facts
from .synthetic_manifest import Synthetic

EXAMPLES = """examples:
  a library of 100,000 avatars (about three minutes, most of them for making up its records):
      python -m tests.benchmarks.gallery --out gallery.json
  the same, and keep the library for the next time:
      python -m tests.benchmarks.gallery --library /tmp/people --out gallery.json
"""
REPEATS = 5
QUERIES = {
    "two words": "q=navy+waltz",
    "a phrase that nobody has": "q=%22no+such+words%22",
    "failed at a stage": "state=failed&stage=texturing",
    "a tag, the best first": "tag=crowd&sort=score",
    "scores, newest first": "least=0.4&most=0.6&sort=newest",
    "not reviewed": "review=none",
}


@dataclass
class Visitor:
    """Somebody who opens pages, with a clock."""

    home: str
    figures: list[Figure] = field(default_factory=list)

    def time(self, part: str, name: str, address: str, note: str = "") -> bytes:
        """Open an address, note the first time and the median of those after it, and return what came first."""
        first, content = self._open(address)
        later = sorted(self._open(address)[0] for _ in range(REPEATS))
        self.figures.append(Figure(part, name, 1e3 * first, "ms", "first", note))
        self.figures.append(Figure(part, name, 1e3 * later[REPEATS // 2], "ms", "again", note))
        return content

    def _open(self, address: str, form: dict[str, str] | None = None) -> tuple[float, bytes]:
        data = None if form is None else urllib.parse.urlencode(form).encode()
        headers = {"Origin": self.home.rstrip("/"), "Accept": "application/json" if form else "text/html"}
        request = urllib.request.Request(self.home + address, data, headers)
        begin = time.perf_counter()
        with urllib.request.urlopen(request) as answer:
            content = answer.read()
        return time.perf_counter() - begin, content

    def review(self, avatar_id: str, key: str) -> float:
        """Approve an avatar; return the seconds until the answer, with which it counts."""
        address = f"avatars/{urllib.parse.quote(avatar_id)}/review"
        return self._open(address, {"status": "approved", "key": key})[0]


    def wait_for_news(self, address: str, news: Synthetic, library: str) -> None:
        """Write new records; note how long the first opening after them takes, and how long until they show."""
        before = self._open(address)[1]
        news.write(library)
        time.sleep(REFRESH_SECONDS)
        begin = time.perf_counter()
        first, content = self._open(address)
        while content == before:
            content = self._open(address)[1]
        shown = time.perf_counter() - begin
        self.figures.append(Figure("a run goes on", "a page while 1,000 new results are read", 1e3 * first, "ms"))
        self.figures.append(Figure("a run goes on", "until they show", 1e3 * shown, "ms"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    synthetic = Synthetic(options.rows, options.seed, random_ids=True)
    with tempfile.TemporaryDirectory(prefix="gallery-") as temporary:
        figures = measure(str(options.library or temporary), synthetic)
    title = f"gallery of {options.rows:,} avatars"
    Console(width=None if sys.stdout.isatty() else 140).print(table(figures, title))
    if options.out is not None:
        result = {"machine": machine_facts(torch.device("cpu")), "rows": options.rows}
        result["figures"] = [figure.to_json() for figure in figures]
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def measure(library: str, synthetic: Synthetic) -> list[Figure]:
    """Return the figures of a library's gallery; its manifest is written unless there is one."""
    if not any(Path(library, "manifest").glob("*.parquet")):
        print("making records up", file=sys.stderr, flush=True)
        synthetic.write(library)
    compact(library, grace_seconds=0)
    done = read_states(library, columns=("avatar_id", "key", "state")).sort_by("avatar_id")
    chosen = next(row for row in done.slice(0, 50).to_pylist() if row["state"] == "done")
    begin = time.perf_counter()
    with _gallery(library) as (visitor, process):
        visitor.figures.append(Figure("start", "until it listens", time.perf_counter() - begin, "s"))
        page = visitor.time("pages", "first page", "")
        assert f"{synthetic.avatars:,} avatars".encode() in page, page[:2000]
        for name, query in QUERIES.items():
            visitor.time("searches", name, f"?{query}")
        last = -(-synthetic.avatars // 60)
        visitor.time("pages", "last page of the list", f"cards?page={last}")
        visitor.time("pages", "an avatar's page", f"avatars/{urllib.parse.quote(chosen['avatar_id'])}")
        seconds = visitor.review(chosen["avatar_id"], chosen["key"])
        visitor.figures.append(Figure("reviews", "until a review counts", 1e3 * seconds, "ms"))
        found = visitor.time("reviews", "approved ones, after it", "?review=approved")
        assert f'data-avatar="{chosen["avatar_id"]}"'.encode() in found
        news = Synthetic(min(synthetic.avatars, 1000), synthetic.seed + 1, random_ids=True)
        visitor.wait_for_news("?sort=newest", news, library)
        visitor.figures.append(Figure("memory", "peak of the process", _peak_mb(process), "MiB"))
    return visitor.figures


@contextmanager
def _gallery(library: str) -> Iterator[tuple[Visitor, subprocess.Popen[str]]]:
    """Start `avatars gallery` and yield a visitor of it once it listens."""
    code = "from flows.cli import main; main()"
    command = [sys.executable, "-c", code, "gallery", "--library", library, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()  # type: ignore[union-attr]
            address = re.search(r"http://\S+/", line)
            assert address, line
            yield Visitor(address[0]), process
        finally:
            process.terminate()


def _peak_mb(process: subprocess.Popen[str]) -> float:
    status = Path(f"/proc/{process.pid}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else float("nan")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.gallery",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rows", type=int, default=100_000, help="avatars (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the records (default: %(default)s)")
    add("--library", type=Path, help="library to write to and to keep; what it has already is not written again")
    add("--out", type=Path, help="JSON file to write")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
