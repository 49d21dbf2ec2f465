"""CSV records with line numbers from a byte stream, in constant memory, whatever the bytes are.

Quoting mistakes stay local: a quote that is never closed costs one row, not the rest of the file.
"""

import codecs
import csv
import io
from collections import deque
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple

MAX_RECORD_CHARACTERS = 65_536
MAX_RECORD_LINES = 64

_HEAD_BYTES = 4096


class Record(NamedTuple):
    """One record of the file. Bytes that are not UTF-8 appear as lone surrogates (PEP 383)."""

    line: int
    """Line on which it starts, from 1."""
    raw: str
    fields: tuple[str, ...] | None
    """None if the record is malformed."""
    problem: str = ""
    """What is wrong with its form, if something is."""


class Line(NamedTuple):
    """A line of the file, or a piece of one that is longer than a record may be."""

    number: int
    text: str


class ByteSource:
    """A binary stream whose first bytes can be looked at, without needing to seek."""

    def __init__(self, stream: IO[Any]) -> None:
        """Wrap a binary or text stream; standard input and the like are read through their buffer."""
        self._stream = getattr(stream, "buffer", stream)
        self.head = self._read_some(_HEAD_BYTES)

    def lines(self) -> Iterator[Line]:
        """Yield the decoded lines with their ends; overlong ones in pieces of MAX_RECORD_CHARACTERS + 1."""
        raw = io.BufferedReader(_Replay(self.head.removeprefix(codecs.BOM_UTF8), self))
        text = io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape", newline="")
        number, previous = 1, ""
        while piece := text.readline(MAX_RECORD_CHARACTERS + 1):
            if piece == "\n" and previous.endswith("\r"):  # one line end that the piece size cut in two
                continue
            yield Line(number, piece)
            number += piece.endswith(("\n", "\r"))
            previous = piece

    def _read_some(self, size: int) -> bytes:
        pieces = []
        while size > 0 and (piece := self.read(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes (a few more from a text stream), none at the end."""
        data = self._stream.read(size) or b""
        return data.encode("utf-8", errors="surrogatepass") if isinstance(data, str) else bytes(data)


class _Replay(io.RawIOBase):
    """The head that was looked at, then the rest of the source."""

    def __init__(self, head: bytes, source: ByteSource) -> None:
        super().__init__()
        self._pending = head
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._pending:
            self._pending = self._source.read(len(buffer))
        count = min(len(buffer), len(self._pending))
        buffer[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count


class RecordReader:
    """Splits lines into records; the delimiter can be set once the header is known."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._ahead: deque[Line] = deque()
        self.delimiter = ","

    def __iter__(self) -> "RecordReader":
        return self

    def __next__(self) -> Record:
        """Return the next record that is not blank."""
        while (first := self._next_line()) is not None:
            if len(first.text) > MAX_RECORD_CHARACTERS:
                self._skip_rest(first)
                problem = f"it has more than {MAX_RECORD_CHARACTERS:,} characters"
                return Record(first.number, first.text, None, problem)
            if first.text.strip(" \t\r\n\ufeff"):
                return self._parse(first)
        raise StopIteration

    def parse_as(self, record: Record, delimiter: str) -> Record:
        """Return a record parsed again with another delimiter."""
        return _parsed(record.line, record.raw, [record.raw], delimiter)

    def _parse(self, first: Line) -> Record:
        """Parse the record that starts with `first`; if it is malformed, give back the lines after the
        first.
        """
        if '"' not in first.text:  # most lines: no quotes, hence one line and nothing that could be malformed
            return Record(first.number, first.text, tuple(first.text.rstrip("\r\n").split(self.delimiter)))
        taken: list[Line] = []
        record = _parsed(first.number, first.text, self._record_lines(first, taken), self.delimiter)
        if record.fields is None:
            self._ahead.extendleft(reversed(taken[1:]))
            if len(taken) > 1:
                return record._replace(problem="a quoted field that begins on this line is not closed")
            return record
        return Record(first.number, "".join(line.text for line in taken), record.fields)

    def _record_lines(self, first: Line, taken: list[Line]) -> Iterator[str]:
        """Yield `first`, then what follows for as long as the parser asks and one record may be, noting
        it.
        """
        line: Line | None = first
        characters = 0
        while line is not None and characters <= MAX_RECORD_CHARACTERS and len(taken) < MAX_RECORD_LINES:
            taken.append(line)
            characters += len(line.text)
            yield line.text
            line = self._next_line()
        if line is not None:
            self._ahead.appendleft(line)

    def _next_line(self) -> Line | None:
        return self._ahead.popleft() if self._ahead else next(self._lines, None)

    def _skip_rest(self, line: Line) -> None:
        """Drop the other pieces of a line that is longer than a record may be."""
        while (piece := self._next_line()) is not None:
            if piece.number != line.number:
                self._ahead.appendleft(piece)
                return


def _parsed(start: int, raw: str, lines: Iterable[str], delimiter: str) -> Record:
    try:
        fields = next(csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True))
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            return Record(start, raw, None, "a quoted field that begins on this line is not closed")
        if "expected after" in str(error):
            return Record(start, raw, None, "there is text after a closing quote")
        return Record(start, raw, None, f"it is malformed ({error})")
    return Record(start, raw, tuple(fields))
