"""Which colours a prompt gives to the things worn ("brown trousers", "a blue and white shirt")."""

from __future__ import annotations

import re

from avatar_core.stages.outfit import GARMENT_COLORS
from avatar_core.stages.wearable_words import mentions

WORDS: dict[str, tuple[str, ...]] = {
    "red": ("scarlet", "crimson", "bright red", "ruby"),
    "dark red": ("maroon", "burgundy", "deep red", "wine red", "blood red"),
    "orange": ("bright orange", "tangerine"),
    "yellow": ("bright yellow", "lemon"),
    "gold": ("golden",),
    "lime": ("lime green", "light green", "pale green", "mint"),
    "green": ("bright green", "emerald", "grass green"),
    "dark green": ("forest green", "deep green", "olive", "olive green"),
    "teal": ("turquoise", "cyan", "aqua"),
    "light blue": ("sky blue", "pale blue", "baby blue", "azure"),
    "blue": ("royal blue", "bright blue", "cobalt"),
    "navy": ("navy blue", "dark blue", "midnight blue", "deep blue"),
    "purple": ("violet", "dark purple", "deep purple"),
    "lilac": ("lavender", "light purple", "mauve"),
    "pink": ("rose", "light pink", "pale pink"),
    "magenta": ("hot pink", "fuchsia", "dark pink"),
    "brown": ("chocolate", "dark brown", "chestnut"),
    "tan": ("light brown", "camel", "khaki"),
    "beige": ("cream", "sand coloured", "sand colored"),
    "white": ("ivory", "snow white"),
    "silver": ("silvery", "chrome"),
    "grey": ("gray", "light grey", "light gray"),
    "dark grey": ("dark gray", "charcoal"),
    "black": ("jet black", "pitch black"),
}
"""What prompts call a garment's colour besides its name."""
_NAMES = {word: name for name in GARMENT_COLORS for word in (name, *WORDS.get(name, ()))}
_COLOR = "|".join(re.escape(word) for word in sorted(_NAMES, key=len, reverse=True))
_BEFORE = re.compile(
    rf"\b(?P<first>{_COLOR})(?:(?:\s*,\s*|\s+and\s+)(?P<second>{_COLOR}))?"
    r"\s+(?:(?!(?:and|or|with|in|no|not|without)\b)[\w-]+\s+)?$"
)
_WITHIN = re.compile(rf"\b(?:{_COLOR})\b")


def colors_told(prompt: str) -> dict[str, frozenset[str]]:
    """Return the names of the colours (of GARMENT_COLORS) that a prompt gives to each wearable that it names so.

    A colour belongs to what it stands right before, or one word before ("a brown leather jacket"), or inside ("a wide
    red skirt").
    """
    text = prompt.lower()
    told: dict[str, set[str]] = {}
    for name, start, end, _ in mentions(prompt):
        before = _BEFORE.search(text[:start])
        found = [word for word in before.groups() if word] if before else []
        found += _WITHIN.findall(text[start:end])
        if found:
            told.setdefault(name, set()).update(_NAMES[word] for word in found)
    return {name: frozenset(colors) for name, colors in told.items()}
