"""Watches what this process does to the world: files that it writes, programs that it starts, hosts that it calls."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_WRITES = {
    "os.mkdir": (0,), "os.remove": (0,), "os.rmdir": (0,), "os.rename": (0, 1), "os.symlink": (1,), "os.link": (1,),
    "os.truncate": (0,), "os.chmod": (0,),
}  # fmt: skip
"""Events of Python's auditing with the arguments that are changed places."""
_ACTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "pty.spawn")
_watching: list[tuple[Path, list[str]]] = []


def _notice(event: str, arguments: tuple) -> None:
    if not _watching:
        return
    root, seen = _watching[-1]
    if event in _ACTS:
        seen.append(f"{event} {arguments[:2]}")
    elif event == "open":
        path, mode, flags = arguments
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if isinstance(flags, int) else mode and mode != "r"
        if writes and not isinstance(path, int):
            _note(root, seen, event, path)
    elif event in _WRITES:
        for number in _WRITES[event]:
            _note(root, seen, event, arguments[number])


def _note(root: Path, seen: list[str], event: str, path) -> None:
    place = os.path.abspath(os.fsdecode(path))
    if not Path(place).is_relative_to(root) and place != os.devnull and "__pycache__" not in place:
        seen.append(f"{event} {place}")


@contextlib.contextmanager
def watched(root: Path) -> Iterator[list[str]]:
    """Yield a list of what is done outside of the folder `root`, programs and connections anywhere."""
    if not getattr(sys, "_avatars_watched", False):
        sys.addaudithook(_notice)  # stays for the life of the process, hence only once
        sys._avatars_watched = True  # type: ignore[attr-defined]
    seen: list[str] = []
    _watching.append((root, seen))
    try:
        yield seen
    finally:
        _watching.pop()
