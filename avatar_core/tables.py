"""CSV files that people open in a spreadsheet: no cell of them is a formula."""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def plain_cell(text: str) -> str:
    """Return a text as a cell of one line that a spreadsheet shows instead of carrying it out; most stay as they are.

    Source: OWASP, CSV injection: an apostrophe goes before what would begin a formula.
    """
    line = " ".join(text.splitlines()).strip()
    return f"'{line}" if line.startswith(FORMULA) else line
