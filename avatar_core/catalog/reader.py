"""Reading a catalog as a stream of rows and rejections."""

import os
from collections.abc import Collection, Generator, Iterator
from pathlib import Path
from typing import IO, Any

import fsspec

from avatar_core.catalog import ahead
from avatar_core.catalog.header import read_header
from avatar_core.catalog.records import ByteSource, RecordReader
from avatar_core.catalog.rows import CatalogRow, RejectedRow
from avatar_core.catalog.validation import RowValidator
from avatar_core.errors import CatalogError


def read_catalog(
    source: str | os.PathLike[str] | IO[Any],
    *,
    presets: Collection[str] | None = None,
    bodies: Collection[str] | None = None,
) -> Iterator[CatalogRow | RejectedRow]:
    """Return an iterator over a catalog: each row of the file, in order, accepted or rejected with a reason.

    `source` is a path, an fsspec URL or an open file, binary or text (standard input), which stays open. The
    file is CSV in UTF-8, with or without a byte order mark, with commas (or semicolons or tabs) and the
    columns shape, appearance, motion, and optionally id, seed, preset, body and tags; other columns are
    carried along. `presets` and `bodies` are the names that exist; None accepts any. It is read as it is
    iterated: memory holds one row, and a short digest of each id seen. Large local files are read by a
    process of their own, some thousand rows ahead.

    Raises CatalogError, at once where the header shows it and else on the way, if the file is no catalog.
    """
    if isinstance(source, str | os.PathLike) and ahead.worth_it(os.fspath(source)):
        first = read_rows(source)
        next(first)  # raises what the header or the first row shows
        first.close()
        return ahead.read_ahead(os.fspath(source), presets, bodies)
    return read_rows(source, presets=presets, bodies=bodies)


def read_rows(
    source: str | os.PathLike[str] | IO[Any],
    *,
    presets: Collection[str] | None = None,
    bodies: Collection[str] | None = None,
) -> Generator[CatalogRow | RejectedRow, None, None]:
    """Read as `read_catalog` does, always in this process."""
    name = _name(source)
    stream, owned = _open(source, name)
    try:
        content = ByteSource(stream)
        records = RecordReader(content.lines())
        header = read_header(records, content, name)
    except BaseException as error:
        if owned:
            stream.close()
        if isinstance(error, OSError):
            raise CatalogError(f"{name} cannot be read at its beginning: {_cause(error)}.") from error
        raise
    rows = _rows(records, RowValidator(header.names, presets, bodies), name)
    return _closing(rows, stream) if owned else rows


def _rows(records: RecordReader, validator: RowValidator, name: str) -> Generator[CatalogRow | RejectedRow, None, None]:
    count = 0
    try:
        for record in records:
            count += 1
            yield validator.check(record)
    except OSError as error:
        raise CatalogError(f"{name} cannot be read after {count} rows: {_cause(error)}.") from error
    if count == 0:
        raise CatalogError(f"{name} has a header but no rows: add one line for each avatar.")


def _closing(
    rows: Generator[CatalogRow | RejectedRow, None, None], stream: IO[Any]
) -> Generator[CatalogRow | RejectedRow]:
    try:
        yield from rows
    finally:
        stream.close()


def _name(source: str | os.PathLike[str] | IO[Any]) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "name", "")
    if name == "<stdin>":
        return "Standard input"
    return name if isinstance(name, str) and name else "The catalog"


def _open(source: str | os.PathLike[str] | IO[Any], name: str) -> tuple[IO[Any], bool]:
    """Return a binary stream of the source, and whether it was opened here."""
    if not isinstance(source, str | os.PathLike):
        return source, False
    try:
        if "://" in name:
            return fsspec.open(name, "rb").open(), True
        return open(Path(name).expanduser(), "rb"), True
    except FileNotFoundError:
        raise CatalogError(f"{name} does not exist: check the path of the catalog.") from None
    except IsADirectoryError:
        raise CatalogError(f"{name} is a folder: give the CSV file in it.") from None
    except Exception as error:  # each file system checks its part of a URL in its own way; RuntimeError: no such home
        raise CatalogError(f"{name} cannot be opened: {_cause(error)}.") from error


def _cause(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__).rstrip(".")
