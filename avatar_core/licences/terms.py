"""The terms of the models and data that an avatar was made from, by what its report has of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from avatar_core.licences.registry import COMMERCIAL, Commercial, Datum, registry

UNKNOWN = "unknown"
CARD_SAYS = "as its card says: "
"""Begins the recorded licence of weights that were brought with a card."""
AUTHORS_SAY = "as its authors say: "
"""Begins the recorded licence of weights that users bring from where their authors publish them."""
_ASK = "These weights do not ship with the package: ask whoever made them, and mind what they were trained on."


@dataclass(frozen=True)
class Terms:
    """What one model or datum allows."""

    name: str
    """Short name."""
    title: str
    licence: str
    """Name of the licence, or the words that were recorded, or "unknown"."""
    commercial: Commercial
    conditions: str
    """What the licence asks for; what to do where it is unknown."""
    source: str
    """Where it comes from."""
    attribution: str = ""
    """The words in which the authors ask to be named; empty where they ask for none."""
    note: str = ""
    digest: str = ""
    """Of weights, hex; empty for data."""
    data: tuple[str, ...] = ()
    """Names of the data that a model was made from."""


def terms_of_weights(name: str, digest: str, recorded: str = "") -> Terms:
    """Return the terms of weights.

    Args:
        name: what the report calls them; shown only.
        digest: by which shipped weights are known.
        recorded: what the report has as their licence: believed of weights that do not ship, where it names one.
    """
    known = registry().model(digest)
    if known is not None:
        key, model = known
        allowed = registry().licences[model.licence]
        return Terms(
            name=key, title=model.title, licence=model.licence, commercial=allowed.commercial,
            conditions=allowed.conditions, source=model.source, digest=digest, data=model.data,
        )  # fmt: skip
    word = next((word for word in (CARD_SAYS, AUTHORS_SAY) if recorded.startswith(word)), None)
    said = recorded.removeprefix(word) if word is not None else ""
    licence = registry().identify(said) if said else None
    if licence is None:
        return Terms(name, name, said or UNKNOWN, "unknown", _ASK, UNKNOWN, digest=digest)
    allowed = registry().licences[licence]
    who = "its authors say" if word == AUTHORS_SAY else "its own card says"
    note = f"As {who}; what it was trained on is not known."
    return Terms(name, name, licence, allowed.commercial, allowed.conditions, UNKNOWN, note=note, digest=digest)


def terms_of_data(names: Iterable[str]) -> list[Terms]:
    """Return the terms of data, each once, in the list's order; names that are not in the list are left out."""
    wanted = set(names)
    return [_terms_of(name, datum) for name, datum in registry().data.items() if name in wanted]


def _terms_of(name: str, datum: Datum) -> Terms:
    allowed = registry().licences[datum.licence]
    return Terms(
        name=name, title=datum.title, licence=datum.licence, commercial=allowed.commercial,
        conditions=allowed.conditions, source=datum.source, attribution=datum.attribution, note=datum.note,
    )  # fmt: skip


def strictest(terms: Iterable[Terms]) -> Commercial:
    """Return what all terms together allow; "unknown" of none."""
    return max((one.commercial for one in terms), key=COMMERCIAL.index, default="unknown")
