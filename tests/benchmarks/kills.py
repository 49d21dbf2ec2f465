"""Kill -9 at random moments, over and over, while a catalog is made; is every avatar there once, and readable?

With `--pool` the catalog is made by two process workers of a Prefect server on PostgreSQL, and the victims, in turn,
are a worker with its flow run, the command that hands out the shards, the server, and a compaction; without, they are
`avatars run`, its private server and a compaction. What was killed is started again at once. A catalog that is finished
is checked, and another one begins, until there were enough kills.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import torch
from rich.console import Console

from .figures import Figure, table
from .machine import machine_facts

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

EXAMPLES = """examples:
  a hundred kills of everything there is (an hour on two cores; needs PostgreSQL):
      python -m tests.benchmarks.kills --pool --kills 100 --out kills.json
  a few, without a pool:
      python -m tests.benchmarks.kills --kills 10 --rows 4
"""
PRESET = """extends: tiny
texturing: { outfit_search: false, steps: 4, checkpoint_every: 1 }
"""
POOL = "kills"
COMPACTING = """
import sys, time
from avatar_core.manifest import compact
while True:
    print("compacting", flush=True)
    compact(sys.argv[1], grace_seconds=0)
    time.sleep(0.2)
"""
RUNNING = "from flows.cli import main; main()"
PAUSE_SECONDS = (0.0, 8.0)
"""From when somebody is at work again to the next kill, at random."""
EARLY_KILLS = 0.2
"""This share of the kills does not wait for work: it falls anywhere in starting up, too."""
ALLOWED_SECONDS = 30.0
"""So much work may be lost by a kill."""
TIMEOUT_SECONDS = 1200.0


@dataclass(frozen=True)
class Kill:
    """One kill and what it cost."""

    victim: str
    lost_seconds: float
    """Since the victim's last result or checkpoint, or since it began with what it had in hand."""
    stage: str
    """What it had in hand; empty for nothing."""


@dataclass
class Report:
    """What a trial found."""

    kills: list[Kill] = field(default_factory=list)
    catalogs: int = 0
    avatars: int = 0
    computations: int = 0
    doubled: int = 0
    """Results that were computed to their end more than once."""
    ends: Counter[str] = field(default_factory=Counter)
    """How often `avatars run` ended by itself with a status other than 0, by what it said."""
    problems: list[str] = field(default_factory=list)
    """What should not be."""

    def figures(self) -> list[Figure]:
        """Return the figures of a table."""
        found = [
            Figure("trial", "kills", len(self.kills), ""),
            Figure("trial", "catalogs finished", self.catalogs, ""),
            Figure("trial", "avatars", self.avatars, ""),
            Figure("trial", "results", self.computations, ""),
            Figure("trial", "results computed twice", self.doubled, ""),
            Figure("trial", "problems", len(self.problems), "", note="; ".join(self.problems[:5])),
        ]
        for victim in dict.fromkeys(kill.victim for kill in self.kills):
            lost = [kill.lost_seconds for kill in self.kills if kill.victim == victim]
            found.append(Figure(victim, "kills", len(lost), ""))
            found.append(Figure(victim, "work lost by a kill, the most", max(lost), "s"))
            found.append(Figure(victim, "work lost by a kill, the mean", sum(lost) / len(lost), "s"))
        found += [Figure("command", f"ended: {said}", count, "times") for said, count in self.ends.most_common(8)]
        return found


