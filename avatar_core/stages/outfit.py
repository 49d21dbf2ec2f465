"""An outfit: which wearables a body has on and in which colours, as the regions of an avatar's base layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from avatar_core.stages.garment_shapes import Shape
from avatar_core.stages.wearables import INDEX, WEARABLES, Coverage

RGB = tuple[float, float, float]
Layer = tuple[int, RGB]
"""Index of a wearable, and its colour."""

GARMENT_COLORS: dict[str, RGB] = {
    "red": (0.84, 0.09, 0.09),
    "dark red": (0.48, 0.04, 0.06),
    "orange": (0.94, 0.47, 0.06),
    "yellow": (0.95, 0.86, 0.12),
    "gold": (0.83, 0.64, 0.17),
    "lime": (0.52, 0.88, 0.42),
    "green": (0.11, 0.58, 0.16),
    "dark green": (0.04, 0.31, 0.09),
    "teal": (0.09, 0.62, 0.63),
    "light blue": (0.47, 0.68, 0.95),
    "blue": (0.11, 0.21, 0.83),
    "navy": (0.05, 0.07, 0.38),
    "purple": (0.49, 0.13, 0.63),
    "lilac": (0.75, 0.58, 0.90),
    "pink": (0.94, 0.50, 0.71),
    "magenta": (0.88, 0.17, 0.55),
    "brown": (0.41, 0.24, 0.11),
    "tan": (0.64, 0.46, 0.29),
    "beige": (0.85, 0.76, 0.60),
    "white": (0.94, 0.94, 0.94),
    "silver": (0.75, 0.77, 0.80),
    "grey": (0.50, 0.50, 0.50),
    "dark grey": (0.27, 0.27, 0.28),
    "black": (0.06, 0.06, 0.06),
}
SKIN_COLORS: dict[str, RGB] = {
    "pale": (0.94, 0.83, 0.77),
    "fair": (0.90, 0.73, 0.61),
    "tan": (0.77, 0.57, 0.42),
    "brown": (0.55, 0.37, 0.25),
    "dark": (0.32, 0.20, 0.13),
}
HAIR_COLORS: dict[str, RGB] = {
    "black": (0.06, 0.05, 0.05),
    "brown": (0.28, 0.16, 0.08),
    "blonde": (0.85, 0.69, 0.38),
    "ginger": (0.60, 0.23, 0.08),
    "grey": (0.55, 0.55, 0.55),
    "white": (0.92, 0.92, 0.90),
}
EYE_WHITE: RGB = (0.93, 0.93, 0.92)
IRIS: RGB = (0.32, 0.20, 0.11)
PUPIL: RGB = (0.03, 0.03, 0.03)
GLINT: RGB = (1.0, 1.0, 1.0)
LASHES: RGB = (0.09, 0.06, 0.05)
REPLACED_BY_ONE_PIECE = ("top", "bottom")
"""Slots that a dress, robe or bodysuit empties."""
HIDDEN_BELOW = 0.015
"""A garment of which less than this part can be seen is not told of."""
CLOTH, NATURAL, FIXED = (1.0, 1.0), (0.35, 0.1), (0.2, 0.0)
"""Freedoms, of lightness and of hue: of clothes, of natural skin and hair, of brows and what belongs to the eyes."""
DERIVED = ("brows", "lips", "mouth line", "eyes", "irises", "pupils", "glints", "lashes")
"""Slots whose colours follow from skin and hair."""
SLOTS: tuple[str, ...] = tuple(dict.fromkeys(wearable.slot for wearable in WEARABLES if wearable.slot not in DERIVED))


@dataclass(frozen=True)
class Worn:
    """One wearable and the name of its colour."""

    wearable: str
    color: str

    @property
    def slot(self) -> str:
        """The slot it takes."""
        return WEARABLES[INDEX[self.wearable]].slot

    @property
    def rgb(self) -> RGB:
        """Its colour in [0, 1]."""
        return colors_of(self.slot)[self.color]


@dataclass(frozen=True)
class Outfit:
    """What is worn, at most one wearable a slot; skin always."""

    worn: tuple[Worn, ...]

    def get(self, slot: str) -> Worn | None:
        """Return what is worn in a slot."""
        return next((worn for worn in self.worn if worn.slot == slot), None)

    def put(self, slot: str, worn: Worn | None) -> Outfit:
        """Return the outfit with `slot` changed to `worn`, or emptied; one piece takes the place of two."""
        gone = (slot, *REPLACED_BY_ONE_PIECE) if slot == "full" and worn is not None else (slot,)
        others = tuple(other for other in self.worn if other.slot not in gone)
        return replace(self, worn=others if worn is None else (*others, worn))

    def layers(self) -> list[Layer]:
        """Return wearable indices and colours of everything to paint, in the order in which it is put on."""
        colors = {INDEX[worn.wearable]: worn.rgb for worn in self.worn}
        skin, hair = self.get("skin"), self.get("hair")
        tone = skin.rgb if skin else SKIN_COLORS["fair"]
        brow = _scaled(hair.rgb, 0.8) if hair else _scaled(tone, 0.4)
        lips = (min(1.0, 0.82 * tone[0] + 0.08), 0.74 * tone[1], 0.74 * tone[2])
        derived = {"brows": brow, "lips": lips, "eyes": EYE_WHITE, "irises": IRIS, "pupils": PUPIL}
        derived |= {"mouth line": _scaled(lips, 0.55), "glints": GLINT, "lashes": LASHES}
        colors |= {INDEX[name]: rgb for name, rgb in derived.items()}
        return sorted(colors.items())

    def summary(self) -> dict[str, str]:
        """Return slot to "colour wearable"."""
        return {worn.slot: f"{worn.color} {worn.wearable}" for worn in self.worn}


def _scaled(rgb: RGB, factor: float) -> RGB:
    return rgb[0] * factor, rgb[1] * factor, rgb[2] * factor


def colors_of(slot: str) -> dict[str, RGB]:
    """Return the colours that a slot can have; natural ones first."""
    if slot == "skin":
        return SKIN_COLORS | {f"{name} paint": rgb for name, rgb in GARMENT_COLORS.items()}
    if slot in ("hair", "beard"):
        dyed = ("green", "blue", "purple", "pink", "red", "light blue")
        return HAIR_COLORS | {f"{name} dye": GARMENT_COLORS[name] for name in dyed}
    return GARMENT_COLORS


def visible(outfit: Outfit, coverage: Coverage) -> Outfit:
    """Return the outfit without what other garments hide almost entirely."""
    layers = outfit.layers()
    shown = memberships(coverage, layers).sum(0)
    own = coverage.shares[:, [index for index, _ in layers]].sum(0).clamp_min(1e-6)
    part = {WEARABLES[index].name: float(value) for (index, _), value in zip(layers, shown / own)}
    kept = tuple(worn for worn in outfit.worn if worn.slot == "skin" or part[worn.wearable] > HIDDEN_BELOW)
    return replace(outfit, worn=kept)


def memberships(coverage: Coverage, layers: list[Layer]) -> Tensor:
    """Return (V, R) shares of a body's vertices that the layers have when put on in order."""
    return put_on(coverage.shares[:, [index for index, _ in layers]])


