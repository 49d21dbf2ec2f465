"""Validation of one catalog row: what it must hold, and what to tell its author where it does not."""

import hashlib
import re
import unicodedata
from collections.abc import Collection, Mapping

from avatar_core.catalog.records import Record
from avatar_core.catalog.rows import MAX_SEED, PROMPT_COLUMNS, CatalogRow, RejectedRow

MAX_TEXT = 300
MAX_RAW = 1000

_MORE = {"body": "; SMPL, SMPL-H and SMPL-X are added with `avatars models add PATH`"}
"""How there come to be more of what a field names."""
_SLUG_PART = 20
_DIGEST_LENGTH = 14  # 56 bits: with 32, a hundred of a million rows that begin alike would share an id
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_UNDECODED = re.compile("[\ud800-\udfff]")
_TAG_SEPARATORS = re.compile(r"[;,|]")
_PRINTED = re.compile(r"[!-~]")  # spares most texts a look at each character's category
_DIGITS = re.compile(r"[+-]?[0-9]+")


class Rejection(Exception):
    """Why a row cannot be used: the column at fault, the reason and the remedy."""

    def __init__(self, field: str, reason: str, remedy: str) -> None:
        super().__init__(field, reason, remedy)
        self.field, self.reason, self.remedy = field, reason, remedy


class RowValidator:
    """Turns the records under one header into rows, remembering only a digest of each id."""

    def __init__(
        self,
        names: tuple[str, ...],
        presets: Collection[str] | None = None,
        bodies: Collection[str] | None = None,
    ) -> None:
        """Take the names of the columns, and the presets and bodies that exist (None: any safe name)."""
        self._names = names
        self._columns = [name or f"column_{index + 1}" for index, name in enumerate(names)]
        self._extra = [name for name in self._columns if name not in _COLUMNS]
        self._choices = {"preset": presets, "body": bodies}
        self._lines: dict[int, int] = {}  # digest of an id -> the line of its row

    def check(self, record: Record) -> CatalogRow | RejectedRow:
        """Return the record as a row, or what is wrong with it."""
        values: dict[str, str] = {}
        try:
            values = self._values(record)
            return self._row(record, values)
        except Rejection as rejection:
            given = values.get("id", "")
            return RejectedRow(
                line=record.line,
                id=given if _is_safe_name(given) else None,
                field=rejection.field,
                reason=rejection.reason,
                remedy=rejection.remedy,
                raw=_readable(record.raw.rstrip("\r\n"))[:MAX_RAW],
            )

    def _values(self, record: Record) -> dict[str, str]:
        """Return the fields by column, with white space tidied; columns without a name get a number."""
        if record.fields is None:
            raise Rejection(
                "row", record.problem, 'put quotes around the whole field and write "" for a quote inside it'
            )
        fields = list(record.fields)
        while len(fields) > len(self._names) and not fields[-1].strip():
            fields.pop()
        if len(fields) > len(self._names):
            raise Rejection(
                "row",
                f"it has {len(fields)} fields, but the header has {len(self._names)}",
                'put quotes around a field that contains the separator: "tall, thin"',
            )
        if _CONTROL.search(record.raw) or (not record.raw.isascii() and _UNDECODED.search(record.raw)):
            _refuse_characters(dict(zip(self._columns, fields)))
        return {name: _tidy(value) for name, value in zip(self._columns, fields)}

    def _row(self, record: Record, values: Mapping[str, str]) -> CatalogRow:
        prompts = {column: _prompt(column, values.get(column, "")) for column in PROMPT_COLUMNS}
        seed = _seed(values.get("seed", ""))
        given = values.get("id", "")
        row = CatalogRow(
            line=record.line,
            id=_checked_id(given) if given else _derived_id(prompts, seed),
            **prompts,
            seed=seed,
            preset=self._choice("preset", values.get("preset", "")),
            body=self._choice("body", values.get("body", "")),
            tags=_tags(values.get("tags", "")),
            extra={name: values[name] for name in self._extra if values.get(name)},
        )
        self._claim(row, given=bool(given))
        return row

    def _choice(self, field: str, value: str) -> str | None:
        if not value:
            return None
        choices = self._choices[field]
        if choices is None and not _is_safe_name(value):
            raise Rejection(field, f"{value[:80]!r} is no name", "use letters, digits, '.', '_' and '-'")
        if choices is not None and value not in choices:
            known = ", ".join(sorted(choices))
            remedy = f"leave it empty or use one of: {known}{_MORE.get(field, '')}"
            raise Rejection(field, f"{value[:80]!r} is unknown", remedy)
        return value

    def _claim(self, row: CatalogRow, given: bool) -> None:
        """Reserve the row's id; file systems that ignore case decide what is the same."""
        digest = hash(row.id.lower())  # 64 bits: half a million million ids for one chance hit
        first = self._lines.setdefault(digest, row.line)
        if first == row.line:
            return
        if given:
            raise Rejection(
                "id",
                f"{row.id!r} is used in line {first} already (case does not count)",
                "give each row an id of its own, or leave it empty to get one",
            )
        raise Rejection(
            "id",
            f"the row repeats line {first}: the same prompts and seed give the same id, {row.id!r}",
            "remove the row, or give it another seed or an id of its own",
        )


