"""Serving the gallery: a socket that listens before anything is said, and uvicorn behind it."""

import contextlib
import errno
import logging
import platform
import socket
from urllib.parse import quote

import uvicorn
from starlette.types import ASGIApp

from avatar_core.errors import ConfigError
from flows.gallery.access import Access

GRACE_SECONDS = 3
"""How long an answer may take to its end once the gallery is asked to stop."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on a host's port, 0 for any free one; raises ConfigError where it cannot."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        remedy = "a port from 1024 on, and a host of this machine"
        if error.errno == errno.EADDRINUSE:
            remedy = "another --port, or 0 for any free one"
        raise ConfigError(f"{host}, port {port}: {error.strerror}. Give {remedy}.") from error


def address(access: Access) -> str:
    """Return what a browser opens, with the token that lets it write."""
    host = access.host
    if host in ("0.0.0.0", "::"):
        host = platform.node() or "localhost"
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{access.port}/" + (f"?token={quote(access.token, safe='')}" if access.token else "")


def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Answer until this process is interrupted; what goes wrong meanwhile is written to standard error."""
    log = logging.getLogger("uvicorn.error")
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    log.addHandler(handler)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    try:
        with contextlib.suppress(KeyboardInterrupt):  # the usual way to end it
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        log.removeHandler(handler)
        listener.close()
