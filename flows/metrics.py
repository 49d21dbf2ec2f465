"""A library's numbers as Prometheus reads them: as text once, or over HTTP at each scrape."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from avatar_core.errors import AvatarError, ConfigError
from flows.census import Census, take_census

logger = logging.getLogger(__name__)

PREFIX = "avatar_foundry"
PATH = "/metrics"
DEFAULT_HOST = "127.0.0.1"
_PLAIN = ("Content-Type", "text/plain; charset=utf-8")


class LibraryCollector(Collector):
    """Takes a library's census whenever it is asked for metrics."""

    def __init__(self, library: str) -> None:
        self._library = library
        self._last: Census | None = None
        self._lock = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; one census at a time."""
        with self._lock:
            census = self._last = take_census(self._library, previous=self._last)
        yield from _metrics(census)

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering reads no library."""
        return ()


def _metrics(census: Census) -> Iterator[Metric]:
    avatars = GaugeMetricFamily(f"{PREFIX}_avatars", "Avatars of the library by state.", labels=["state"])
    for state in ("accepted", "running", "unfinished", "done", "failed"):
        avatars.add_metric([state], census.counts.get(state, 0))
    yield avatars
    yield _gauge("quarantined_avatars", "Failed avatars that are not tried again by themselves.", census.quarantined)
    yield _gauge("rejected_rows", "Rows of catalogs that make no avatar.", census.counts.get("rejected", 0))
    failures = GaugeMetricFamily(
        f"{PREFIX}_failed_avatars", "Failed avatars by stage and kind of error.", labels=["stage", "kind"]
    )
    for reason in census.failures:
        failures.add_metric([reason.stage, reason.kind], reason.avatars)
    yield failures
    seconds = CounterMetricFamily(
        f"{PREFIX}_stage_seconds",
        "Computing time of the results that avatars have, by stage and device.",
        labels=["stage", "device"],
    )
    for cost in census.costs:
        seconds.add_metric([cost.stage, cost.device], cost.seconds)
    yield seconds
    yield _gauge("avatars_per_hour", "Avatars finished an hour, over the last minutes.", census.per_hour)
    yield _gauge("run_left_avatars", "Avatars that the newest run has not come to yet.", census.left)
    yield _gauge("run_going", "1 while any run is at work in the library, else 0.", int(census.going))


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)


def registry(library: str) -> CollectorRegistry:
    """Return what gives a library's metrics at each reading."""
    found = CollectorRegistry()
    found.register(LibraryCollector(library))
    return found


def exposition(library: str) -> str:
    """Return a library's metrics in Prometheus' text format; raises ManifestError and ConfigError."""
    return generate_latest(registry(library)).decode()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log requests rather than print them."""
        logger.debug(format, *args)


def serve(library: str, address: str) -> WSGIServer:
    """Return a server of a library's metrics at PATH, which listens already; `serve_forever` answers.

    `address` is HOST:PORT, :PORT or PORT, on DEFAULT_HOST where no host is given; port 0 takes a free one. Raises
    ConfigError where it is none, or cannot be listened on.
    """
    host, port = parse_address(address)
    metrics = make_wsgi_app(registry(library))

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH:
            start_response("404 Not Found", [_PLAIN])
            return [f"Metrics are at {PATH}.\n".encode()]
        try:
            return metrics(environ, start_response)
        except AvatarError as error:
            logger.error("%s", error)
            start_response("503 Service Unavailable", [_PLAIN])
            return [f"{error}\n".encode()]

    try:
        return make_server(host, port, application, _Server, _Handler)
    except OSError as error:
        raise ConfigError(
            f"--listen {address}: {error.strerror}. Give another port, or a host of this machine."
        ) from error


def parse_address(address: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT, :PORT or PORT; raises ConfigError for anything else."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"--listen {address}: give HOST:PORT, such as {DEFAULT_HOST}:9105, or a port.")
    return host or DEFAULT_HOST, int(port)
