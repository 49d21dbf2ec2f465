"""What a body can wear: the garments of the appearance grammar, their cuts and the words for them."""

from __future__ import annotations

from dataclasses import dataclass

# One fact slot each in a scene: a body wears at most one garment of a category.
CATEGORIES: tuple[str, ...] = (
    "skin", "hair", "beard", "head", "face", "top", "inner", "bottom", "full", "feet", "socks", "hands", "belt",
    "cape", "emblem", "neck",
)  # fmt: skip
CATEGORY_INDEX: dict[str, int] = {name: index for index, name in enumerate(CATEGORIES)}
PATTERNS: tuple[str, ...] = ("plain", "striped", "vertical stripes", "checked", "dotted", "camouflage", "patterned")


@dataclass(frozen=True)
class Garment:
    """One kind of garment.

    Cuts are ranges to draw from: `sleeve` along the arm (0 shoulder, 1 elbow, 2 wrist, 3 fingertips), `leg` along
    the leg (0 hip, 1 knee, 2 ankle), `hem` and `neckline` along the trunk (0 hip joints, 1 base of the neck).
    """

    name: str
    category: str
    words: tuple[str, ...]
    generic: tuple[str, ...] = ()  # words that are true of it and of others too
    sleeve: tuple[float, float] | None = None
    leg: tuple[float, float] | None = None
    hem: tuple[float, float] = (0.05, 0.2)
    neckline: tuple[float, float] = (0.93, 1.05)
    weight: float = 1.0  # how often it is drawn within its category
    shine: float = 0.0  # strength of highlights
    plural: bool = False  # "blue trousers" rather than "a blue trouser"


