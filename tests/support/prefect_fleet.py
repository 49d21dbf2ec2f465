"""A real Prefect server on a PostgreSQL database of its own, with process workers; for service tests."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import asyncpg
import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL, temporary_settings

POSTGRES = {"host": "127.0.0.1", "port": 5432, "user": "postgres"}
ROOT = Path(__file__).parents[2]
TIMEOUT = 1200.0  # seconds; only a hang is that slow
POLL_SECONDS = 0.2

Found = TypeVar("Found")


def wait_until(found: Callable[[], Found], what: str, timeout: float = TIMEOUT) -> Found:
    """Return what `found` returns as soon as that is true."""
    limit = time.monotonic() + timeout
    while time.monotonic() < limit:
        result = found()
        if result:
            return result
        time.sleep(POLL_SECONDS)
    raise AssertionError(f"waited {timeout:.0f} s in vain for {what}")


def postgres_trouble() -> str | None:
    """Return why there is no PostgreSQL to test with, or None if there is."""
    try:
        _sql("SELECT 1")
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        return f"no PostgreSQL at {POSTGRES['host']}:{POSTGRES['port']} for user {POSTGRES['user']}: {error}"
    return None


def _sql(statement: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(**POSTGRES, database="postgres", timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(execute())


def parent_of(pid: int) -> int:
    """Return the process that started `pid`."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class PrefectFleet:
    """A server and workers, which share an environment that nothing else has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = f"avatars_test_{uuid.uuid4().hex[:12]}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.api_url = f"http://127.0.0.1:{port}/api"
        self._port = port
        self.home = folder / "prefect"
        self.workers: dict[int, str] = {}
        """Names of the workers by process."""
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": self.api_url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "DO_NOT_TRACK": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }

    def start_server(self) -> None:
        """Make the database, start the server on it and wait until that answers."""
        _sql(f"CREATE DATABASE {self.database}")
        self._serve()

    def restart_server(self) -> None:
        """Kill the server and start it again on the database that it had."""
        self.server.kill()
        self.server.wait()
        self._serve()

    def _serve(self) -> None:
        url = f"postgresql+asyncpg://{POSTGRES['user']}@{POSTGRES['host']}:{POSTGRES['port']}/{self.database}"
        self.server = self._start(
            *("server", "start", "--host", "127.0.0.1", "--port", str(self._port)),
            log="server",
            PREFECT_API_DATABASE_CONNECTION_URL=url,
            PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS="3",  # by default it looks at new schedules once a minute
        )

        def answers() -> bool:
            assert self.server.poll() is None, (self.folder / "server.log").read_text()
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"{self.api_url}/health", timeout=5).is_success
            return False

        wait_until(answers, "Prefect's server to answer")

    def start_worker(self, pool: str, name: str) -> None:
        """Start a worker that makes one shard at a time."""
        worker = self._start("worker", "start", "--pool", pool, "--limit", "1", "--name", name, log=name)
        self.workers[worker.pid] = name

    def _start(self, *arguments: str, log: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{log}.log").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "prefect", *arguments],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env={**self.environment, **environment},
                cwd=self.folder,
                start_new_session=True,
            )

    @contextlib.contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        """Give a client of the server."""
        with temporary_settings({PREFECT_API_URL: self.api_url}), get_client(sync_client=True) as client:
            yield client

    def shard_runs(self, library: Path) -> list[FlowRun]:
        """Return the flow runs of the shards of a library's runs, the earliest first."""
        found: list[FlowRun] = []
        with self.client() as client:
            for folder in sorted((library / "runs").glob("*")):
                mine = FlowRunFilter(tags=FlowRunFilterTags(all_=[folder.name]))
                found += client.read_flow_runs(flow_run_filter=mine, sort=FlowRunSort.EXPECTED_START_TIME_ASC)
        return found

    def log_of(self, run: FlowRun) -> str:
        """Return what the server has of a flow run's log by now, a message a line."""
        with self.client() as client:
            logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])))
        return "\n".join(log.message for log in logs)

    def printed(self) -> str:
        """Return what the workers and their flow runs have printed by now."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("worker-*.log")))

    def kill(self, *pids: int) -> None:
        """Kill processes of this fleet, in order, without a chance to tell anybody."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # its parent's end was its own
                os.kill(pid, signal.SIGKILL)
            self.workers.pop(pid, None)

    def stop(self) -> None:
        """Kill everything that has this fleet's environment, and drop the database."""
        marker = f"PREFECT_HOME={self.home}".encode()

        def rest() -> list[int]:
            return [pid for pid in _processes() if marker in _environment(pid)]

        def gone() -> bool:
            for pid in rest():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not rest()

        wait_until(gone, "the fleet's processes to end", timeout=60)
        _sql(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _environment(pid: int) -> bytes:
    """Return the environment that a process was started with; empty for zombies and for what is not ours to read."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""
