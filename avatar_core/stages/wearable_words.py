"""What prompts call the things that can be worn."""

from __future__ import annotations

import re
from collections.abc import Iterator

from avatar_core.stages.wearables import WEARABLES

WORDS: dict[str, tuple[str, ...]] = {
    "socks": ("stocking",),
    "shorts": ("swim trunk", "swimming trunk", "board short", "hot pant"),
    "trousers": ("pant", "jeans", "leggings", "chino", "slacks", "sweatpant", "suit"),
    "skirt": ("kilt",),
    "wide skirt": ("full skirt", "flared skirt", "circle skirt", "puffy skirt", "big skirt", "tutu", "crinoline"),
    "tank top": ("singlet",),
    "t-shirt": ("tee", "tshirt", "t shirt", "polo shirt", "shirt", "top"),
    "long-sleeved shirt": ("long sleeved shirt", "sweater", "jumper", "pullover", "hoodie", "sweatshirt",
                           "blouse", "shirt", "top"),
    "dress": ("gown", "frock"),
    "ball gown": (
        "ballgown", "wedding dress", "wedding gown", "princess dress", "wide dress", "puffy dress", "big dress",
        "bride",
    ),
    "robe": ("kimono", "cassock", "toga", "monk", "wizard", "witch"),
    "bodysuit": ("jumpsuit", "wetsuit", "spacesuit", "catsuit", "coverall", "overalls",
                 "tight suit", "spandex suit", "space suit", "armor", "armour", "suit of armor", "suit of armour"),
    "swimsuit": ("swimming costume", "bathing suit", "swim suit", "leotard", "bikini"),
    "open jacket": ("jacket", "blazer", "cardigan", "suit", "tuxedo"),
    "vest": ("waistcoat",),
    "coat": ("overcoat", "trenchcoat", "raincoat", "parka"),
    "tie": ("necktie",),
    "gloves": ("glove", "mitten"),
    "long gloves": ("gauntlet",),
    "shoes": ("shoe", "sneaker", "trainer", "loafer", "sandal"),
    "boots": ("boot",),
    "cape": ("cloak", "superman", "supergirl", "batman", "vampire", "dracula"),
    "afro": ("afro hair", "big hair", "huge hair", "big curly hair", "bushy hair", "clown"),
    "mustache": ("moustache",),
    "beard": ("bearded",),
    "headband": ("bandana", "headscarf"),
    "crown": ("tiara", "diadem", "king", "queen", "princess"),
    "hat": ("cap", "beanie"),
    "pointed hat": ("pointy hat", "conical hat", "cone hat", "wizard hat", "witch hat", "wizard", "witch"),
    "brimmed hat": (
        "cowboy hat", "straw hat", "sun hat", "wide-brimmed hat", "wide brimmed hat", "fedora", "sombrero", "stetson",
        "cowboy", "cowgirl",
    ),
    "top hat": ("tophat", "cylinder hat", "stovepipe hat", "magician"),
    "chef hat": ("toque", "cook hat", "baker hat", "chef", "cook"),
    "helmet": ("knight", "astronaut", "cosmonaut"),
    "hood": ("balaclava", "ninja"),
    "full mask": ("spider man", "spider-man", "spiderman", "iron man", "ironman"),
    "sunglasses": ("glasses", "goggle"),
    "face mask": ("surgical mask",),
}  # fmt: skip
"""What prompts call a wearable besides its name; the plural in s is understood, and one word may stand between the
words of a name ("a wide red skirt")."""
WEARERS = frozenset({"wizard", "witch", "cowboy", "cowgirl", "chef", "cook", "magician", "bride"})
"""Words above that name not a thing but who wears it: the plain kind that they are given beside it ("a cowboy with a
brown hat") is theirs."""
_WITHOUT = re.compile(r"\b(?:no|not|without)\s+(?:(?:an?|any|his|her|their|the)\s+)?$")
_BETWEEN = r"(?:'s)?\s+(?:(?!(?:and|or|with|no|not|without|in|a|an|the)\b)[\w-]+\s+)?"


def named_in(prompt: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the wearables that a prompt names, and those that it says are not worn ("without a hat").

    The longest name counts: a wizard's hat is no wizard, and a wide skirt no skirt.
    """
    found = mentions(prompt)
    named = {name for name, _, _, denied in found if not denied}
    return frozenset(named), frozenset({name for name, _, _, denied in found if denied} - named)


def mentions(prompt: str) -> list[tuple[str, int, int, bool]]:
    """Return name, start and end of each wearable that a prompt mentions, and whether it says that it is not worn."""
    text = prompt.lower()
    found = [(name, start, end) for name, phrase in _PATTERNS for start, end in _spans(phrase, text)]
    kept = [one for one in found if not any(_inside(one, other) for other in found)]
    theirs = {_PLAIN.get(name): name for name, start, end in kept if text[start:end] in WEARERS}
    told = []
    for name, start, end in kept:
        denied = bool(_WITHOUT.search(text[:start]))
        told.append((name if denied else theirs.get(name, name), start, end, denied))
    return told


def _pattern(phrase: str) -> re.Pattern[str]:
    words = _BETWEEN.join(re.escape(word) for word in phrase.split())
    return re.compile(rf"\b{words}(?:'?s)?\b(?!-)")


_PLAIN = {wearable.name: wearable.like for wearable in WEARABLES if wearable.like is not None}
_PATTERNS = [
    (wearable.name, _pattern(phrase))
    for wearable in WEARABLES
    for phrase in (wearable.name, *WORDS.get(wearable.name, ()))
]


def _spans(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in pattern.finditer(text))


def _inside(one: tuple[str, int, int], other: tuple[str, int, int]) -> bool:
    """Whether a name is only a part of another, longer one."""
    return other[1] <= one[1] and one[2] <= other[2] and other[2] - other[1] > one[2] - one[1]