_ALL: tuple[Garment, ...] = (
    Garment("t-shirt", "top", ("t-shirt", "short-sleeved shirt", "tee", "polo shirt", "tshirt"), ("shirt", "top"),
            (0.5, 0.95), weight=3.0),
    Garment("shirt", "top", ("shirt", "long-sleeved shirt", "button-down shirt", "dress shirt"), ("shirt", "top"),
            (1.7, 2.05), weight=3.0),
    Garment("sweater", "top", ("sweater", "jumper", "pullover", "hoodie", "sweatshirt", "turtleneck"), ("top",),
            (1.85, 2.1), weight=1.2),
    Garment("blouse", "top", ("blouse",), ("shirt", "top"), (1.3, 2.0), neckline=(0.85, 0.95), weight=0.5),
    Garment("tank top", "top", ("tank top", "sleeveless shirt", "singlet"), ("top",), neckline=(0.82, 0.92)),
    Garment("vest", "top", ("vest", "waistcoat"), (), hem=(0.1, 0.2), neckline=(0.7, 0.85), weight=0.8),
    Garment("crop top", "top", ("crop top", "sports bra", "bikini top"), ("top",), hem=(0.5, 0.62),
            neckline=(0.78, 0.86), weight=0.5),
    Garment("jacket", "top", ("jacket", "cardigan", "windbreaker"), (), (1.85, 2.1), hem=(0.05, 0.18), weight=2.0),
    Garment("leather jacket", "top", ("leather jacket",), ("jacket",), (1.9, 2.1), hem=(0.08, 0.2), weight=0.6,
            shine=0.5),
    Garment("suit jacket", "top", ("suit jacket", "blazer", "tuxedo jacket"), ("jacket", "suit"), (1.9, 2.05),
            hem=(0.0, 0.08),
            weight=1.0),
    Garment("coat", "top", ("coat", "long coat", "overcoat", "trench coat", "raincoat", "lab coat"), (), (1.9, 2.1),
            leg=(0.5, 1.4), hem=(-0.5, -0.4),
            weight=1.2),
    Garment("breastplate", "top", ("breastplate", "chest armor", "chest plate"), ("armor",), hem=(0.15, 0.25),
            weight=0.4, shine=0.9),
    Garment("inner shirt", "inner", ("inner shirt", "undershirt"), (), hem=(0.05, 0.2)),
    Garment("trousers", "bottom", ("trousers", "pants", "slacks", "sweatpants", "cargo pants", "joggers"), ("pants",),
            leg=(1.7, 2.05), weight=3.5,
            hem=(0.12, 0.2), plural=True),
    Garment("jeans", "bottom", ("jeans", "denim pants"), ("pants", "trousers"), leg=(1.7, 2.05), weight=1.0,
            hem=(0.12, 0.2), plural=True),
    Garment("shorts", "bottom", ("shorts", "short pants"), ("shorts",), leg=(0.35, 0.95), weight=2.0,
            hem=(0.12, 0.2), plural=True),
    Garment("skirt", "bottom", ("skirt", "kilt"), (), leg=(0.35, 1.2), weight=1.3, hem=(0.14, 0.22)),
    Garment("leggings", "bottom", ("leggings", "tights", "yoga pants"), ("pants",), leg=(1.85, 2.1), weight=0.7,
            hem=(0.12, 0.2), plural=True),
    Garment("underwear", "bottom", ("underwear", "briefs", "underpants", "swimming trunks"), (), leg=(0.08, 0.22),
            weight=0.5, hem=(0.06, 0.14), plural=True),
    Garment("dress", "full", ("dress", "sundress"), (), (-0.1, 0.7), (0.45, 1.3), weight=2.0, neckline=(0.8, 0.95)),
    Garment("gown", "full", ("gown", "long dress"), ("dress",), (-0.1, 1.9), (1.5, 2.05), neckline=(0.8, 0.95)),
    Garment("robe", "full", ("robe", "robes", "kimono", "bathrobe"), (), (1.8, 2.1), (1.5, 2.1), weight=0.9),
    Garment("jumpsuit", "full", ("jumpsuit", "overalls", "coverall"), (), (1.7, 2.05), (1.8, 2.05), weight=0.9),
    Garment("bodysuit", "full", ("bodysuit", "spandex suit", "jumpsuit", "tight suit", "catsuit", "onesie"),
            ("suit",), (1.9, 2.1),
            (1.85, 2.1), weight=1.3),
    Garment("armor", "full", ("armor", "suit of armor", "armour", "metal suit"), (), (1.9, 2.15), (1.9, 2.1),
            weight=0.9, shine=0.9),
    Garment("swimsuit", "full", ("swimsuit", "leotard", "bathing suit"), (), None, (0.05, 0.15), weight=0.4,
            neckline=(0.78, 0.9)),
    Garment("uniform", "full", ("uniform",), (), (0.6, 2.05), (1.8, 2.05), weight=0.8),
    Garment("shoes", "feet", ("shoes", "sneakers", "trainers", "loafers", "running shoes"), ("shoes",),
            leg=(1.93, 2.02), weight=2.5,
            plural=True),
    Garment("boots", "feet", ("boots",), (), leg=(1.25, 1.75), weight=1.8, plural=True),
    Garment("sandals", "feet", ("sandals", "flip-flops"), (), weight=0.2, plural=True),
    Garment("socks", "socks", ("socks", "stockings"), (), leg=(1.2, 1.8), plural=True),
    Garment("gloves", "hands", ("gloves", "mittens"), (), sleeve=(1.9, 2.1), weight=2.0, plural=True),
    Garment("long gloves", "hands", ("long gloves", "gauntlets"), ("gloves",), sleeve=(1.2, 1.6), weight=0.6,
            plural=True),
    Garment("hat", "head", ("hat", "cap", "beanie", "baseball cap", "beret"), (), weight=2.0),
    Garment("helmet", "head", ("helmet",), (), weight=1.2, shine=0.5),
    Garment("hood", "head", ("hood",), (), weight=0.8),
    Garment("headband", "head", ("headband", "bandana"), (), weight=0.7),
    Garment("crown", "head", ("crown", "tiara"), (), weight=0.4, shine=0.8),
    Garment("eye mask", "face", ("eye mask", "domino mask"), ("mask",), weight=0.7),
    Garment("face mask", "face", ("face mask", "surgical mask"), ("mask",), weight=0.8),
    Garment("full mask", "face", ("full-face mask", "mask"), ("mask",), weight=0.8),
    Garment("sunglasses", "face", ("sunglasses", "glasses", "goggles"), (), weight=0.8, shine=0.4, plural=True),
    Garment("belt", "belt", ("belt",), ()),
    Garment("cape", "cape", ("cape", "cloak", "mantle"), ()),
    Garment("emblem", "emblem", ("emblem on the chest", "logo on the chest", "symbol on the chest"), ()),
    Garment("tie", "neck", ("tie", "necktie"), (), weight=1.0),
    Garment("scarf", "neck", ("scarf", "neckerchief"), (), weight=1.0),
    Garment("beard", "beard", ("beard", "full beard"), (), weight=2.0),
    Garment("mustache", "beard", ("mustache", "moustache"), (), weight=0.7),
    Garment("short hair", "hair", ("short hair",), ("hair",), weight=2.0),
    Garment("long hair", "hair", ("long hair",), ("hair",), weight=1.5),
    Garment("bald", "hair", ("bald head", "shaved head"), (), weight=0.0),
    Garment("skin", "skin", ("skin",), ()),
)  # fmt: skip

GARMENTS: dict[str, Garment] = {garment.name: garment for garment in _ALL}
KIND_INDEX: dict[str, int] = {name: index for index, name in enumerate(GARMENTS)}
BY_CATEGORY: dict[str, tuple[Garment, ...]] = {
    category: tuple(garment for garment in _ALL if garment.category == category) for category in CATEGORIES
}
OPEN_FRONT: frozenset[str] = frozenset({"jacket", "leather jacket", "suit jacket", "coat"})


def garment_phrases() -> dict[str, Garment]:
    """Return every word for a garment that names one kind only, longest first (earlier kinds win)."""
    found: dict[str, Garment] = {}
    for garment in _ALL:
        for word in (garment.name, *garment.words):
            found.setdefault(word, garment)
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))
