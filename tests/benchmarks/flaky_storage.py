"""An object store on a local disk that fails now and then, before an operation or after it has taken effect."""

from __future__ import annotations

import os
import random
import stat
import uuid
from pathlib import Path
from typing import Any

import fsspec
from fsspec.spec import AbstractFileSystem

PROTOCOL = "flaky"
OPENING = 0.001
"""Of the error rate, what falls on opening a file for reading, of which one call of the manifest makes thousands."""


class FlakyFileSystem(AbstractFileSystem):
    """Whole objects appear at once, as in an object store; `error_rate` of the operations raise OSError."""

    protocol = PROTOCOL
    cachable = False
    error_rate = 0.0
    """Of the writes, half fail although they took effect, as when an answer is lost on its way."""
    errors = 0
    """Number of errors raised in this process."""
    generator = random.Random(0)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        """Create or replace an object."""
        self._fail(path, 0.5)
        target = Path(self._strip_protocol(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".put-{uuid.uuid4().hex}")
        temporary.write_bytes(value)
        os.replace(temporary, target)
        self._fail(path, 0.5)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Return an object's content."""
        self._fail(path)
        return Path(self._strip_protocol(path)).read_bytes()[start:end]

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """List a folder."""
        self._fail(path)
        folder = self._strip_protocol(path)
        names = [f"{folder}/{name}" for name in os.listdir(folder) if not name.startswith(".put-")]
        if not detail:
            return names
        return [entry for name in names if (entry := self._entry(name)) is not None]

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Describe an object."""
        entry = self._entry(self._strip_protocol(path))
        if entry is None:
            raise FileNotFoundError(path)
        return entry

    def rm_file(self, path: str) -> None:
        """Delete an object."""
        self._fail(path)
        os.remove(self._strip_protocol(path))

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        self._fail(path, OPENING)
        return open(self._strip_protocol(path), mode)

    def _fail(self, path: str, share: float = 1.0) -> None:
        if self.generator.random() < self.error_rate * share:
            type(self).errors += 1
            raise OSError(f"injected error at {path}")

    @staticmethod
    def _entry(path: str) -> dict[str, Any] | None:
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return None
        kind = "directory" if stat.S_ISDIR(found.st_mode) else "file"
        return {"name": path, "size": found.st_size, "type": kind}


fsspec.register_implementation(PROTOCOL, FlakyFileSystem, clobber=True)
