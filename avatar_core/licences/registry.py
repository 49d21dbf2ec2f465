"""The list of licences, models and data that this package knows (registry.yaml), and how they are looked up."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

Commercial = Literal["yes", "conditions", "no", "unknown"]
"""Whether a licence allows commercial use: freely, under conditions that go beyond notices, or not."""

COMMERCIAL: tuple[Commercial, ...] = ("yes", "conditions", "unknown", "no")
"""From the most liberal answer to the strictest."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Licence(_Entry):
    """What a licence allows."""

    title: str
    commercial: Commercial
    conditions: str = ""
    """What it asks for in return."""
    url: str = ""
    titles: tuple[str, ...] = ()
    """Other names that packages give it."""


class Datum(_Entry):
    """Data that models were made from."""

    title: str
    licence: str
    attribution: str = ""
    """The words in which its authors ask to be named."""
    source: str
    note: str = ""


class Model(_Entry):
    """Weights that ship with the package."""

    title: str
    licence: str
    text: str = ""
    """The licence in words, where its name says too little."""
    source: str
    data: tuple[str, ...] = ()
    """Names of what it was trained on or made from."""
    digests: tuple[str, ...]
    """sha256 of all weights that were ever shipped under this name, hex."""


class Registry(_Entry):
    """Everything that is known of licences."""

    licences: Mapping[str, Licence]
    data: Mapping[str, Datum]
    models: Mapping[str, Model]

    @model_validator(mode="after")
    def _names_are_known(self) -> Registry:
        named = {name: datum.licence for name, datum in self.data.items()}
        named |= {name: model.licence for name, model in self.models.items()}
        for name, licence in named.items():
            if licence not in self.licences:
                raise ValueError(f"{name}: the licence {licence} is not in the list")
        for name, model in self.models.items():
            missing = set(model.data) - set(self.data)
            if missing:
                raise ValueError(f"{name}: the data {', '.join(sorted(missing))} are not in the list")
        return self

    def model(self, digest: str) -> tuple[str, Model] | None:
        """Return name and entry of the shipped weights that have this digest; None for any others."""
        return next(((name, model) for name, model in self.models.items() if digest in model.digests), None)

    def identify(self, text: str) -> str | None:
        """Return the name of the licence that a text consists of, such as "Apache Software License"; None for others.

        Only exact names count, up to case, blanks and a final full stop: nothing is guessed.
        """
        wanted = _plain(text)
        for name, licence in self.licences.items():
            if wanted in {_plain(known) for known in (name, licence.title, *licence.titles)}:
                return name
        return None

    def commercial(self, expression: str) -> Commercial:
        """Return what an SPDX expression, or a name that `identify` knows, allows; "unknown" where any part is.

        Of parts joined by OR the most liberal counts, of all others the strictest.
        """
        alone = self.identify(expression)
        if alone is not None:
            return self.licences[alone].commercial
        choices = [_strictest(map(self._part, _parts(choice))) for choice in re.split(r"\s+OR\s+", expression)]
        if "(" in expression:  # a choice inside brackets is not told from one outside: the strictest of all
            return _strictest(choices)
        return min(choices, key=COMMERCIAL.index)

    def _part(self, name: str) -> Commercial:
        known = self.identify(name)
        return "unknown" if known is None else self.licences[known].commercial


def _strictest(answers: Iterable[Commercial]) -> Commercial:
    return max(answers, key=COMMERCIAL.index, default="unknown")


def _parts(choice: str) -> list[str]:
    """The licences of an expression without OR; exceptions (`WITH …`) only add permissions."""
    without = re.sub(r"\s+WITH\s+[\w.-]+", "", choice)
    return [part.strip(" ()") for part in re.split(r"\s+AND\s+", without) if part.strip(" ()")]


def _plain(text: str) -> str:
    return " ".join(text.split()).rstrip(".").casefold()


@functools.cache
def registry() -> Registry:
    """Return the package's own list."""
    text = (files("avatar_core.licences") / "registry.yaml").read_text(encoding="utf-8")
    return Registry.model_validate(yaml.safe_load(text))
