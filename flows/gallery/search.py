"""Searching, filtering and sorting a library's avatars in memory, by columns: no object is made for a row unseen."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from avatar_core.errors import ConfigError
from avatar_core.manifest import REVIEWS
from tasks.work import STAGES

COLUMNS = (
    "avatar_id", "state", "stage", "error_stage", "score", "seed", "key", "shape", "appearance", "motion", "tags",
    "review", "updated_at",
)  # fmt: skip
"""The columns of the states that an index needs."""

STATES = ("done", "failed", "running", "accepted")
UNREVIEWED = "none"
SORTS: Mapping[str, Sequence[tuple[str, str]]] = {
    "id": (("avatar_id", "ascending"),),
    "newest": (("updated_at", "descending"), ("avatar_id", "ascending")),
    "score": (("score", "descending"), ("avatar_id", "ascending")),
    "worst": (("score", "ascending"), ("avatar_id", "ascending")),
}
"""Orders by name: by id, the last changed first, the best first, the worst first; without a score last."""

MAX_WORDS = 16
MAX_TAGS = 40
_WORD = re.compile(r'"([^"]+)"|(\S+)')


@dataclass(frozen=True)
class Query:
    """What is looked for; empty values do not matter."""

    q: str = ""
    """Words, or phrases in quotation marks, all of which occur in the id, the prompts or the tags."""
    state: str = ""
    stage: str = ""
    """Where it is, or where it failed."""
    review: str = ""
    """One of REVIEWS, or UNREVIEWED."""
    tag: str = ""
    least: float | None = None
    """Lowest score."""
    most: float | None = None
    """Highest score."""
    sort: str = "id"

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> "Query":
        """Return the query of an address's parameters; raises ConfigError for a value that cannot be meant."""
        texts = {name: values.get(name, "").strip() for name in ("q", "state", "stage", "review", "tag")}
        sort = values.get("sort") or "id"
        choices = {"state": STATES, "stage": STAGES, "review": (*REVIEWS, UNREVIEWED)}
        for name, known in choices.items():
            if texts[name] and texts[name] not in known:
                raise ConfigError(f"{name}={texts[name]!r}: use {', '.join(known)}, or leave it out.")
        if sort not in SORTS:
            raise ConfigError(f"sort={sort!r}: use {', '.join(SORTS)}.")
        return cls(**texts, least=_number(values, "least"), most=_number(values, "most"), sort=sort)

    @property
    def words(self) -> tuple[str, ...]:
        """The words and phrases of `q`, in small letters."""
        return tuple((phrase or word).lower() for phrase, word in _WORD.findall(self.q))[:MAX_WORDS]

    @property
    def narrowed(self) -> int:
        """How many of the filters beside words are set."""
        return sum(bool(getattr(self, name)) for name in ("stage", "tag")) + sum(
            value is not None for value in (self.least, self.most)
        )

    def link(self, **changes: Any) -> str:
        """Return the query with some values changed, as an address has it after `?`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)} | changes
        return urlencode({name: value for name, value in values.items() if value not in ("", None) and value != "id"})


def _number(values: Mapping[str, str], name: str) -> float | None:
    text = values.get(name, "").strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        raise ConfigError(f"{name}={text!r} is no number: give a score such as 0.25.") from None
    if not np.isfinite(number):
        raise ConfigError(f"{name}={text!r} is no score: give a number such as 0.25.")
    return number


class Index:
    """The avatars of a library at one moment; safe to share between threads."""

    def __init__(self, states: pa.Table) -> None:
        """Take a table with COLUMNS, in any order."""
        self._states = states
        self._rows = lru_cache(maxsize=32)(self._search)

    def __len__(self) -> int:
        """Return the number of avatars."""
        return self._states.num_rows

    def find(self, query: Query) -> np.ndarray:
        """Return the row numbers of what is looked for, (n,) int64, in the order asked for."""
        return self._rows(query)

    def read(self, rows: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """Return some rows as mappings by column."""
        return self._states.take(pa.array(rows, pa.int64())).to_pylist()

    def row_of(self, avatar_id: str) -> int | None:
        """Return the row number of an avatar, None for an unknown one."""
        row = pc.index(self._states["avatar_id"], avatar_id).as_py()
        return row if row >= 0 else None

    def counts(self, column: str) -> dict[str, int]:
        """Return how many avatars have each value of a column; those without one are left out."""
        counted = pc.value_counts(self._states[column].drop_null())
        return {item["values"]: item["counts"] for item in counted.to_pylist()}

    @cached_property
    def tags(self) -> list[tuple[str, int]]:
        """The MAX_TAGS most frequent tags with the number of avatars that have them, the most frequent first."""
        counted = pc.value_counts(pc.list_flatten(self._states["tags"])).to_pylist()
        found = [(item["values"], item["counts"]) for item in counted if item["values"]]
        return sorted(found, key=lambda item: (-item[1], item[0]))[:MAX_TAGS]

    @cached_property
    def _texts(self) -> pa.ChunkedArray:
        """Everything that words are looked for in, in small letters."""
        texts = [self._states[name] for name in ("avatar_id", "shape", "appearance", "motion")]
        texts.append(pc.binary_join(self._states["tags"], " "))
        joined = pc.binary_join_element_wise(*texts, "\n", null_handling="replace", null_replacement="")
        return pc.utf8_lower(joined)

    def _search(self, query: Query) -> np.ndarray:
        keep = np.ones(len(self), bool)
        for word in query.words:
            keep &= _true(pc.match_substring(self._texts, word))
        if query.state:
            keep &= _true(pc.equal(self._states["state"], query.state))
        if query.stage:
            keep &= _true(pc.equal(pc.coalesce(self._states["error_stage"], self._states["stage"]), query.stage))
        if query.review:
            given = self._states["review"]
            keep &= _true(pc.is_null(given) if query.review == UNREVIEWED else pc.equal(given, query.review))
        if query.tag:
            keep &= self._tagged(query.tag)
        if query.least is not None:
            keep &= _true(pc.greater_equal(self._states["score"], query.least))
        if query.most is not None:
            keep &= _true(pc.less_equal(self._states["score"], query.most))
        rows = np.flatnonzero(keep)
        found = self._states.select(sorted({name for name, _ in SORTS[query.sort]})).take(pa.array(rows))
        order = pc.sort_indices(found, sort_keys=SORTS[query.sort])
        return rows[order.to_numpy()]

    def _tagged(self, tag: str) -> np.ndarray:
        """Return which avatars have a tag, (n,) bool."""
        tags = self._states["tags"].combine_chunks()
        having = pc.list_parent_indices(tags).filter(pc.equal(pc.list_flatten(tags), tag))
        found = np.zeros(len(self), bool)
        found[having.to_numpy()] = True
        return found


def _true(mask: pa.ChunkedArray) -> np.ndarray:
    """Return where a mask is true, (n,) bool; nulls are not."""
    return pc.fill_null(mask, False).to_numpy()
