"""CSV files that people open in a spreadsheet: no cell of them is a formula."""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def plain_cell(text: str) -> str:
    """Return a text as a cell that a spreadsheet shows instead of carrying it out; the same for most texts.

    Source: OWASP, CSV injection: an apostrophe goes before what would begin a formula.
    """
    return f"'{text}" if text.startswith(FORMULA) else text
