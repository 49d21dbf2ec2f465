"""Says what a scene shows, in ever different words, and what it does not show (hard negatives).

A caption carries the facts it claims, so that training knows exactly which captions are true of which images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from avatar_core.training.garments import GARMENTS, PATTERNS
from avatar_core.training.look_language import Archetype
from avatar_core.training.motion_clips import PoseLabel
from avatar_core.training.painting import Layer, Look
from avatar_core.training.palette import color_word, sample_color
from avatar_core.training.scene import NUM_FACTS, VIEWS, Scene, fact_slot, layer_facts

_NOUNS: dict[tuple[int, int], tuple[str, ...]] = {  # (sex, age) -> words
    (0, 0): ("boy", "little boy", "male child", "young boy"),
    (1, 0): ("girl", "little girl", "female child", "young girl"),
    (0, 1): ("man", "man", "man", "guy", "male", "gentleman"),
    (1, 1): ("woman", "woman", "woman", "lady", "female"),
    (0, 2): ("old man", "elderly man", "senior man", "old guy"),
    (1, 2): ("old woman", "elderly woman", "senior woman", "old lady"),
}
_AGELESS: tuple[tuple[str, ...], ...] = (("man", "male person", "male"), ("woman", "female person", "female"))
_NEUTRAL: tuple[str, ...] = ("person", "human", "character", "figure", "someone")
_ADJECTIVES: dict[tuple[str, int], tuple[str, ...]] = {
    ("height", 2): ("tall", "very tall", "tall"),
    ("height", 0): ("short", "very short", "small"),
    ("weight", 2): ("fat", "overweight", "obese", "chubby", "heavy", "plump", "very fat", "stout"),
    ("weight", 0): ("skinny", "thin", "slim", "slender", "very thin", "lean"),
    ("muscle", 2): ("muscular", "strong", "athletic", "buff", "very muscular", "well-built"),
    ("muscle", 0): ("weak", "frail", "untrained"),
}
_BELLIES: tuple[tuple[str, ...], ...] = (  # of a round belly, by sex
    ("pot-bellied", "round-bellied", "big-bellied"),
    ("pregnant", "pregnant", "heavily pregnant", "expecting"),
)
_PATTERN_FORMS: dict[str, tuple[str, ...]] = {
    "striped": ("{a} striped {g}", "{a} and {b} striped {g}", "{a} {g} with {b} stripes", "striped {a} and {b} {g}"),
    "vertical stripes": ("{a} and {b} striped {g}", "{a} {g} with vertical {b} stripes"),
    "checked": ("{a} and {b} checked {g}", "{a} {g} with {b} checks", "checkered {a} and {b} {g}", "{a} plaid {g}"),
    "dotted": ("{a} {g} with {b} dots", "{a} polka dot {g}", "{a} dotted {g}", "{a} {g} with {b} polka dots"),
    "camouflage": ("{a} camouflage {g}", "{a} and {b} camouflage {g}", "camouflage {g}"),
    "patterned": ("{a} and {b} patterned {g}", "{a} {g} with a {b} pattern", "patterned {a} {g}"),
}
_TEMPLATES: tuple[str, ...] = (
    "a 3d rendering of {x} in unreal engine", "a 3d rendering of {x} in unreal engine", "{x}", "{x}", "a photo of {x}",
    "a 3d rendering of {x}", "a render of {x}", "a picture of {x}", "an image of {x}", "a 3d model of {x}",
    "a rendered 3d model of {x}", "a 3d character of {x}", "an avatar of {x}", "this is {x}",
)  # fmt: skip
_CLOSE: tuple[str, ...] = (
    "the face of {x}",
    "the face of {x}",
    "a close-up of {x}",
    "a portrait of {x}",
    "the head of {x}",
)
_HAND: tuple[str, ...] = (
    "the hand of {x}",
    "the hand of {x}",
    "a close-up of the hand of {x}",
    "{x}, the hand close up",
)
_BACK: tuple[str, ...] = (
    "the back of {x}",
    "the back of {x}",
    "{x} from behind",
    "the rear view of {x}",
    "{x} seen from the back",
)
_SIDE: tuple[str, ...] = ("{x} from the side", "a side view of {x}", "{x} in profile")
_FRONT: tuple[str, ...] = ("the front of {x}", "{x} from the front", "a front view of {x}")
_SEEN_ON: dict[str, tuple[str, ...]] = {
    "skin": ("face", "chest", "belly", "hand", "thigh", "shin"), "hair": ("scalp",), "beard": ("face",),
    "head": ("scalp",), "face": ("face",), "top": ("chest", "belly"), "inner": ("chest",), "bottom": ("thigh",),
    "full": ("chest", "belly", "thigh"), "feet": ("foot",), "socks": ("shin",), "hands": ("hand",),
    "belt": ("hips", "belly"), "cape": ("chest", "belly"), "emblem": ("chest",), "neck": ("neck", "chest"),
}  # fmt: skip
_MENTION: dict[str, float] = {
    "hair": 0.4, "beard": 0.5, "top": 0.85, "bottom": 0.85, "full": 0.95, "feet": 0.5, "socks": 0.3, "hands": 0.5,
    "head": 0.75, "face": 0.7, "belt": 0.35, "cape": 0.7, "emblem": 0.4, "neck": 0.5, "inner": 0.25,
}  # fmt: skip


@dataclass(frozen=True)
class Caption:
    """A sentence and the facts it claims."""

    text: str
    facts: np.ndarray  # (NUM_FACTS,) int16 values
    claimed: np.ndarray  # (NUM_FACTS,) bool


def article(phrase: str) -> str:
    """Return `phrase` with a or an before it."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


