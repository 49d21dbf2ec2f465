"""Prefect's server: the user's own, or a private one that never outlives its run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from flows.orchestrator import OrchestratorError, PrivateServer, check_reachable, configured_api_url

PREFECT_VARIABLES = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH")

RUN = """
import os, sys, time
from pathlib import Path
from flows import orchestrator
from flows.cli.logs import log_to_file, quiet_prefect
folder = Path(sys.argv[1])
log_to_file(folder / "run.log")
server = orchestrator.connect(orchestrator.begin(folder / "server.log"))
print(server.api_url, flush=True)
from prefect import flow, task
quiet_prefect()
@task
def fail():
    raise ValueError("deliberate")
@flow
def run():
    return fail(return_state=True).name
print(run(), flush=True)
if sys.argv[2] == "wait":
    sys.stdin.read()
if sys.argv[2] == "again":
    sys.stdin.readline()
    while True:
        try:
            orchestrator.check_reachable(server.api_url)
            break
        except orchestrator.OrchestratorError:
            time.sleep(0.2)
    print(run(), flush=True)
    from prefect.client.orchestration import get_client
    with get_client(sync_client=True) as client:
        print(len(client.read_flow_runs()))
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def no_server_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path) -> None:
    for name in PREFECT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AVATARS_CACHE", str(cache))


def start(folder: Path, mode: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", RUN, str(folder), mode]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def wait_until_gone(url: str, seconds: float = 30.0) -> bool:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        try:
            httpx.get(f"{url}/health", timeout=1.0)
        except httpx.HTTPError:
            return True
        time.sleep(0.2)
    return False


@pytest.mark.slow
def test_a_run_has_its_server_and_shows_nothing_of_it(tmp_path: Path) -> None:
    process = start(tmp_path, "end")
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0
    assert out.splitlines()[1:] == ["Failed"]
    assert err == ""
    assert "deliberate" in (tmp_path / "run.log").read_text()
    assert wait_until_gone(out.splitlines()[0], seconds=1)


@pytest.mark.slow
def test_the_server_of_a_killed_run_goes_too(tmp_path: Path) -> None:
    process = start(tmp_path, "wait")
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert httpx.get(f"{url}/health", timeout=10).status_code == 200
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert wait_until_gone(url)


@pytest.mark.slow
def test_a_server_that_is_killed_is_started_again_with_what_it_knew(tmp_path: Path) -> None:
    process = start(tmp_path, "again")
    assert process.stdout is not None
    assert process.stdin is not None
    url, first = process.stdout.readline().strip(), process.stdout.readline().strip()
    server = int(subprocess.check_output(["pgrep", "-P", str(process.pid), "-f", "prefect_server.py"], text=True))
    os.kill(server, signal.SIGKILL)
    process.stdin.write("\n")
    process.stdin.flush()
    out, err = process.communicate(timeout=240)
    assert (first, out.splitlines()[0]) == ("Failed", "Failed"), err
    assert int(out.splitlines()[1]) >= 2, "the runs before it was killed are no longer known"
    assert "is started again" in (tmp_path / "run.log").read_text()
    assert wait_until_gone(url)


def test_a_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "nonsense://")
    server = PrivateServer(tmp_path / "server.log")
    try:
        with pytest.raises(OrchestratorError, match=r"server\.log"):
            server.wait()
    finally:
        server.stop()


def test_the_user_s_server_comes_from_environment_or_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured_api_url() is None
    profiles = tmp_path / "home" / ".prefect" / "profiles.toml"
    profiles.parent.mkdir(parents=True)
    profiles.write_text('active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "http://one:4200/api"\n[profiles.bare]\n')
    assert configured_api_url() == "http://one:4200/api"
    monkeypatch.setenv("PREFECT_PROFILE", "bare")
    assert configured_api_url() is None
    monkeypatch.setenv("PREFECT_API_URL", "http://two:4200/api")
    assert configured_api_url() == "http://two:4200/api"


def test_a_server_that_does_not_answer_is_named() -> None:
    with pytest.raises(OrchestratorError, match=r"127\.0\.0\.1:9/api"):
        check_reachable("http://127.0.0.1:9/api")