_COLUMNS = frozenset({*PROMPT_COLUMNS, "id", "seed", "preset", "body", "tags"})


def _refuse_characters(values: Mapping[str, str]) -> None:
    for field, value in values.items():
        if _UNDECODED.search(value):
            raise Rejection(field, "it is not UTF-8 text", "save the file as UTF-8")
        found = _CONTROL.search(value)
        if found:
            raise Rejection(field, f"it contains the control character U+{ord(found[0]):04X}", "remove that character")


def _tidy(value: str) -> str:
    if value.isascii():
        return " ".join(value.split())
    return " ".join(unicodedata.normalize("NFC", value.replace("\ufeff", "")).split())


def _prompt(field: str, value: str) -> str:
    if not _PRINTED.search(value) and not any(unicodedata.category(one)[0] not in "CZM" for one in value):
        raise Rejection(field, "it is empty", f"describe the {field} in a few words")
    if len(value) > MAX_TEXT:
        raise Rejection(field, f"it has {len(value)} characters", f"shorten it to at most {MAX_TEXT} characters")
    return value


def _seed(value: str) -> int | None:
    if not value:
        return None
    remedy = f"use a whole number from 0 to {MAX_SEED}, or leave it empty"
    if not _DIGITS.fullmatch(value):
        raise Rejection("seed", f"{value[:80]!r} is no integer", remedy)
    if len(value) > 20 or not 0 <= int(value) <= MAX_SEED:
        raise Rejection("seed", f"{value[:80]} is out of range", remedy)
    return int(value)


def _tags(value: str) -> tuple[str, ...]:
    if not value:
        return ()
    if len(value) > MAX_TEXT:
        raise Rejection("tags", f"it has {len(value)} characters", f"shorten it to at most {MAX_TEXT} characters")
    tags = (tag.strip() for tag in _TAG_SEPARATORS.split(value))
    return tuple(dict.fromkeys(tag for tag in tags if tag))


def _is_safe_name(value: str) -> bool:
    return bool(_SAFE_NAME.fullmatch(value)) and not value.endswith(".") and not _RESERVED.fullmatch(value)


def _checked_id(value: str) -> str:
    if _RESERVED.fullmatch(value):
        raise Rejection("id", f"{value[:80]!r} is a reserved name on Windows", "choose another id")
    if not _is_safe_name(value):
        raise Rejection(
            "id",
            f"{value[:80]!r} is no safe file name",
            "use 1 to 80 of A-Z, a-z, 0-9, '.', '_' and '-', beginning with a letter or digit, "
            "not ending with a dot; or leave it empty to get an id",
        )
    return value


def _derived_id(prompts: Mapping[str, str], seed: int | None) -> str:
    """Return an id that stays the same wherever the row stands: words of the prompts and a short digest."""
    text = "\x1f".join([*prompts.values(), "" if seed is None else str(seed)])
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
    parts = [part for part in map(_slug, prompts.values()) if part]
    return "-".join([*(parts or ["avatar"]), digest])


def _slug(text: str) -> str:
    """Return the leading words of a text in a-z and 0-9, joined by '-', at most _SLUG_PART characters."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", plain)
    slug = ""
    for word in words:
        longer = f"{slug}-{word}" if slug else word[:_SLUG_PART]
        if len(longer) > _SLUG_PART:
            break
        slug = longer
    return slug


def _readable(text: str) -> str:
    """Return text in which undecoded bytes are written as escapes, fit for UTF-8 and for a screen."""
    shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", shown)