class Process:
    """A command that is started again whenever it is gone."""

    def __init__(self, arguments: Sequence[str], environment: dict[str, str], log: Path, announces: bool = False):
        self.arguments, self.environment, self.log, self.announces = arguments, environment, log, announces
        self._running: subprocess.Popen[bytes] | None = None
        self._begun = 0

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._running.pid if self._running is not None and self._running.poll() is None else None

    @property
    def status(self) -> int | None:
        """The exit status, once it has ended."""
        return None if self._running is None else self._running.poll()

    def start(self) -> None:
        """Start the command, if it does not run."""
        if self.pid is None:
            self._begun = self.log.stat().st_size if self.log.exists() else 0
            with self.log.open("ab") as output:
                self._running = subprocess.Popen(
                    [sys.executable, "-c", *self.arguments], env=self.environment, cwd=self.log.parent, stderr=output,
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if self.announces else output,
                    start_new_session=True,
                )  # fmt: skip

    def wait_for_line(self, seconds: float) -> bool:
        """Wait for the next line that the command prints."""
        assert self._running is not None
        output: IO[bytes] | None = self._running.stdout
        assert output is not None
        return bool(select.select([output], [], [], seconds)[0]) and bool(os.read(output.fileno(), 4096))

    def said(self) -> str:
        """Return what the command wrote since it was started."""
        with self.log.open("rb") as file:
            file.seek(self._begun)
            return file.read().decode(errors="replace")

    def kill(self) -> None:
        """Kill the process."""
        if self.pid is not None:
            assert self._running is not None
            self._running.kill()
            self._running.wait()