class Captioner:
    """Writes captions of scenes.

    Args:
        archetypes: those that `Scene.archetype` indexes.
        poses: those that `Scene.pose` indexes.
    """

    def __init__(self, archetypes: tuple[Archetype, ...], poses: tuple[PoseLabel, ...]) -> None:
        self._archetypes, self._poses = archetypes, poses
        self._families = sorted({pose.family for pose in poses})

    def caption(self, scene: Scene, rng: np.random.Generator) -> Caption:
        """Write one caption that is true of `scene`."""
        return _Writer(scene, self._archetypes, self._poses, rng).write()

    def hard_negative(self, scene: Scene, seed: int, rng: np.random.Generator) -> Caption:
        """Write the caption that `np.random.default_rng(seed)` gives for a scene altered in one or two facts."""
        altered = self._alter(scene, rng)
        return self.caption(altered, np.random.default_rng(seed))

    def _alter(self, scene: Scene, rng: np.random.Generator) -> Scene:
        colored = [layer for layer in scene.look.layers if layer.color is not None and layer.garment != "inner shirt"]
        choice = rng.random()
        if scene.mode == "textureless" or choice < 0.25 or not colored:
            return self._alter_body(scene, rng)
        if choice < 0.65 and len({layer.color for layer in colored}) > 1:
            return _swap_colors(scene, colored, rng)
        layer = colored[int(rng.integers(len(colored)))]
        kept = () if layer.color is None else (layer.color.base,)
        other = replace(layer, color=sample_color(rng, exclude=kept))
        layers = tuple(other if one is layer else one for one in scene.look.layers)
        return replace(scene, look=Look(layers), archetype=-1)

    def _alter_body(self, scene: Scene, rng: np.random.Generator) -> Scene:
        what = int(rng.integers(5))
        if what == 0:
            pose = int(rng.integers(len(self._poses)))
            return replace(scene, pose=pose, family=self._families.index(self._poses[pose].family))
        name = ("sex", "height", "weight", "muscle")[what - 1]
        opposite = 1 - scene.body[name] if name == "sex" else (0 if scene.body[name] == 2 else 2)
        return replace(scene, body={**scene.body, name: opposite})


def _swap_colors(scene: Scene, colored: list[Layer], rng: np.random.Generator) -> Scene:
    order = rng.permutation(len(colored))
    first = colored[order[0]]
    second = next(colored[index] for index in order if colored[index].color != first.color)
    swapped = {id(first): replace(first, color=second.color), id(second): replace(second, color=first.color)}
    layers = tuple(swapped.get(id(layer), layer) for layer in scene.look.layers)
    return replace(scene, look=Look(layers), archetype=-1)


