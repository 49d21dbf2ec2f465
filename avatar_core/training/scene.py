"""What a training image shows: body, pose, view and look, drawn at random, and as a vector of facts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np

from avatar_core.training.garments import BY_CATEGORY, CATEGORIES, KIND_INDEX, OPEN_FRONT, Garment
from avatar_core.training.look_language import Archetype, make_look
from avatar_core.training.painting import Layer, Look
from avatar_core.training.palette import BASE_INDEX, HAIR_COLORS, SKIN_TONE_NAMES, Color, sample_color

GLOBAL_FACTS: tuple[str, ...] = (
    "sex", "age", "height", "weight", "muscle", "belly", "archetype", "pose", "view", "close", "mode",
)  # fmt: skip
LAYER_FACTS: tuple[str, ...] = ("kind", "color", "shade", "pattern")
NUM_FACTS = len(GLOBAL_FACTS) + len(CATEGORIES) * len(LAYER_FACTS)
_TONES = (*SKIN_TONE_NAMES, *HAIR_COLORS)
NUM_COLORS = len(BASE_INDEX) + len(_TONES)  # colour values of a layer: base colours, then natural tones
CHILD_AGE = 0.42  # of the age phenotype; younger bodies are children
VIEWS: tuple[str, ...] = ("front", "side", "back")
CLOSE: dict[str, int] = {"face": 1, "hand": 2}  # kinds of view that show one part, and their values of the fact


def fact_slot(name: str, part: str | None = None) -> int:
    """Return the position of a global fact, or of a category's layer fact, in the facts vector."""
    if part is None:
        return GLOBAL_FACTS.index(name)
    return len(GLOBAL_FACTS) + CATEGORIES.index(name) * len(LAYER_FACTS) + LAYER_FACTS.index(part)