def put_on(shares: Tensor) -> Tensor:
    """Return what is seen (N, R) of layers that cover `shares` (N, R), each hiding what was put on before it."""
    hidden = torch.cumprod((1.0 - shares).flip(1), dim=1).flip(1)
    above = torch.cat([hidden[:, 1:], torch.ones_like(hidden[:, :1])], dim=1)
    return shares * above


def thicknesses(layers: list[Layer]) -> Tensor:
    """Return (R,) how far the layers stand off the body, metres."""
    return torch.tensor([WEARABLES[index].thickness for index, _ in layers])


def freedoms(outfit: Outfit) -> Tensor:
    """Return (R, 2) in [0, 1]: how far guidance may move the lightness and the hue of each layer's colour.

    Natural skin and hair stay what they are: an image-text model is hardly disturbed by blotches that people are.
    """
    tones = {"skin": SKIN_COLORS, "hair": HAIR_COLORS, "beard": HAIR_COLORS}
    natural = {worn.slot for worn in outfit.worn if worn.color in tones.get(worn.slot, ())}
    free = {slot: NATURAL for slot in natural}
    if "skin" in natural or outfit.get("skin") is None:
        free |= {slot: NATURAL for slot in ("lips", "mouth line")}
    free |= {slot: FIXED for slot in DERIVED if slot not in ("lips", "mouth line")}
    return torch.tensor([free.get(WEARABLES[index].slot, CLOTH) for index, _ in outfit.layers()])


def shapes(layers: list[Layer]) -> list[tuple[int, Shape]]:
    """Return what stands away from the body, each with the number of its layer."""
    found = ((number, WEARABLES[index].shape) for number, (index, _) in enumerate(layers))
    return [(number, shape) for number, shape in found if shape is not None]
