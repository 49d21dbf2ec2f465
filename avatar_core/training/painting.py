"""Paints a look onto points of a body: skin, face, hair and garments, one layer over the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avatar_core.bodies.surface_chart import SurfaceChart, SurfacePoints
from avatar_core.training.garments import CATEGORY_INDEX, GARMENTS, OPEN_FRONT, PATTERNS, Garment
from avatar_core.training.palette import HAIR_COLORS, Color, sample_rgb, sample_skin

_ORDER = (
    "socks", "bottom", "full", "inner", "top", "neck", "belt", "hands", "feet", "cape", "emblem", "hair", "beard",
    "head", "face",
)  # fmt: skip
_PARTS: dict[str, tuple[str, ...]] = {
    "trunk": ("chest", "belly", "hips"),
    "hips": ("hips", "belly"),
    "arms": ("upper_arm", "forearm", "hand"),
    "legs": ("thigh", "shin", "foot"),
    "feet": ("foot",),
    "head": ("face", "scalp", "ears", "eyes", "mouth"),
    "face": ("face", "mouth"),
    "scalp": ("scalp",),
    "eyes": ("eyes",),
    "neck": ("neck",),
}
_EYE_HEIGHT, _EYE_ASIDE = 1.722, 0.032  # of the neutral bind pose, metres


@dataclass(frozen=True)
class Layer:
    """One thing worn; natural skin and hair have a `tone` instead of (or beside) a colour."""

    garment: str  # key of GARMENTS
    color: Color | None = None
    pattern: int = 0  # index into PATTERNS
    second: Color | None = None  # colour of the pattern
    tone: str | None = None  # natural skin tone or hair colour

    @property
    def kind(self) -> Garment:
        """The garment's description."""
        return GARMENTS[self.garment]


@dataclass(frozen=True)
class Look:
    """What a body looks like: at most one layer of each category, skin and hair always among them."""

    layers: tuple[Layer, ...]

    def layer(self, category: str) -> Layer | None:
        """Return the layer of a category, or None."""
        return next((layer for layer in self.layers if layer.kind.category == category), None)


@dataclass(frozen=True)
class Painted:
    """N painted points."""

    albedo: np.ndarray  # (N, 3) float32 in [0, 1]
    shine: np.ndarray  # (N,) float32, strength of highlights
    category: np.ndarray  # (N,) uint8, index into CATEGORIES of the uppermost layer
    second: np.ndarray  # (N,) bool, where that layer's pattern shows its second colour


def _order(look: Look) -> tuple[str, ...]:
    """Return the categories from the skin outwards; briefs over a suit are what heroes wear."""
    bottom = look.layer("bottom")
    if bottom is None or bottom.garment != "underwear":
        return _ORDER
    rest = tuple(category for category in _ORDER if category != "bottom")
    after = rest.index("full") + 1
    return (*rest[:after], "bottom", *rest[after:])


def layer_rgb(layer: Layer, rng: np.random.Generator) -> np.ndarray:
    """Return an RGB sample (3,) of a layer's own colour."""
    if layer.kind.category == "skin" and layer.tone:
        return sample_skin(layer.tone, rng)
    if layer.tone:
        rgb = np.asarray(HAIR_COLORS[layer.tone]) * rng.uniform(0.85, 1.15) + rng.uniform(-0.02, 0.02, 3)
        return np.clip(rgb, 0, 1).astype(np.float32)
    if layer.color is None:
        raise ValueError(f"{layer.garment} has neither a colour nor a tone")
    return sample_rgb(layer.color, rng)


