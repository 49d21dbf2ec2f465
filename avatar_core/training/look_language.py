"""Reads outfits written in the words of the grammar ("dark blue jacket striped red, black boots") into looks."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import yaml

from avatar_core.errors import ConfigError
from avatar_core.training.garments import GARMENTS, OPEN_FRONT, PATTERNS, Garment, garment_phrases
from avatar_core.training.painting import Layer, Look
from avatar_core.training.palette import HAIR_COLORS, SKIN_TONES, color_names, parse_color

_PATTERN_WORDS = {"vertically striped": "vertical stripes"} | {name: name for name in PATTERNS[1:]}
_GARMENT_WORDS = garment_phrases()
_COLOR_WORDS = color_names()


@dataclass(frozen=True)
class Archetype:
    """A kind of person: its names and outfits, and the body that it needs."""

    name: str
    names: tuple[str, ...]  # its name and synonyms
    looks: tuple[str, ...]
    sex: str | None = None  # "male" or "female"
    build: str | None = None  # "fat", "muscular", "thin", "old" or "child"


def load_archetypes() -> tuple[Archetype, ...]:
    """Read the package's archetypes; raises ConfigError for an entry that does not parse."""
    text = (files("avatar_core.training") / "archetypes.yaml").read_text(encoding="utf-8")
    rng = np.random.default_rng(0)
    found = []
    for name, entry in yaml.safe_load(text).items():
        archetype = Archetype(
            name, (name, *entry["names"]), tuple(entry["looks"]), entry.get("sex"), entry.get("build")
        )
        for look in archetype.looks:
            parse_outfit(look, rng)
        found.append(archetype)
    return tuple(found)


def _split_prefix(text: str, words) -> tuple[str | None, str]:
    for word in words:
        if text == word or text.startswith(word + " "):
            return word, text[len(word) :].strip()
    return None, text


def parse_layer(text: str) -> Layer:
    """Read one garment, as "dark blue jacket striped red"; raises ConfigError when it cannot be read."""
    rest = " ".join(text.lower().split())
    hair_tone, skin_tone = None, None
    color_word, rest = _split_prefix(rest, (*SKIN_TONES, *HAIR_COLORS, *_COLOR_WORDS))
    if color_word is None:
        color_word, rest = _split_prefix(rest, _COLOR_WORDS)
    longer = next((word for word in _COLOR_WORDS if text.lower().strip().startswith(word + " ")), None)
    if longer and len(longer) > len(color_word or ""):
        color_word, rest = longer, text.lower().strip()[len(longer) :].strip()
    garment_word, rest = _split_prefix(rest, (*_GARMENT_WORDS, "hair", "inner"))
    if garment_word is None:
        raise ConfigError(f"{text!r}: no garment of the grammar is named; see avatar_core/training/garments.py")
    garment = _find_garment(garment_word)
    pattern_word, rest = _split_prefix(rest, _PATTERN_WORDS)
    if rest and pattern_word is None:
        raise ConfigError(f"{text!r}: {rest!r} is no pattern; known are {', '.join(_PATTERN_WORDS)}")
    if garment.category == "skin" and color_word in SKIN_TONES:
        skin_tone = color_word
    if garment.category in ("hair", "beard") and color_word in HAIR_COLORS:
        hair_tone = color_word
    color = None
    if color_word is not None and not skin_tone and not hair_tone:
        color = parse_color(color_word)
    if color is None and not (skin_tone or hair_tone or garment.name == "bald"):
        raise ConfigError(f"{text!r}: no colour of the grammar is named; see avatar_core/training/palette.py")
    pattern = PATTERNS.index(_PATTERN_WORDS[pattern_word]) if pattern_word else 0
    return Layer(garment.name, color, pattern, parse_color(rest) if pattern else None, skin_tone or hair_tone)


def _find_garment(word: str) -> Garment:
    if word == "hair":
        return GARMENTS["short hair"]
    return GARMENTS["inner shirt"] if word == "inner" else _GARMENT_WORDS[word]


def parse_outfit(text: str, rng: np.random.Generator) -> tuple[Layer, ...]:
    """Read an outfit, drawing among alternatives ("red|blue hat") and optional parts ("black belt?")."""
    layers: dict[str, Layer] = {}
    for part in text.split(","):
        words = part.strip()
        optional = words.endswith("?")
        words = words.rstrip("?")
        if "|" in words:
            words = _choose_alternative(words, rng)
        layer = parse_layer(words)
        if not optional or rng.random() < 0.5:
            layers[layer.kind.category] = layer
    return tuple(layers.values())


def _choose_alternative(words: str, rng: np.random.Generator) -> str:
    """Pick one of "red|dark blue hat": alternatives are whole colour names before the garment."""
    options = words.split("|")
    head, tail = options[:-1], options[-1]
    garment = tail
    for color in (*_COLOR_WORDS, *HAIR_COLORS, *SKIN_TONES):
        if tail.startswith(color + " "):
            garment = tail[len(color) + 1 :]
            break
    return [*(f"{option} {garment}" for option in head), tail][int(rng.integers(len(options)))]


def make_look(text: str, rng: np.random.Generator, skin: str = "fair") -> Look:
    """Build a full look from an outfit's words; skin and short brown hair are added where it names none."""
    layers = {layer.kind.category: layer for layer in parse_outfit(text, rng)}
    layers.setdefault("skin", Layer("skin", tone=skin))
    layers.setdefault("hair", Layer("short hair", tone="brown"))
    top = layers.get("top")
    if top is not None and top.garment in OPEN_FRONT:
        layers.setdefault("inner", parse_layer("white inner"))
    return Look(tuple(layers.values()))
