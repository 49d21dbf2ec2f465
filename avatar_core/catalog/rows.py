"""What a catalog consists of: rows to make avatars of, and rows that were rejected with a reason."""

from collections.abc import Mapping
from dataclasses import dataclass

from avatar_core.seeds import derive_seed

PROMPT_COLUMNS = ("shape", "appearance", "motion")
OPTIONAL_COLUMNS = ("id", "seed", "preset", "body", "tags")
MAX_SEED = 2**31 - 1


@dataclass(frozen=True)
class CatalogRow:
    """One avatar to make. Texts are NFC, with runs of white space as single spaces."""

    line: int
    """Line of the file on which the row starts, from 1."""
    id: str
    """Unique in the catalog, also where case does not count; safe as a file name on every system."""
    shape: str
    appearance: str
    motion: str
    seed: int | None
    """0 .. 2**31-1, or None: `row_seed` then derives one."""
    preset: str | None
    body: str | None
    tags: tuple[str, ...]
    extra: Mapping[str, str]
    """The other columns that are not empty, by their names in the header."""


@dataclass(frozen=True)
class RejectedRow:
    """One row that makes no avatar, with what to do about it."""

    line: int
    """Line of the file on which the row starts, from 1."""
    id: str | None
    """The id given in the row, where it is a safe name."""
    field: str
    """The column at fault, or "row"."""
    reason: str
    remedy: str
    raw: str
    """The row's text as far as it could be read, cut at 1,000 characters."""


def row_seed(row: CatalogRow) -> int:
    """Return the seed of a row: the given one, or else one in 0 .. 2**31-1 derived from its id alone."""
    if row.seed is not None:
        return row.seed
    return derive_seed(0, "catalog-row", row.id) & MAX_SEED
