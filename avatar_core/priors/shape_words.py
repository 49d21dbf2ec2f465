"""Words for a body's measures: sex, age, stature, bulk and muscle."""

import torch

from avatar_core.bodies import BodyModel, ShapedBody

CHILD_AGE, OLD_AGE = 0.42, 0.85
SHORT, TALL = 1.60, 1.95
"""Statures of adults in metres below and above which they are called so."""
ADULT_BULK, CHILD_BULK = (18.0, 27.5), (14.5, 20.5)
"""Body mass indices (from, to) of adults, and of children, between which bulk goes without a word."""
MUSCULAR = 0.75

_NOUNS = {
    (False, "child"): ("boy", "child"),
    (True, "child"): ("girl", "child"),
    (False, "adult"): ("man",),
    (True, "adult"): ("woman",),
    (False, "old"): ("old man", "elderly man"),
    (True, "old"): ("old woman", "elderly woman"),
}
_ADJECTIVES = {
    "short": ("short",),
    "tall": ("tall",),
    "thin": ("thin", "skinny"),
    "fat": ("fat", "overweight"),
    "muscular": ("muscular", "strong"),
}

_KINDS: dict[str, dict[str, tuple[str, ...]]] = {
    "fat": {"man": ("sumo wrestler",), "woman": ("opera singer",)},
    "muscular": {"man": ("bodybuilder", "weightlifter"), "woman": ("bodybuilder",)},
    "tall": {"man": ("basketball player", "giant"), "woman": ("basketball player", "volleyball player")},
    "short": {"man": ("jockey",), "woman": ("gymnast",)},
    "thin": {"man": ("marathon runner",), "woman": ("ballerina", "fashion model")},
}
"""Kinds of adults that are known for one measure, by the word for it and the noun; said of bodies that have no other
word against it."""


def mass_index(body: BodyModel, shaped: ShapedBody) -> float:
    """Body mass index in kilograms a square metre, at the density of water, from the volume of the mesh."""
    corners = shaped.vertices[body.faces]
    volume = torch.linalg.det(corners).sum().abs().item() / 6
    return 1000 * volume / shaped.height**2


def describe_shape(body: BodyModel, shaped: ShapedBody) -> tuple[str, ...]:
    """Return phrases that are true of a body: its noun, with each adjective, with all ("tall and fat man"), and the
    kind of people known for such a body ("sumo wrestler")."""
    facts = dict(zip(body.shape_labels, shaped.betas.tolist()))
    age = "child" if facts["age"] < CHILD_AGE else ("old" if facts["age"] > OLD_AGE else "adult")
    nouns = _NOUNS[facts["gender"] > 0.5, age]
    adjectives = _adjectives(age, shaped.height, mass_index(body, shaped), facts["muscle"])
    phrases = list(nouns)
    if age == "adult" and len(adjectives) == 1:
        # Said twice: each such kind has only a few bodies to be learnt from.
        phrases += 2 * _KINDS[adjectives[0]][nouns[0]]
    phrases += [f"{word} {nouns[0]}" for adjective in adjectives for word in _ADJECTIVES[adjective]]
    if len(adjectives) > 1:
        # And these, as the phrases that tell such bodies from all others.
        phrases += 2 * [f"{joint.join(adjectives)} {nouns[0]}" for joint in (" ", " and ")]
    return tuple(phrases)


def _adjectives(age: str, height: float, index: float, muscle: float) -> list[str]:
    found = []
    if age != "child" and not SHORT <= height <= TALL:
        found.append("short" if height < SHORT else "tall")
    thin, fat = CHILD_BULK if age == "child" else ADULT_BULK
    heavy = index > fat and muscle < 0.7
    if index < thin:
        found.append("thin")
    elif heavy:
        found.append("fat")
    if muscle > MUSCULAR and not heavy:
        found.append("muscular")
    return found
