"""Named colours of the caption grammar: base colours, their shades, the words for them and RGB samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHADES: tuple[str, ...] = ("", "dark", "light")

# Anchor RGB of each base colour for the plain, dark and light shade (None: the shade has no use of its own).
_ANCHORS: dict[str, tuple[tuple[float, float, float] | None, ...]] = {
    "red": ((0.85, 0.08, 0.08), (0.48, 0.03, 0.05), None),
    "orange": ((0.95, 0.48, 0.05), (0.76, 0.34, 0.02), None),
    "yellow": ((0.96, 0.88, 0.10), (0.76, 0.66, 0.05), (1.0, 0.96, 0.58)),
    "green": ((0.10, 0.60, 0.15), (0.03, 0.30, 0.08), (0.50, 0.90, 0.45)),
    "teal": ((0.08, 0.68, 0.68), (0.0, 0.38, 0.40), (0.52, 0.92, 0.92)),
    "blue": ((0.10, 0.20, 0.85), (0.04, 0.06, 0.40), (0.45, 0.66, 0.96)),
    "purple": ((0.50, 0.12, 0.65), (0.28, 0.04, 0.38), (0.75, 0.55, 0.90)),
    "pink": ((0.95, 0.48, 0.70), (0.90, 0.15, 0.55), (1.0, 0.78, 0.87)),
    "brown": ((0.42, 0.24, 0.10), (0.25, 0.13, 0.05), (0.62, 0.43, 0.26)),
    "beige": ((0.86, 0.77, 0.60), (0.70, 0.63, 0.45), None),
    "black": ((0.05, 0.05, 0.05), None, None),
    "white": ((0.95, 0.95, 0.95), None, None),
    "gray": ((0.50, 0.50, 0.50), (0.28, 0.28, 0.28), (0.73, 0.73, 0.73)),
    "gold": ((0.84, 0.65, 0.15), None, None),
    "silver": ((0.75, 0.77, 0.80), None, None),
}
BASES: tuple[str, ...] = tuple(_ANCHORS)
BASE_INDEX: dict[str, int] = {name: index for index, name in enumerate(BASES)}
METALS: frozenset[str] = frozenset({"gold", "silver"})

# Other words for a base colour in a shade; the plain "<shade> <base>" is always among them.
_SYNONYMS: dict[tuple[str, str], tuple[str, ...]] = {
    ("red", ""): ("scarlet", "crimson", "bright red", "ruby", "cherry", "vermilion"),
    ("red", "dark"): ("maroon", "burgundy", "deep red", "wine", "blood red"),
    ("orange", ""): ("tangerine", "bright orange", "carrot"),
    ("orange", "dark"): ("rust", "burnt orange", "amber"),
    ("yellow", ""): ("bright yellow", "lemon", "sunflower"),
    ("yellow", "dark"): ("mustard", "ochre"),
    ("yellow", "light"): ("pale yellow", "pastel yellow"),
    ("green", ""): ("bright green", "emerald", "grass green"),
    ("green", "dark"): ("forest green", "deep green", "olive", "hunter green"),
    ("green", "light"): ("lime", "lime green", "pale green", "mint"),
    ("teal", ""): ("turquoise",),
    ("teal", "dark"): ("deep teal", "petrol"),
    ("teal", "light"): ("cyan", "aqua", "aquamarine"),
    ("blue", ""): ("royal blue", "bright blue", "sapphire", "cobalt", "cobalt blue"),
    ("blue", "dark"): ("navy", "navy blue", "deep blue", "midnight blue"),
    ("blue", "light"): ("sky blue", "pale blue", "azure", "baby blue"),
    ("purple", ""): ("violet", "amethyst"),
    ("purple", "dark"): ("plum", "deep purple", "aubergine"),
    ("purple", "light"): ("lavender", "lilac", "mauve"),
    ("pink", ""): ("rose", "bubblegum pink"),
    ("pink", "dark"): ("hot pink", "magenta", "fuchsia"),
    ("pink", "light"): ("pale pink", "pastel pink", "baby pink"),
    ("brown", ""): ("chestnut", "coffee", "walnut"),
    ("brown", "dark"): ("chocolate", "mahogany", "deep brown"),
    ("brown", "light"): ("tan", "caramel"),
    ("beige", ""): ("cream", "sand colored", "sandy"),
    ("beige", "dark"): ("khaki",),
    ("black", ""): ("ebony", "jet black", "pitch black"),
    ("white", ""): ("ivory", "snow white", "pearl white", "bright white"),
    ("gray", ""): ("grey", "ash", "slate"),
    ("gray", "dark"): ("dark grey", "charcoal", "anthracite"),
    ("gray", "light"): ("light grey", "pale grey"),
    ("gold", ""): ("golden", "gilded"),
    ("silver", ""): ("silvery", "chrome"),
}


@dataclass(frozen=True)
class Color:
    """A base colour (index into BASES) in a shade (index into SHADES)."""

    base: int
    shade: int = 0

    @property
    def name(self) -> str:
        """The plain name, as "dark blue"."""
        return f"{SHADES[self.shade]} {BASES[self.base]}".strip()


def all_colors() -> tuple[Color, ...]:
    """Return every base colour in every shade that it has."""
    return tuple(
        Color(base, shade)
        for base, anchors in enumerate(_ANCHORS.values())
        for shade, anchor in enumerate(anchors)
        if anchor is not None
    )


_NAMES: dict[str, Color] = {color.name: color for color in all_colors()} | {
    word: Color(BASE_INDEX[base], SHADES.index(shade)) for (base, shade), words in _SYNONYMS.items() for word in words
}


def parse_color(text: str) -> Color:
    """Return the colour that a name or synonym stands for; raises KeyError for an unknown one."""
    return _NAMES[text.strip().lower()]


def color_names() -> tuple[str, ...]:
    """Return every colour name and synonym, longest first (so that prefixes match greedily)."""
    return tuple(sorted(_NAMES, key=len, reverse=True))


def color_word(color: Color, rng: np.random.Generator) -> tuple[str, bool]:
    """Return a word for `color`, and whether it tells the shade and not only the base colour."""
    if color.shade and rng.random() < 0.35:
        return BASES[color.base], False
    synonyms = _SYNONYMS.get((BASES[color.base], SHADES[color.shade]), ())
    if synonyms and rng.random() < 0.3:
        return synonyms[int(rng.integers(len(synonyms)))], bool(color.shade)
    return color.name, bool(color.shade)


def sample_color(rng: np.random.Generator, exclude: tuple[int, ...] = ()) -> Color:
    """Return a random colour whose base is not in `exclude`; base colours are equally likely."""
    bases = [base for base in range(len(BASES)) if base not in exclude]
    base = bases[int(rng.integers(len(bases)))]
    shades = [shade for shade, anchor in enumerate(_ANCHORS[BASES[base]]) if anchor is not None]
    shade = 0 if rng.random() < 0.55 else shades[int(rng.integers(len(shades)))]
    return Color(base, shade)


def sample_rgb(color: Color, rng: np.random.Generator) -> np.ndarray:
    """Return an RGB sample (3,) float32 in [0, 1] that still deserves the name of `color`."""
    anchor = _ANCHORS[BASES[color.base]][color.shade]
    if anchor is None:
        raise KeyError(f"{BASES[color.base]} has no {SHADES[color.shade]} shade")
    tint = rng.uniform(-0.05, 0.05, 3)
    if BASES[color.base] in ("black", "white", "gray", "silver"):
        tint = tint * 0.4
    return np.clip((np.asarray(anchor) + tint) * rng.uniform(0.9, 1.1), 0.0, 1.0).astype(np.float32)


def nearest_base(rgb: np.ndarray) -> np.ndarray:
    """Return the base colour (N,), an index into BASES, whose anchor of any shade is nearest to each RGB (N, 3)."""
    colors = all_colors()
    anchors = np.asarray([_ANCHORS[BASES[color.base]][color.shade] for color in colors], dtype=np.float32)
    away = ((np.asarray(rgb)[:, None] - anchors[None]) ** 2).sum(-1)
    return np.asarray([color.base for color in colors])[away.argmin(1)]


SKIN_TONES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "pale": ((0.96, 0.86, 0.80), (0.94, 0.82, 0.74)),
    "fair": ((0.92, 0.75, 0.64), (0.89, 0.71, 0.58)),
    "tan": ((0.80, 0.60, 0.44), (0.74, 0.54, 0.39)),
    "brown": ((0.58, 0.39, 0.27), (0.52, 0.34, 0.22)),
    "dark": ((0.36, 0.22, 0.15), (0.28, 0.17, 0.11)),
}
SKIN_TONE_NAMES: tuple[str, ...] = tuple(SKIN_TONES)


def sample_skin(tone: str, rng: np.random.Generator) -> np.ndarray:
    """Return an RGB sample (3,) float32 in [0, 1] of a human skin tone."""
    anchors = SKIN_TONES[tone]
    first, last = np.asarray(anchors[0]), np.asarray(anchors[-1])
    rgb = first + (last - first) * rng.random() + rng.uniform(-0.025, 0.025, 3)
    return np.clip(rgb, 0.0, 1.0).astype(np.float32)


HAIR_COLORS: dict[str, tuple[float, float, float]] = {
    "black": (0.06, 0.05, 0.05),
    "brown": (0.28, 0.16, 0.08),
    "blonde": (0.86, 0.70, 0.38),
    "red": (0.60, 0.22, 0.07),
    "gray": (0.55, 0.55, 0.55),
    "white": (0.92, 0.92, 0.90),
}
