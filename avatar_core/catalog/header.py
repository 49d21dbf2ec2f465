"""The header of a catalog: which column is which, or one clear error for a file that is no catalog."""

import codecs
import re
from collections import Counter
from dataclasses import dataclass

from avatar_core.catalog.records import ByteSource, Record, RecordReader
from avatar_core.catalog.rows import OPTIONAL_COLUMNS, PROMPT_COLUMNS
from avatar_core.errors import CatalogError

DELIMITERS = (",", ";", "\t")
"""Comma first; spreadsheets write the others under some locales and formats."""

_KNOWN = (*PROMPT_COLUMNS, *OPTIONAL_COLUMNS)
_EXAMPLE = "its first line must name the columns: shape,appearance,motion"
_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_SIGNATURES = {
    codecs.BOM_UTF32_LE: ("is encoded as UTF-32", "save it as UTF-8"),
    codecs.BOM_UTF16_LE: ("is encoded as UTF-16", "save it as UTF-8 (in spreadsheets: 'CSV UTF-8')"),
    codecs.BOM_UTF16_BE: ("is encoded as UTF-16", "save it as UTF-8 (in spreadsheets: 'CSV UTF-8')"),
    b"PK\x03\x04": ("is a spreadsheet or zip archive", "export the sheet as CSV, or unpack the archive"),
    b"\x1f\x8b": ("is compressed", "unpack it"),
}


@dataclass(frozen=True)
class Header:
    """Where the columns of a catalog are."""

    names: tuple[str, ...]
    """Of all columns: known ones in lower case, others as written, "" where there is no name."""
    delimiter: str


def read_header(records: RecordReader, source: ByteSource, name: str) -> Header:
    """Take the header from the first record and set the delimiter of `records`.

    Raises CatalogError, which names the file as `name`, if there is no usable header.
    """
    _check_signature(source.head, name)
    record = next(records, None)
    if record is None:
        raise CatalogError(f"{name} is empty: {_EXAMPLE}, and each further line describes one avatar.")
    if _NOT_TEXT.search(record.raw):
        raise CatalogError(f"{name} is not a text file in UTF-8: give a CSV file; {_EXAMPLE}.")
    header = _best_header(records, record)
    _check_columns(header, record, name)
    records.delimiter = header.delimiter
    return header


def _check_signature(head: bytes, name: str) -> None:
    for signature, (problem, remedy) in _SIGNATURES.items():
        if head.startswith(signature):
            raise CatalogError(f"{name} {problem}: {remedy}.")


def _best_header(records: RecordReader, record: Record) -> Header:
    """Return the header under the delimiter that finds most of the prompt columns."""
    candidates = []
    for delimiter in DELIMITERS:
        fields = records.parse_as(record, delimiter).fields or ()
        candidates.append(Header(tuple(_column_name(field) for field in fields), delimiter))
    return max(candidates, key=lambda header: len(set(PROMPT_COLUMNS) & set(header.names)))


def _column_name(field: str) -> str:
    name = " ".join(field.replace("\ufeff", "").split())
    return name.lower() if name.lower() in _KNOWN else name


def _check_columns(header: Header, record: Record, name: str) -> None:
    missing = [column for column in PROMPT_COLUMNS if column not in header.names]
    if len(missing) == len(PROMPT_COLUMNS):
        shown = record.raw.strip()[:60]
        raise CatalogError(f"{name} has no header: line {record.line} is {shown!r}, but {_EXAMPLE}.")
    if missing:
        columns = "column" if len(missing) == 1 else "columns"
        raise CatalogError(f"{name} lacks the {columns} {', '.join(missing)}: add to the header in line {record.line}.")
    named = [column for column in header.names if column]
    for column, count in Counter(named).items():
        if count > 1:
            raise CatalogError(f"{name} has the column {column!r} twice: rename or remove one of them.")