@dataclass(frozen=True)
class Scene:
    """Everything that captions may say about one image."""

    betas: tuple[float, ...]  # the body's shape vector
    bmi: float  # kg/m^2
    body: dict[str, int]  # classes of sex, age, height, weight, muscle (as `body_classes` has them) and belly
    pose: int  # pose label index
    family: int  # index of the label's family of alike poses
    view: str  # one of VIEWS
    kind: str  # one of geometry_bank.VIEW_KINDS
    mode: str  # one of view_renderer.MODES
    archetype: int  # index, or -1
    look: Look
    visible: tuple[str, ...]  # names of the body regions in sight, sides dropped

    def facts(self) -> np.ndarray:
        """Return the facts vector (NUM_FACTS,) int16; -1 is an absent layer or colour, a fact as any other."""
        values = np.full(NUM_FACTS, -1, dtype=np.int16)
        values[: len(GLOBAL_FACTS)] = [
            *(self.body[name] for name in GLOBAL_FACTS[:6]),
            self.archetype, self.family, VIEWS.index(self.view), CLOSE.get(self.kind, 0),
            int(self.mode == "textureless"),
        ]  # fmt: skip
        if self.mode != "textureless":
            for layer in self.look.layers:
                start = fact_slot(layer.kind.category, "kind")
                values[start : start + 4] = layer_facts(layer)
        return values

    def to_json(self) -> str:
        """Return the scene as one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Scene:
        """Read what `to_json` wrote."""
        entry = json.loads(line)
        layers = []
        for layer in entry.pop("look")["layers"]:
            for name in ("color", "second"):
                if layer[name] is not None:
                    layer[name] = Color(**layer[name])
            layers.append(Layer(**layer))
        for name in ("betas", "visible"):
            entry[name] = tuple(entry[name])
        return cls(look=Look(tuple(layers)), **entry)


def body_classes(betas: np.ndarray, stature: float, bmi: float) -> dict[str, int]:
    """Sort a body into classes (0 low, 1 middle, 2 high) by what it measures, not by its phenotypes' names.

    Args:
        betas: (6,) gender, age, muscle, weight, height, proportions.
        stature: metres.
        bmi: kg/m^2.
    """
    gender, age, muscle = (float(value) for value in betas[:3])
    child = age < CHILD_AGE
    thin, fat = (14.5, 20.5) if child else (18.0, 27.5)
    weight = 0 if bmi < thin else (2 if bmi > fat and muscle < 0.7 else 1)
    height = 1 if child else (0 if stature < 1.6 else (2 if stature > 1.95 else 1))
    return {
        "sex": int(gender > 0.5),
        "age": 0 if child else (2 if age > 0.85 else 1),
        "height": height,
        "weight": weight,
        "muscle": 2 if muscle > 0.75 and weight < 2 else (0 if muscle < 0.15 and weight == 0 else 1),
    }


def layer_facts(layer: Layer) -> tuple[int, int, int, int]:
    """Return kind, colour, shade and pattern of a layer as integers."""
    kind = KIND_INDEX[layer.garment]
    if layer.tone is not None:
        return kind, len(BASE_INDEX) + _TONES.index(layer.tone), 0, layer.pattern
    if layer.color is None:
        return kind, -1, -1, layer.pattern
    return kind, layer.color.base, layer.color.shade, layer.pattern


def fits(archetype: Archetype, body: dict[str, int]) -> bool:
    """Tell whether a body (of `body_classes`) may show an archetype."""
    if archetype.sex is not None and body["sex"] != int(archetype.sex == "female"):
        return False
    return {
        None: True,
        "fat": body["weight"] == 2,
        "thin": body["weight"] == 0,
        "muscular": body["muscle"] == 2,
        "old": body["age"] == 2,
        "child": body["age"] == 0,
    }[archetype.build]


class LookSampler:
    """Draws looks: archetypes that fit the body, and free combinations of garments."""

    def __init__(self, archetypes: tuple[Archetype, ...], archetype_share: float = 0.4) -> None:
        self.archetypes, self._share = archetypes, archetype_share

    def sample(self, body: dict[str, int], rng: np.random.Generator, hair: str = "") -> tuple[Look, int]:
        """Return a look for a body (of `body_classes`), and the archetype's index or -1.

        hair: the kind of hair that the body's geometry shows, or "" where it has none.
        """
        skin = SKIN_TONE_NAMES[int(rng.integers(len(SKIN_TONE_NAMES)))]
        if rng.random() < self._share:
            fitting = [index for index, archetype in enumerate(self.archetypes) if fits(archetype, body)]
            index = fitting[int(rng.integers(len(fitting)))]
            chosen = self.archetypes[index].looks
            look = make_look(chosen[int(rng.integers(len(chosen)))], rng, skin)
            own = look.layer("hair")
            if own is None or own.tone == "brown":  # what `make_look` gives where the archetype names none
                own = _sample_hair(body, rng, hair)
            elif hair and own.garment != hair:  # the archetype says otherwise than the geometry
                return self._free_look(body, skin, rng, hair), -1
            return Look((*(layer for layer in look.layers if layer.kind.category != "hair"), own)), index
        return self._free_look(body, skin, rng, hair), -1

    def _free_look(self, body: dict[str, int], skin: str, rng: np.random.Generator, hair: str) -> Look:
        tone = None if rng.random() < 0.15 else skin
        layers = [Layer("skin", sample_color(rng) if tone is None else None, tone=tone)]
        layers.append(_sample_hair(body, rng, hair))
        if body["sex"] == 0 and body["age"] > 0 and rng.random() < 0.3 and layers[1].garment != "bald":
            kind = _draw(BY_CATEGORY["beard"], rng)
            layers.append(Layer(kind.name, layers[1].color, tone=layers[1].tone))
        worn = ["full"] if rng.random() < 0.28 else ["top", "bottom"]
        if worn != ["full"] and rng.random() < 0.08:
            worn = ["bottom"]
        chances = {
            "feet": 0.7, "socks": 0.08, "hands": 0.18, "head": 0.22, "face": 0.1, "belt": 0.18, "cape": 0.07,
            "emblem": 0.12, "neck": 0.08,
        }  # fmt: skip
        worn += [category for category, chance in chances.items() if rng.random() < chance]
        for category in worn:
            kind = _draw(BY_CATEGORY[category], rng)
            color = sample_color(rng)
            if kind.name == "jeans":
                color = Color(BASE_INDEX["blue"], int(rng.choice([0, 1, 2])))
            pattern, second = 0, None
            if category in ("top", "bottom", "full", "neck") and rng.random() < 0.2:
                pattern, second = int(rng.integers(1, 7)), sample_color(rng, exclude=(color.base,))
            layers.append(Layer(kind.name, color, pattern, second))
            if kind.name in OPEN_FRONT:
                layers.append(Layer("inner shirt", sample_color(rng, exclude=(color.base,))))
        return Look(tuple(layers))


def _sample_hair(body: dict[str, int], rng: np.random.Generator, hair: str) -> Layer:
    """Draw the hair of a body; `hair` is the kind that its geometry shows, if any."""
    if not hair and rng.random() < (0.16 if body["sex"] == 0 else 0.03):
        return Layer("bald")
    name = hair or ("long hair" if rng.random() < (0.7 if body["sex"] else 0.15) else "short hair")
    if rng.random() < 0.15:
        return Layer(name, sample_color(rng))
    names = tuple(HAIR_COLORS)
    old = body["age"] == 2 and rng.random() < 0.6
    return Layer(name, tone=names[int(rng.integers(4, 6))] if old else names[int(rng.integers(0, 4))])


def _draw(kinds: tuple[Garment, ...], rng: np.random.Generator) -> Garment:
    weights = np.asarray([kind.weight for kind in kinds])
    return kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
