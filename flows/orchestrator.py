"""Where Prefect's API comes from: the user's own server, or a private one that lives as long as the run.

Nothing here imports prefect before the environment says which server to use: Prefect reads its settings at import.
"""

import atexit
import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from avatar_core.errors import AvatarError

logger = logging.getLogger(__name__)

STARTUP_TIMEOUT_SECONDS = 180.0
MOST_RESTARTS = 5
"""As often a private server that ends is started again."""
SHUTDOWN_TIMEOUT_SECONDS = 3.0
"""A private server's records are for watching a run; nothing is lost that the library needs when it is cut short."""

CLIENT_DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "WARNING",
}
PRIVATE_CLIENT_DEFAULTS = {
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
}
SERVER_ENVIRONMENT = {
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


class OrchestratorError(AvatarError):
    """Prefect's API cannot be reached or started."""


@dataclass(frozen=True)
class Orchestrator:
    """A reachable Prefect API: its URL, and whether this process started it."""

    api_url: str
    private: bool
    startup_seconds: float


def cache_home() -> Path:
    """Return the folder for what can be rebuilt (AVATARS_CACHE, else ~/.cache/avatar-foundry)."""
    return Path(os.environ.get("AVATARS_CACHE") or Path.home() / ".cache" / "avatar-foundry")


def configured_api_url() -> str | None:
    """Return the API URL that the user configured for Prefect, by environment or active profile, else None."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    home = Path(os.environ.get("PREFECT_HOME", Path.home() / ".prefect"))
    profiles_path = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml"))
    try:
        profiles = tomllib.loads(profiles_path.read_text())
    except (OSError, tomllib.TOMLDecodeError):
        return None
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active")
    profile = profiles.get("profiles", {}).get(active, {})
    return profile.get("PREFECT_API_URL") if isinstance(profile, dict) else None


class PrivateServer:
    """Starts `prefect_server.py` in the background; `wait` blocks until it answers.

    A server that ends while it is wanted, say for lack of memory, is started again on its port and its database; until
    then Prefect's clients try again.
    """

    def __init__(self, log_path: Path) -> None:
        self.log_path = log_path
        self._started = time.monotonic()
        self._port: int | None = None
        self._answered = threading.Event()
        self._stopping = threading.Event()
        self._changing = threading.Lock()
        """Held while the process is replaced."""
        log_path.parent.mkdir(parents=True, exist_ok=True)
        self._process = self._start()
        threading.Thread(target=self._watch, name="prefect-server", daemon=True).start()

    def _start(self) -> subprocess.Popen[bytes]:
        home = cache_home() / "prefect"
        home.mkdir(parents=True, exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
        environment |= SERVER_ENVIRONMENT | {"PREFECT_HOME": str(home)}
        port = [] if self._port is None else [str(self._port)]
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", str(Path(__file__).with_name("prefect_server.py")), *port],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is ours to handle; the server stops when we close its input
            )

    def _watch(self) -> None:
        """Note when the server answers, and start it again when it ends unasked."""
        for restarts in range(MOST_RESTARTS + 1):
            assert self._process.stdout is not None
            line = self._process.stdout.readline()
            if line:
                self._port = int(json.loads(line)["port"])
            self._answered.set()
            status = self._process.wait()
            self._stopping.wait(restarts)
            with self._changing:
                if self._stopping.is_set() or self._port is None:
                    return
                if restarts < MOST_RESTARTS:
                    logger.warning("Prefect's private server ended with status %d; it is started again", status)
                    self._process.stdout.close()
                    self._process = self._start()
        logger.error("Prefect's private server ended %d times: see %s", MOST_RESTARTS + 1, self.log_path)

    def wait(self, on_wait: Callable[[float], None] | None = None) -> Orchestrator:
        """Block until the server answers, calling `on_wait(seconds so far)` about twice a second.

        Raises OrchestratorError when the server ends or does not answer in time.
        """
        while not self._answered.wait(0.5):
            seconds = time.monotonic() - self._started
            if seconds > STARTUP_TIMEOUT_SECONDS:
                self.stop()
                raise OrchestratorError(
                    f"Prefect's private server did not start within {STARTUP_TIMEOUT_SECONDS:.0f} s. Its log is "
                    f"{self.log_path}. Run the command again, or set PREFECT_API_URL to a server of your own."
                )
            if on_wait is not None:
                on_wait(seconds)
        if self._port is None:
            status = self._process.wait()
            raise OrchestratorError(
                f"Prefect's private server ended with status {status} before it answered: {self._last_log_line()} "
                f"Its log is {self.log_path}; `avatars doctor` says which versions are installed."
            )
        url = f"http://127.0.0.1:{self._port}/api"
        return Orchestrator(api_url=url, private=True, startup_seconds=time.monotonic() - self._started)

    def _last_log_line(self) -> str:
        lines = self.log_path.read_text(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "it left no message."

    def stop(self) -> None:
        """Close the server's input and wait for it to end, by force if it does not."""
        with self._changing:
            self._stopping.set()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(SHUTDOWN_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            logger.info("Prefect's private server takes long to stop; killing it")
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def begin(log_path: Path) -> PrivateServer | None:
    """Set Prefect's environment and start a private server, unless the user has one; return it without waiting.

    Must run before anything imports prefect. Settings that the user made are left as they are.
    """
    for name, value in CLIENT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    if configured_api_url():
        return None
    server = PrivateServer(log_path)
    # exit handlers run in reverse order: registered before prefect is imported, the server outlives Prefect's own
    # last flush of events, which would otherwise fail and say so
    atexit.register(server.stop)
    return server


def connect(server: PrivateServer | None, on_wait: Callable[[float], None] | None = None) -> Orchestrator:
    """Wait for the private server, or check that the user's answers, and point Prefect at it."""
    if server is None:
        url = configured_api_url()
        assert url is not None, "begin() starts a server when none is configured"
        check_reachable(url)
        return Orchestrator(api_url=url, private=False, startup_seconds=0.0)
    orchestrator = server.wait(on_wait)
    os.environ["PREFECT_API_URL"] = orchestrator.api_url
    for name, value in PRIVATE_CLIENT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_RESULTS_LOCAL_STORAGE_PATH", str(cache_home() / "prefect" / "results"))
    return orchestrator


def check_reachable(url: str) -> None:
    """Raise OrchestratorError unless a Prefect API answers at `url`."""
    import httpx

    headers = {}
    if key := os.environ.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    try:
        response = httpx.get(url.rstrip("/") + "/health", timeout=15.0, headers=headers)
        response.raise_for_status()
    except httpx.HTTPError as error:
        raise OrchestratorError(
            f"Prefect's API at {url} does not answer ({error}). Start it (`prefect server start`), correct "
            "PREFECT_API_URL, or unset it to let this command start a private server."
        ) from error


def require_server() -> str:
    """Return the URL of the user's Prefect API, which answers; raises OrchestratorError where there is none."""
    for name, value in CLIENT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    url = configured_api_url()
    if url is None:
        raise OrchestratorError(
            "Work pools need a Prefect server that their workers share: start one (`prefect server start`) and set "
            "PREFECT_API_URL, such as http://127.0.0.1:4200/api."
        )
    check_reachable(url)
    return url


@contextlib.contextmanager
def orchestrated(log_path: Path, on_wait: Callable[[float], None] | None = None) -> Iterator[Orchestrator]:
    """Give a reachable Prefect API for the length of the block and until this process ends."""
    yield connect(begin(log_path), on_wait)
