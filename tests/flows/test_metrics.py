"""A library's numbers as Prometheus reads them."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from small_library import DIVERGED, avatars, fail, finish, plan, row
from typer.testing import CliRunner

from avatar_core.errors import ConfigError
from flows.cli.app import app
from flows.metrics import PATH, exposition, parse_address, serve

AWKWARD = 'a "quoted\\kind"\nof trouble'


@pytest.fixture
def library(tmp_path: Path) -> str:
    session = plan(tmp_path, [row("ada"), row("ben"), row("cid")])
    ada, ben, _ = avatars(session)
    finish(session, ada)
    fail(session, ben, replace(DIVERGED, kind=AWKWARD))
    return session.run.library


@pytest.fixture
def url(library: str) -> Iterator[str]:
    with serve(library, "0") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield "http://{}:{}".format(*server.server_address[:2])
        server.shutdown()
        thread.join()


def samples(text: str) -> dict:
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type in ("gauge", "counter")
        for sample in family.samples:
            found[sample.name, *sorted(sample.labels.items())] = sample.value
    return found


def test_a_parser_reads_the_numbers_back(library: str) -> None:
    found = samples(exposition(library))
    assert found["avatar_foundry_avatars", ("state", "done")] == 1
    assert found["avatar_foundry_avatars", ("state", "accepted")] == 1
    assert found["avatar_foundry_avatars", ("state", "running")] == 0
    assert found["avatar_foundry_stage_seconds_total", ("device", "NVIDIA H100"), ("stage", "motion")] == 36.0
    assert found["avatar_foundry_failed_avatars", ("kind", AWKWARD), ("stage", "texturing")] == 1
    assert found["avatar_foundry_avatars_per_hour",] > 0
    assert found["avatar_foundry_run_going",] == 1


def test_the_command_prints_them(library: str) -> None:
    result = CliRunner().invoke(app, ["metrics", "--library", library])
    assert result.exit_code == 0
    assert samples(result.stdout)["avatar_foundry_avatars", ("state", "done")] == 1
    assert "# HELP avatar_foundry_avatars " in result.stdout
    assert "# TYPE avatar_foundry_stage_seconds_total counter" in result.stdout


def test_each_scrape_sees_the_library_as_it_is_by_then(library: str, url: str) -> None:
    assert url.startswith("http://127.0.0.1:")
    before = samples(urllib.request.urlopen(url + PATH).read().decode())
    session = plan(Path(library), [row("cid")])
    finish(session, avatars(session)[0])
    after = samples(urllib.request.urlopen(url + PATH).read().decode())
    done = ("avatar_foundry_avatars", ("state", "done"))
    assert (before[done], after[done]) == (1, 2)


def test_elsewhere_there_is_nothing(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        urllib.request.urlopen(url + "/")
    assert b"/metrics" in caught.value.read()


def test_a_manifest_that_cannot_be_read_is_an_error_of_the_service(library: str, url: str) -> None:
    part = next(Path(library).glob("manifest/part-*.parquet"))
    part.write_bytes(b"damaged")
    with pytest.raises(urllib.error.HTTPError, match="503") as caught:
        urllib.request.urlopen(url + PATH)
    assert part.name in caught.value.read().decode()


@pytest.mark.parametrize(
    ("address", "parsed"),
    [("9105", ("127.0.0.1", 9105)), (":9105", ("127.0.0.1", 9105)), ("0.0.0.0:1", ("0.0.0.0", 1))],
)
def test_addresses(address: str, parsed: tuple[str, int]) -> None:
    assert parse_address(address) == parsed


@pytest.mark.parametrize("address", ["", "host", "host:", "host:http", "host:70000"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="--listen"):
        parse_address(address)
