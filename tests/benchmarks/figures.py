"""Measured figures: one value with its unit, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measured value."""

    part: str
    """Which part of the benchmark it is from."""
    name: str
    """What was measured."""
    value: float
    unit: str
    setting: str = ""
    """Under which setting; figures that differ in it alone share a row of the table."""
    note: str = ""
    """How it was measured, where that is not as for all others."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object of the fields."""
        return asdict(self)


@dataclass(frozen=True)
class Row:
    """Figures that differ in their settings alone."""

    part: str
    name: str
    unit: str
    values: tuple[tuple[str, float], ...]
    """(setting, value)."""
    note: str


def rows(figures: Sequence[Figure]) -> list[Row]:
    """Return figures as rows, in their order."""
    grouped: dict[tuple[str, str, str], list[Figure]] = {}
    for figure in figures:
        grouped.setdefault((figure.part, figure.name, figure.unit), []).append(figure)
    return [
        Row(
            *key,
            tuple((one.setting, one.value) for one in ones),
            "; ".join(dict.fromkeys(o.note for o in ones if o.note)),
        )
        for key, ones in grouped.items()
    ]


def table(figures: Sequence[Figure], title: str) -> Table:
    """Return all figures as one table: a row a quantity, its settings beside one another."""
    shown = Table(title=title, title_justify="left", show_lines=False)
    for column in ("part", "what", "unit", "measured", "note"):
        shown.add_column(column, overflow="fold")
    last = ""
    for row in rows(figures):
        if row.part != last and last:
            shown.add_section()
        measured = "  ".join(
            f"[dim]{setting}:[/] {number(value)}" if setting else number(value) for setting, value in row.values
        )
        shown.add_row("" if row.part == last else row.part, row.name, row.unit, measured, row.note)
        last = row.part
    return shown


def number(value: float) -> str:
    """Return a value with three or four significant digits."""
    size = abs(value)
    if size >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.{1 if size >= 100 else 2 if size >= 1 else 3}f}"