class Trial:
    """Catalogs that are made under fire."""

    def __init__(self, folder: Path, rows: int, seed: int, pool: bool, say: Callable[[str], None] = print) -> None:
        self.folder, self.rows, self.say = folder, rows, say
        self.random = random.Random(seed)
        self.report = Report()
        self.fleet: Any = None
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        if pool:
            from prefect_fleet import PrefectFleet

            self.fleet = PrefectFleet(folder)
            self.environment = dict(self.fleet.environment)
        self.environment |= {
            "AVATARS_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT), "COLUMNS": "200", "OMP_NUM_THREADS": "1"
        }  # fmt: skip

        self.victims = itertools.cycle(self._victims())
        self.next_victim = next(self.victims)

    def run(self, kills: int) -> Report:
        """Kill so often; return what was found."""
        with self._served():
            for number in itertools.count():
                self._make(number, kills)
                if len(self.report.kills) >= kills:
                    return self.report
        raise AssertionError

    @contextlib.contextmanager
    def _served(self) -> Iterator[None]:
        if self.fleet is None:
            yield
            return
        try:
            self.fleet.start_server()
            deploy = [sys.executable, "-c", RUNNING, "deploy", "--pool", POOL, "--type", "process"]
            subprocess.run([*deploy, "--dead-after", "60"], env=self.environment, check=True, capture_output=True)
            self._refill_workers()
            yield
        finally:
            self.fleet.stop()

    def _refill_workers(self) -> None:
        for name in {"worker-1", "worker-2"} - set(self.fleet.workers.values()):
            self.fleet.start_worker(POOL, name)

    def _make(self, number: int, kills: int) -> None:
        """Make one catalog, killing until there were enough kills, and check it."""
        catalog, preset = self.folder / f"people-{number}.csv", self.folder / "preset.yaml"
        self.library = self.folder / f"library-{number}"
        preset.write_text(PRESET)
        catalog.write_text(_catalog(self.rows, number))
        run = [RUNNING, "run", str(catalog), f"--library={self.library}", f"--preset={preset}", "--device=cpu"]
        if self.fleet is not None:
            run += ["--pool", POOL, "--shard-size", "2"]
        self.command = Process(run, self.environment, self.folder / "run.log")
        self.compaction = Process(
            [COMPACTING, str(self.library)], self.environment, self.folder / "compaction.log", announces=True
        )
        try:
            self.command.start()
            self.compaction.start()
            begun = time.monotonic()
            while self._goes_on():
                self.compaction.start()
                if len(self.report.kills) < kills:
                    if self.random.random() >= EARLY_KILLS:
                        self._pause(TIMEOUT_SECONDS, until=self._at_work)
                    self._pause(self.random.uniform(*PAUSE_SECONDS))
                    if self._kill(*self.next_victim):
                        self.next_victim = next(self.victims)
                else:
                    self._pause(1.0)
                if time.monotonic() - begun > TIMEOUT_SECONDS + 60 * kills:
                    self.report.problems.append(f"catalog {number} is not finished: {self.command.said()[-500:]}")
                    return
            self._check(number)
        finally:
            self.command.kill()
            self.compaction.kill()

    def _pause(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        limit = time.monotonic() + seconds
        while time.monotonic() < limit and self.command.pid is not None and not until():
            time.sleep(0.05)

    def _goes_on(self) -> bool:
        """Tell whether the catalog is unfinished; a command that ended otherwise begins again."""
        if self.command.pid is not None:
            return True
        if self.command.status == 0:
            return False
        said = self.command.said()
        if "Unexpected" in said or "Traceback" in said:
            self.report.problems.append(f"the command ended with {_last_line(said)!r}")
        self.report.ends[_last_line(said)] += 1
        self.command.start()
        return True

    def _victims(self) -> list[tuple[str, Callable[[], list[int]]]]:
        if self.fleet is None:
            return [("command", self._commands), ("server", self._private_servers), ("compaction", self._compactions)]
        return [
            ("worker", self._workers), ("command", self._commands), ("server", self._servers),
            ("compaction", self._compactions),
        ]  # fmt: skip

    def _commands(self) -> list[int]:
        return [pid for pid in (self.command.pid,) if pid is not None]

    def _private_servers(self) -> list[int]:
        return [pid for pid in children(self.command.pid or 0) if "prefect_server.py" in command_line(pid)]

    def _compactions(self) -> list[int]:
        if self.compaction.pid is not None and self.compaction.wait_for_line(10.0):
            time.sleep(self.random.uniform(0, 0.1))
        return [pid for pid in (self.compaction.pid,) if pid is not None]

    def _servers(self) -> list[int]:
        return [self.fleet.server.pid] if self.fleet.server.poll() is None else []

    def _workers(self) -> list[int]:
        worker = self.random.choice(sorted(self.fleet.workers))
        return [worker, *children(worker)]

    def _kill(self, name: str, find: Callable[[], list[int]]) -> bool:
        """Kill a victim and start it again; return False if it does not run just now."""
        pids = find()
        if self.command.pid is None or not pids:
            return False
        stage, lost = self._in_hand({*pids, *itertools.chain(*map(children, pids))})
        if name == "command":
            self.command.kill()
            self.command.start()
        elif name == "compaction":
            self.compaction.kill()
        elif name == "worker":
            self.fleet.kill(*pids)
            self._refill_workers()
        elif self.fleet is not None:
            self.fleet.restart_server()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[0], signal.SIGKILL)
        self.report.kills.append(Kill(name, lost, stage))
        if lost > ALLOWED_SECONDS:
            self.report.problems.append(f"a kill of the {name} lost {lost:.1f} s of {stage}")
        self.say(f"kill {len(self.report.kills)}: {name}, {lost:.1f} s of {stage or 'nothing'} lost")
        return True

    def _in_hand(self, pids: set[int]) -> tuple[str, float]:
        """Return the stage that processes are computing, by their leases, and how long they have kept nothing of it."""
        found = [("", 0.0)]
        for path, record in self._leases():
            if record["process"]["pid"] in pids:
                kept = datetime.fromisoformat(record["since"]).timestamp()
                for checkpoint in (self.library / "store/_checkpoints").glob(f"*/{path.stem}/*"):
                    with contextlib.suppress(FileNotFoundError):  # a newer one has replaced it
                        kept = max(kept, checkpoint.stat().st_mtime)
                found.append((path.parent.name, datetime.now(UTC).timestamp() - kept))
        return max(found, key=lambda one: one[1])

    def _leases(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        for path in (self.library / "leases").glob("*/*.json"):
            with contextlib.suppress(FileNotFoundError):  # released meanwhile
                yield path, json.loads(path.read_text())

    def _at_work(self) -> bool:
        """Tell whether any process that lives holds a stage's result in hand."""
        return any(command_line(record["process"]["pid"]) for _, record in self._leases())

    def _check(self, number: int) -> None:
        """Note what is wrong with a finished catalog."""
        from avatar_core.manifest import compact, read_latest, read_states
        from avatar_core.manifest.view import reading
        from avatar_core.storage import ArtifactStore

        self.compaction.kill()
        compact(str(self.library), grace_seconds=0)
        problems = self.report.problems
        expected = [f"a{number:02d}-{row:02d}" for row in range(self.rows)]
        states = read_states(str(self.library), columns=("avatar_id", "state")).to_pylist()
        if sorted((one["avatar_id"], one["state"]) for one in states) != [(name, "done") for name in expected]:
            problems.append(f"catalog {number}: states are {states}")
        latest = read_latest(str(self.library), columns=("avatar_id", "stage", "key")).to_pylist()
        repeated = [one for one, count in Counter((o["avatar_id"], o["stage"]) for o in latest).items() if count > 1]
        if repeated:
            problems.append(f"catalog {number}: rows are doubled: {repeated}")
        keys = {(one["stage"], one["key"]) for one in latest if one["stage"] != "catalog"}
        store = ArtifactStore(str(self.library))
        for stage, key in sorted(keys):
            if store.find(stage, key, verify="digest") is None:
                problems.append(f"catalog {number}: {stage} {key} cannot be read")
        for name in expected:
            problems += [f"catalog {number}: {said}" for said in _unreadable(self.library / "avatars" / name)]
        columns = ("stage", "key", "status")
        records = reading(str(self.library), lambda view: view.records(columns, None)).to_pylist()
        computed = Counter((one["stage"], one["key"]) for one in records if one["status"] == "done")
        self.report.doubled += sum(count - 1 for count in computed.values())
        self.report.computations += len(keys)
        self.report.catalogs += 1
        self.report.avatars += len(expected)
        self.say(f"catalog {number} is finished: {len(keys)} results, {len(problems)} problems in all")


def _catalog(rows: int, number: int) -> str:
    """Return a catalog whose rows share some bodies and motions."""
    lines = ["id,shape,appearance,motion,seed"]
    bodies, colors = ("a tall man", "a short woman", "a fat man"), ("red", "green", "blue", "black", "white")
    for row in range(rows):
        look = f"a person in a {colors[row % 5]} shirt and {colors[row // 5 % 5]} trousers"
        lines.append(f"a{number:02d}-{row:02d},{bodies[row % 3]},{look},{('walking', 'waving')[row % 2]},{number}")
    return "\n".join(lines) + "\n"


def _unreadable(folder: Path) -> list[str]:
    """Return what is wrong with the files of a finished avatar."""
    import pygltflib
    from PIL import Image

    try:
        model = pygltflib.GLTF2().load(str(folder / "avatar.glb"))
        if not (model.skins and model.animations):
            return [f"{folder.name}/avatar.glb has no skin or no animation"]
        with Image.open(folder / "preview.png") as image:
            image.load()
        json.loads((folder / "report.json").read_text())
    except (OSError, ValueError) as error:
        return [f"{folder.name}: {error}"]
    return []


def children(pid: int) -> list[int]:
    """Return the processes that `pid` started, and those that they did."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [child, *children(child)]
    return found


def command_line(pid: int) -> str:
    """Return a process's command line; empty if it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:120] if lines else "nothing"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 if nothing was lost, doubled or unreadable."""
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks.kills", description=__doc__, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--rows", type=int, default=20, help="avatars of each catalog")
    parser.add_argument("--pool", action="store_true", help="with workers of a Prefect server on PostgreSQL")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args(arguments)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        report = Trial(Path(folder), options.rows, options.seed, options.pool, say).run(options.kills)
    figures = [*report.figures(), Figure("trial", "time", time.monotonic() - begun, "s")]
    Console(width=None if sys.stdout.isatty() else 140).print(table(figures, "Kills"))
    if options.out is not None:
        content = {"machine": machine_facts(torch.device("cpu")), "kills": [asdict(kill) for kill in report.kills]}
        content |= {"figures": [figure.to_json() for figure in figures], "problems": report.problems}
        options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
