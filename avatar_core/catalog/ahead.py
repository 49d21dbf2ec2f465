"""Reading a large catalog in a process of its own, so that reading goes on while the rows are worked on.

The process writes one JSON line to its standard output for every BATCH rows, each row as the list of its fields.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import fields
from operator import attrgetter
from typing import IO, Any

from avatar_core.catalog.rows import CatalogRow, RejectedRow
from avatar_core.errors import CatalogError

BATCH = 1000
MIN_BYTES = 8 * 2**20
"""Smaller files are read before the process has begun."""

_FIELDS: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    kind: attrgetter(*[field.name for field in fields(kind)]) for kind in (CatalogRow, RejectedRow)
}
_ROW_LENGTH = len(fields(CatalogRow))
_TAGS = [field.name for field in fields(CatalogRow)].index("tags")
_CODE = "from avatar_core.catalog.ahead import main; main()"


def worth_it(path: str) -> bool:
    """Tell whether a file is large enough, and a second processor there."""
    return len(os.sched_getaffinity(0)) > 1 and os.path.isfile(path) and os.path.getsize(path) >= MIN_BYTES


def read_ahead(
    path: str, presets: Collection[str] | None, bodies: Collection[str] | None
) -> Iterator[CatalogRow | RejectedRow]:
    """Yield what `read_catalog` yields for a local file; raises CatalogError as it does, but on the way."""
    request = json.dumps([path, *(None if names is None else sorted(names) for names in (presets, bodies))])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folder or os.getcwd() for folder in sys.path)}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _CODE, request], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said,
            env=environment,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            for line in process.stdout:
                yield from map(_row, _batch(line))
            status = process.wait()
            if status != 0:
                said.seek(0)
                raise CatalogError(
                    f"{path} could not be read to its end (status {status}): {said.read().strip()[-500:]}"
                )
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def _batch(line: bytes) -> list[list[Any]]:
    content = json.loads(line)
    if isinstance(content, dict):
        raise CatalogError(content["error"])
    return content  # type: ignore[no-any-return]


def _row(values: list[Any]) -> CatalogRow | RejectedRow:
    if len(values) != _ROW_LENGTH:
        return RejectedRow(*values)
    values[_TAGS] = tuple(values[_TAGS])
    return CatalogRow(*values)


def main() -> None:
    """Read the catalog that the first argument describes, in the process that `read_ahead` starts."""
    from avatar_core.catalog.reader import read_rows

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the one who reads from here, who ends this
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    path, presets, bodies = json.loads(sys.argv[1])
    try:
        _write(read_rows(path, presets=presets, bodies=bodies), sys.stdout)
    except CatalogError as error:
        _send({"error": str(error)}, sys.stdout)


def _write(rows: Iterable[CatalogRow | RejectedRow], out: IO[str]) -> None:
    batch: list[tuple[Any, ...]] = []
    try:
        for row in rows:
            batch.append(_FIELDS[type(row)](row))
            if len(batch) == BATCH:
                _send(batch, out)
                batch = []
    finally:  # what was read before an error counts
        _send(batch, out)


def _send(content: Any, out: IO[str]) -> None:
    out.write(json.dumps(content) + "\n")
    out.flush()