class _Writer:
    """One caption in the making: collects phrases and the facts that they claim."""

    def __init__(
        self,
        scene: Scene,
        archetypes: tuple[Archetype, ...],
        poses: tuple[PoseLabel, ...],
        rng: np.random.Generator,
    ) -> None:
        self._scene, self._archetypes, self._poses, self._rng = scene, archetypes, poses, rng
        self._facts = scene.facts()
        self._claimed = np.zeros(NUM_FACTS, bool)
        self._textured = scene.mode != "textureless"

    def write(self) -> Caption:
        style = self._rng.random()
        if self._textured and style < 0.08:
            text = self._clothes_only()
        elif style < 0.2:
            text = self._pose_only()
        elif style < 0.32:
            text = self._view(self._body(), 0.3)
        else:
            text = self._view(self._everything(), 0.7)
        template = self._pick(_TEMPLATES if " is " not in text else _TEMPLATES[:6])
        words = " ".join(template.format(x=text).split())
        return Caption(words, self._facts, self._claimed)

    def _pick(self, words: tuple[str, ...]) -> str:
        return words[int(self._rng.integers(len(words)))]

    def _claim(self, name: str, part: str | None = None) -> None:
        self._claimed[fact_slot(name, part)] = True

    def _noun(self) -> str:
        body = self._scene.body
        draw = self._rng.random()
        unseen = self._scene.kind in ("lower", "hand")
        if draw < (0.8 if unseen else 0.2) and (unseen or body["age"] == 1):
            return self._pick(_NEUTRAL)
        self._claim("sex")
        if draw < 0.5 and body["age"] != 0:
            return self._pick(_AGELESS[body["sex"]])
        self._claim("age")
        if body["age"] == 0 and draw > 0.85:
            self._claimed[fact_slot("sex")] = False
            return self._pick(("child", "kid", "little child"))
        return self._pick(_NOUNS[body["sex"], body["age"]])

    def _adjectives(self, chance: float) -> list[str]:
        body, words = self._scene.body, []
        shown_by = {"face": 0.3, "hand": 0.0, "lower": 0.6}.get(self._scene.kind, 1.0)
        if body["belly"] and self._rng.random() < min(1.0, 1.6 * chance) * shown_by:
            words.append(self._pick(_BELLIES[body["sex"]]))
            self._claim("belly")
        for name in ("height", "weight", "muscle"):
            shown = {"height": 1.0 if self._scene.kind == "standard" else 0.3}.get(name, 1.0) * shown_by
            known = (name, body[name]) in _ADJECTIVES
            if known and self._rng.random() < chance * shown * (0.3 if (name, body[name]) == ("muscle", 0) else 1):
                words.append(self._pick(_ADJECTIVES[name, body[name]]))
                self._claim(name)
        self._rng.shuffle(words)
        return words

    def _body(self) -> str:
        adjectives = self._adjectives(0.9)
        noun = self._noun()
        if noun == "someone":
            noun = "person"
        joiner = " and " if self._rng.random() < 0.5 else " "
        return article(" ".join([joiner.join(adjectives), noun]).strip())

    def _pose_phrase(self) -> str:
        self._claim("pose")
        return self._pick(self._poses[self._scene.pose].phrases)

    def _pose_only(self) -> str:
        subject = self._body() if self._rng.random() < 0.5 else article(self._pick(_NEUTRAL[:-1]))
        if self._rng.random() < 0.15:
            subject = "a rendered 3d " + subject.removeprefix("a ").removeprefix("an ")
        joiner = " is " if self._rng.random() < 0.6 else " "
        return subject + joiner + self._pose_phrase()

    def _everything(self) -> str:
        scene, rng = self._scene, self._rng
        archetype = scene.archetype >= 0 and self._textured
        named = archetype and rng.random() < 0.7
        detail = self._textured and rng.random() < (0.3 if named else 0.92)
        if named:
            subject = self._archetype_subject()
        else:
            adjectives = self._adjectives(0.45)
            noun = self._noun()
            subject = noun if noun == "someone" else article(" ".join([*adjectives, noun]))
        parts = [self._clothing()] if detail else []
        if rng.random() < 0.25:
            parts.insert(int(rng.integers(len(parts) + 1)), self._pose_phrase())
        return " ".join([subject, *(part for part in parts if part)])

    def _archetype_subject(self) -> str:
        self._claim("archetype")
        name = self._pick(self._archetypes[self._scene.archetype].names)
        if self._rng.random() < 0.25:
            adjectives = self._adjectives(0.6)
            if self._rng.random() < 0.3:
                self._claim("sex")
                adjectives.append(("male", "female")[self._scene.body["sex"]])
            name = " ".join([*adjectives, name])
        return article(name)

    def _visible_layers(self) -> list[Layer]:
        seen, kept = set(self._scene.visible), []
        for layer in self._scene.look.layers:
            category = layer.kind.category
            chance = _MENTION.get(category, 0.0)
            if category == "skin":
                chance = 0.85 if layer.tone is None else 0.12
            if category == "hair" and layer.tone is None:
                chance = 0.7
            if not seen.intersection(_SEEN_ON[category]):
                chance *= 0.2
            if category == "emblem" and self._scene.view == "back":
                chance *= 0.2
            if self._rng.random() < chance:
                kept.append(layer)
        return kept

    def _clothing(self) -> str:
        layers = self._visible_layers()
        if not layers:
            return ""
        if self._rng.random() < 0.5:
            self._rng.shuffle(layers)
        body = [layer for layer in layers if layer.kind.category in ("skin", "hair", "beard")]
        worn = [layer for layer in layers if layer not in body]
        phrases = []
        if body:
            phrases.append("with " + self._listing(body))
        if worn:
            phrases.append(self._pick(("wearing ", "in ", "dressed in ", "who wears ", "with ")) + self._listing(worn))
        self._rng.shuffle(phrases)
        return " ".join(phrases) if self._rng.random() < 0.5 else " and ".join(phrases)

    def _clothes_only(self) -> str:
        layers = self._visible_layers() or [self._scene.look.layers[0]]
        return self._listing(layers[:3])

    def _listing(self, layers: list[Layer]) -> str:
        phrases = [self.layer_phrase(layer) for layer in layers]
        if len(phrases) == 1:
            return phrases[0]
        last = " and " if self._rng.random() < 0.85 else ", "
        return ", ".join(phrases[:-1]) + last + phrases[-1]

    def layer_phrase(self, layer: Layer) -> str:
        """Name one layer ("a dark blue shirt with white dots") and claim what the words say."""
        garment, category, rng = GARMENTS[layer.garment], layer.kind.category, self._rng
        self._facts[fact_slot(category, "kind") : fact_slot(category, "kind") + 4] = layer_facts(layer)
        if garment.generic and rng.random() < 0.4:
            noun = self._pick(garment.generic)
        else:
            noun = self._pick(garment.words)
            self._claim(category, "kind")
        if garment.name == "bald":
            self._claim(category, "kind")
            return article(noun)
        color = self._color_of(layer)
        bare = garment.plural or category in ("hair", "skin") or noun in ("armor", "armour", "robes", "underwear")
        if layer.pattern and layer.second is not None and rng.random() < 0.75:
            self._claim(category, "pattern")
            form = self._pick(_PATTERN_FORMS[PATTERNS[layer.pattern]])
            phrase = form.format(a=color, b=color_word(layer.second, rng)[0], g=noun)
        elif category in ("hair", "skin") and noun.startswith(("long", "short")) and rng.random() < 0.6:
            phrase = f"{noun.split()[0]} {color} {noun.split()[1]}"
        else:
            phrase = f"{color} {noun}".strip()
        return phrase if bare else article(phrase)

    def _color_of(self, layer: Layer) -> str:
        category = layer.kind.category
        if category not in ("skin", "hair") and self._rng.random() < 0.06:
            return ""
        self._claim(category, "color")
        if layer.tone is not None or layer.color is None:
            return layer.tone or ""
        word, tells_shade = color_word(layer.color, self._rng)
        if tells_shade:
            self._claim(category, "shade")
        return word

    def _view(self, text: str, chance: float) -> str:
        scene = self._scene
        if text.startswith("someone"):
            return text
        if scene.kind == "face" and self._rng.random() < chance:
            self._claim("close")
            if scene.view == "back":
                self._claim("view")
                return "the back of the head of " + text
            return self._pick(_CLOSE).format(x=text)
        if scene.kind == "hand" and self._rng.random() < chance:
            self._claim("close")
            return self._pick(_HAND).format(x=text)
        forms = {"front": (_FRONT, 0.08), "side": (_SIDE, 0.25), "back": (_BACK, chance)}[scene.view]
        if self._rng.random() < forms[1]:
            self._claimed[fact_slot("view")] = True
            self._facts[fact_slot("view")] = VIEWS.index(scene.view)
            return self._pick(forms[0]).format(x=text)
        return text
