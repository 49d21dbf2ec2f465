"""HTML pages from templates: every text escaped, no scripts, styles inside the page."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from avatar_core import GENERATOR
from avatar_core.reports.measures import signed
from avatar_core.wording import size

CONTENT_POLICY = "script-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'"
"""What browsers refuse to do on a page, whatever text got into it."""


def render(template: str, **values: Any) -> str:
    """Return the page of a template in `templates`; lacking values are errors, not blanks."""
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_template), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(generator=GENERATOR, content_policy=CONTENT_POLICY)
    environment.filters.update(clock=clock, bytes=byte_size, signed=signed)
    return environment


def _template(name: str) -> str:
    return (files("avatar_core.reports") / "templates" / name).read_text(encoding="utf-8")


def clock(seconds: float | None) -> str:
    """Return a length of time for people: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min, 120 h."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if seconds < 9.95:
        said = f"{seconds:.1f} s"
    elif whole < 60:
        said = f"{whole} s"
    elif whole < 3600:
        said = f"{whole // 60} min {whole % 60:02d} s"
    elif whole < 100 * 3600:
        said = f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    else:
        said = f"{whole / 3600:,.0f} h"
    return unbroken(said)


def unbroken(text: str) -> str:
    """Return a text whose blanks do not break lines."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def byte_size(number: float) -> str:
    """Return a number of bytes for people, on one line."""
    return unbroken(size(number))