def pattern_mask(pattern: int, position: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return where (N,) a pattern shows its second colour at positions (N, 3) in metres."""
    name = PATTERNS[pattern]
    period = rng.uniform(0.05, 0.13)
    x, y, z = (position + rng.uniform(0, 1, 3)).T
    if name == "striped":
        return (y / period) % 1.0 < rng.uniform(0.35, 0.55)
    if name == "vertical stripes":
        return (x / period) % 1.0 < rng.uniform(0.3, 0.5)
    if name == "checked":
        return ((x / period) % 1.0 < 0.5) ^ ((y / period) % 1.0 < 0.5)
    if name == "dotted":
        grid = np.stack([x, y, z]) / period
        return (((grid[:2] % 1.0 - 0.5) ** 2).sum(0)) < rng.uniform(0.06, 0.1)
    wave = 2 * np.pi / (period * 1.6)
    phase = rng.uniform(0, 6.28, 4)
    field = np.sin(wave * x + 2 * np.sin(wave * 0.7 * y + phase[0]) + phase[1])
    field = field + np.sin(wave * y * 1.1 + 2 * np.sin(wave * 0.8 * (x + z) + phase[2]) + phase[3])
    return field > 0.2


class Painter:
    """Paints looks on one body model's chart."""

    def __init__(self, chart: SurfaceChart) -> None:
        self.chart = chart
        self._parts = {}
        for name, regions in _PARTS.items():
            inside = np.zeros(len(chart.region_names), bool)
            inside[list(chart.region_ids(*regions))] = True
            self._parts[name] = inside

    def _on(self, points: SurfacePoints, *parts: str) -> np.ndarray:
        """Return which points (N,) bool lie on any of the named parts of _PARTS."""
        inside = self._parts[parts[0]]
        for part in parts[1:]:
            inside = inside | self._parts[part]
        return inside[points.region]

    def paint(self, points: SurfacePoints, look: Look, rng: np.random.Generator) -> Painted:
        """Paint a look onto N points of the body; cuts and exact colours are drawn from `rng`."""
        skin = look.layer("skin")
        if skin is None:
            raise ValueError("a look needs skin")
        base = layer_rgb(skin, rng)
        count = len(points.region)
        painted = Painted(
            np.repeat(base[None], count, 0),
            np.zeros(count, np.float32),
            np.full(count, CATEGORY_INDEX["skin"], np.uint8),
            np.zeros(count, bool),
        )
        self._paint_face(painted.albedo, points, base, look, rng)
        for category in _order(look):
            layer = look.layer(category)
            if layer is None or layer.garment == "bald":
                continue
            mask = self.mask(points, layer, look, rng)
            first = layer_rgb(layer, rng)
            painted.albedo[mask], painted.second[mask] = first, False
            if layer.pattern and layer.second is not None:
                second = mask.copy()
                second[mask] = pattern_mask(layer.pattern, points.position[mask], rng)
                painted.albedo[second], painted.second[second] = sample_rgb(layer.second, rng), True
            painted.shine[mask] = layer.kind.shine * rng.uniform(0.6, 1.0)
            painted.category[mask] = CATEGORY_INDEX[category]
        return painted

    def _paint_face(
        self, albedo: np.ndarray, points: SurfacePoints, base: np.ndarray, look: Look, rng: np.random.Generator
    ) -> None:
        x, y, z = points.position.T
        aside, above = np.abs(x), y - _EYE_HEIGHT
        face, eyes = self._on(points, "face"), self._on(points, "eyes")
        hair = look.layer("hair")
        brow = layer_rgb(hair, rng) if hair and hair.garment != "bald" else base * 0.4
        brows = face & (aside > 0.013) & (aside < 0.05) & (above > 0.016) & (above < 0.026) & (z > 0.08)
        albedo[brows] = brow * 0.8
        lips = face & (aside < 0.026) & (above > -0.088) & (above < -0.068) & (z > 0.11)
        albedo[lips] = np.clip(base * rng.uniform(0.65, 0.95) + [rng.uniform(0.0, 0.18), 0.0, 0.0], 0, 1)
        albedo[eyes] = 0.93
        iris = eyes & ((aside - _EYE_ASIDE) ** 2 + above**2 < 0.0075**2)
        albedo[iris] = rng.uniform(0.02, 0.45, 3)

    def mask(self, points: SurfacePoints, layer: Layer, look: Look, rng: np.random.Generator) -> np.ndarray:
        """Return the points (N,) bool that a layer covers."""
        garment = layer.kind
        special = getattr(self, f"_mask_{garment.category}", None)
        if special is not None:
            return special(points, garment, rng)
        return self._mask_cut(points, garment, look, rng)

    def _mask_cut(self, points: SurfacePoints, garment: Garment, look: Look, rng: np.random.Generator) -> np.ndarray:
        region, x = points.region, points.position[:, 0]
        hem, neckline = rng.uniform(*garment.hem), rng.uniform(*garment.neckline)
        trunk = self._on(points, "trunk")
        if garment.category in ("bottom", "feet", "socks"):
            mask = np.zeros(len(region), bool)
            if garment.category == "bottom":
                mask = self._on(points, "hips") & (points.height < hem)
        else:
            collar = neckline - 2.2 * np.clip(0.05 - np.abs(x), 0, None) * (points.normal_z > 0) * rng.random()
            mask = trunk & (points.height < collar)
            if garment.category == "top":
                mask &= points.height > hem
            if garment.sleeve is None:
                mask &= (np.abs(x) < 0.15) | (points.height < 0.75)
            if neckline > 1.0 and rng.random() < 0.4:
                mask |= self._on(points, "neck") & (points.height < 1.06)
        if garment.sleeve is not None:
            mask |= self._on(points, "arms") & (points.arm < rng.uniform(*garment.sleeve))
        if garment.leg is not None and garment.category not in ("feet", "socks"):
            mask |= self._on(points, "legs") & (points.leg < rng.uniform(*garment.leg))
        if garment.name in OPEN_FRONT:
            mask &= ~self._opening(points, garment, rng)
        if garment.category == "inner":
            mask = trunk & (points.height < neckline) & (points.height > 0.1)
        return mask

    def _opening(self, points: SurfacePoints, garment: Garment, rng: np.random.Generator) -> np.ndarray:
        aside = np.abs(points.position[:, 0])
        width: float | np.ndarray = rng.uniform(0.015, 0.06)
        if garment.name == "suit jacket":
            width = np.clip((points.height - rng.uniform(0.35, 0.5)) * 0.13, 0, 0.07)
        return (aside < width) & (points.normal_z > 0.1) & self._on(points, "trunk")

    def _mask_feet(self, points: SurfacePoints, garment: Garment, rng: np.random.Generator) -> np.ndarray:
        feet, shin = self._on(points, "feet"), self._on(points, "legs")
        if garment.name == "sandals":
            return feet & ((points.position[:, 1] < 0.02) | ((points.position[:, 2] / 0.05) % 1.0 < 0.3))
        if garment.leg is None:
            return feet
        return feet | (shin & (points.leg > rng.uniform(*garment.leg)))

    def _mask_socks(self, points: SurfacePoints, garment: Garment, rng: np.random.Generator) -> np.ndarray:
        return self._mask_feet(points, garment, rng)

    def _mask_hands(self, points: SurfacePoints, garment: Garment, rng: np.random.Generator) -> np.ndarray:
        return self._on(points, "arms") & (points.arm > rng.uniform(*(garment.sleeve or (1.9, 2.1))))

    def _mask_belt(self, points: SurfacePoints, garment: Garment, rng: np.random.Generator) -> np.ndarray:
        middle, half = rng.uniform(0.12, 0.2), rng.uniform(0.025, 0.05)
        return self._on(points, "trunk") & (np.abs(points.height - middle) < half)

    def _mask_cape(self, points: SurfacePoints, garment: Garment, rng: np.random.Generator) -> np.ndarray:
        back = points.normal_z < rng.uniform(-0.35, -0.1)
        length = rng.uniform(0.6, 1.8)
        trunk = self._on(points, "trunk") & (points.height < 1.0)
        return back & (trunk | (self._on(points, "legs") & (points.leg < length)))

    def _mask_emblem(self, points: SurfacePoints, garment: Garment, rng: np.random.Generator) -> np.ndarray:
        centre = np.asarray([rng.normal(0, 0.02), rng.uniform(0.68, 0.78)])
        away = np.stack([points.position[:, 0] - centre[0], (points.height - centre[1]) * 0.6])
        inside = (np.abs(away).sum(0) if rng.random() < 0.5 else np.hypot(*away)) < rng.uniform(0.05, 0.1)
        return inside & (points.normal_z > 0.2) & self._on(points, "trunk")

    def _mask_neck(self, points: SurfacePoints, garment: Garment, rng: np.random.Generator) -> np.ndarray:
        if garment.name == "scarf":
            high = self._on(points, "trunk") & (points.height > rng.uniform(0.92, 0.98))
            return self._on(points, "neck") | high
        front = (points.normal_z > 0.2) & self._on(points, "trunk")
        return front & (np.abs(points.position[:, 0]) < rng.uniform(0.016, 0.028)) & (points.height > 0.3)

    def _mask_hair(self, points: SurfacePoints, garment: Garment, rng: np.random.Generator) -> np.ndarray:
        mask = self._on(points, "scalp")
        if garment.name == "long hair":
            behind = points.position[:, 2] < rng.uniform(-0.01, 0.05)
            mask |= behind & self._on(points, "head", "neck")
            back = self._on(points, "trunk") & (points.normal_z < -0.1)
            mask |= back & (points.height > rng.uniform(0.65, 0.95)) & (np.abs(points.position[:, 0]) < 0.11)
        return mask

    def _mask_beard(self, points: SurfacePoints, garment: Garment, rng: np.random.Generator) -> np.ndarray:
        x, y, z = points.position.T
        above = y - _EYE_HEIGHT
        face = self._on(points, "face")
        mustache = face & (np.abs(x) < 0.033) & (above > -0.068) & (above < -0.052) & (z > 0.1)
        if garment.name == "mustache":
            return mustache
        jaw = (above < -0.088) | ((np.abs(x) > 0.033) & (above < -0.05))
        sideburns = (np.abs(x) > 0.055) & (above < -0.01)
        return mustache | (face & (z > 0.015) & (jaw | sideburns))

    def _mask_head(self, points: SurfacePoints, garment: Garment, rng: np.random.Generator) -> np.ndarray:
        _, y, z = points.position.T
        above = y - _EYE_HEIGHT
        head, scalp = self._on(points, "head"), self._on(points, "scalp")
        if garment.name == "headband":
            return head & (above > 0.035) & (above < rng.uniform(0.055, 0.07))
        if garment.name == "crown":
            return head & (above > rng.uniform(0.045, 0.055)) & (above < rng.uniform(0.08, 0.1))
        if garment.name == "hat":
            return head & (above > rng.uniform(0.03, 0.055))
        open_face = (z > rng.uniform(0.05, 0.08)) & (above < rng.uniform(0.03, 0.05))
        if garment.name == "helmet":
            return (head & ~open_face & (above > rng.uniform(-0.12, -0.03))) | scalp
        return (head & ~open_face) | self._on(points, "neck")

    def _mask_face(self, points: SurfacePoints, garment: Garment, rng: np.random.Generator) -> np.ndarray:
        x, y, z = points.position.T
        above, aside = y - _EYE_HEIGHT, np.abs(x)
        head = self._on(points, "head")
        eyes = self._on(points, "eyes")
        if garment.name == "sunglasses":
            lens = ((aside - _EYE_ASIDE) / 0.026) ** 2 + (above / 0.018) ** 2 < 1
            return head & (z > 0.03) & (lens | ((np.abs(above) < 0.004) & (aside < 0.08)))
        if garment.name == "eye mask":
            return head & ~eyes & (z > 0.03) & (np.abs(above) < rng.uniform(0.018, 0.026))
        if garment.name == "face mask":
            return head & (z > 0.04) & (above < rng.uniform(-0.03, -0.02))
        return head & ~(eyes & (rng.random() < 0.6)) & (z > rng.uniform(0.0, 0.06))
