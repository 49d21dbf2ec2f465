"""A private Prefect API server for one run: started as a child process, gone when its parent is.

Run as a script (`python -P prefect_server.py [PORT]`). It binds a free port on the loopback address, or the one that
a server before it had, writes one JSON line with the port to its standard output once it answers requests, and stops
when its standard input closes. So a parent that is killed, even by SIGKILL, leaves no server behind, and two runs never
fight over a port.
"""

import json
import os
import socket
import sys
import threading

import uvicorn


class AnnouncingServer(uvicorn.Server):
    """A uvicorn server that says on a file descriptor when it is ready."""

    def __init__(self, config: uvicorn.Config, announce_fd: int) -> None:
        super().__init__(config)
        self._announce_fd = announce_fd

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving, then write the port as one JSON line."""
        await super().startup(sockets)
        if self.should_exit or not sockets:
            return
        port = sockets[0].getsockname()[1]
        with os.fdopen(self._announce_fd, "w") as announce:
            announce.write(json.dumps({"port": port}) + "\n")


def stop_with_parent(server: uvicorn.Server) -> None:
    """Ask `server` to stop as soon as standard input reaches its end."""

    def watch() -> None:
        while sys.stdin.buffer.read(1):
            pass
        server.should_exit = True

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def main() -> int:
    """Serve until the parent closes our standard input; return the exit status."""
    announce_fd = os.dup(1)
    os.dup2(2, 1)  # whatever the server prints goes to the log that the parent gave as standard error
    from prefect.server.api.server import create_app

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    app = create_app(ephemeral=True, final=True)
    config = uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=2)
    server = AnnouncingServer(config, announce_fd)
    stop_with_parent(server)
    server.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
