"""The licence that the card in a folder of weights names."""

from __future__ import annotations

import re
from pathlib import Path

_CARDS = ("card.md", "README.md")


def card_licence(folder: Path | None) -> str:
    """Return the licence that the card in a folder names; empty where there is none."""
    cards = [] if folder is None else [folder.expanduser() / name for name in _CARDS]
    return next((found for card in cards if card.is_file() and (found := _named(card))), "")


def _named(card: Path) -> str:
    """The licence in a card's row `| licence | … |`, line `Licence: …` or front matter; empty where it names none."""
    text = card.read_text(encoding="utf-8", errors="replace")
    row = re.search(r"^[|\-* ]*\**licen[cs]e\**\s*[|:]\s*(.+?)\s*\|?\s*$", text, re.IGNORECASE | re.MULTILINE)
    return row.group(1).strip("* ") if row else ""
