"""Prompt templates: the reference method's, over what the user wrote."""

from __future__ import annotations

import re

NEUTRAL_SHAPE_PROMPT = "a 3d rendering of a person in unreal engine"

_FEMALE = re.compile(
    r"\b((?:\w+-?)?wom[ae]n|female|girl|lady|ladies|mother|grandmother|queen|princess|bride|witch|nun|actress|ballerina)\b"
)
_MALE = re.compile(
    r"\b(m[ae]n|male|boy|guy|gentleman|father|grandfather|king|prince|groom|monk|santa|"
    r"(?:super|bat|iron|ant|aqua|spider-?|he-|fire|police|fisher|milk|post|mail|sales|business|work|stunt|states?|"
    r"gentle|horse|noble|country|snow|cave|strong|stick)m[ae]n)\b"
)
_DETERMINED = re.compile(r"^(a|an|the|some|one|my|two|this|that)\b", re.IGNORECASE)


def with_article(text: str) -> str:
    """Return `text` with a or an before it, unless it starts with an article or the like."""
    words = " ".join(text.split()).rstrip(".")
    if not words or _DETERMINED.match(words):
        return words
    return f"{'an' if words[0].lower() in 'aeiou' else 'a'} {words}"


def sex_word(text: str) -> str | None:
    """Return "man" or "woman" when `text` tells which, else None."""
    lowered = text.lower()
    if _FEMALE.search(lowered):
        return "woman"
    return "man" if _MALE.search(lowered) else None


def shape_prompt(text: str) -> str:
    """Return the prompt for a body shape ("a tall and fat man")."""
    return f"a 3d rendering of {with_article(text)} in unreal engine"


def appearance_prompts(text: str, sex: str | None = None) -> dict[str, str]:
    """Return the prompts of an appearance, by view: "body", "face", "back" and "hand".

    Args:
        text: what the user wrote, as "red shirt and blue trousers" or "a firefighter".
        sex: "man" or "woman" from the shape prompt; it becomes the wearer where `text` names clothes alone.
    """
    words = " ".join(text.split()).rstrip(".")
    if sex is not None and names_clothes_only(words):
        words = f"{with_article(sex)} wearing {with_article(words)}"
    who = with_article(words)
    return {
        "body": f"a 3d rendering of {who} in unreal engine",
        "face": f"a 3d rendering of the face of {who} in unreal engine",
        "back": f"a 3d rendering of the back of {who} in unreal engine",
        "hand": f"a 3d rendering of the hand of {who} in unreal engine",
    }


_CLOTHES = re.compile(
    r"\b(shirt|t-shirt|trousers|pants|jeans|shorts|skirt|dress|jacket|coat|suit|robe|armou?r|uniform|boots|shoes|"
    r"gloves|hat|helmet|sweater|hoodie|vest|blouse|leggings|gown|jumpsuit|bodysuit|cape)\b"
)
_PEOPLE = re.compile(r"\b(person|human|character|figure|child|kid|someone|with|wearing|dressed|in an?|who)\b")


def names_clothes_only(text: str) -> bool:
    """Tell whether `text` lists clothes and names nobody who wears them."""
    lowered = text.lower()
    named = sex_word(lowered) is not None or _PEOPLE.search(lowered) is not None
    return _CLOTHES.search(lowered) is not None and not named


def motion_prompt(text: str) -> str:
    """Return the prompt for a motion ("running", "is running", "runs" or "a person is running")."""
    words = " ".join(text.split()).rstrip(".")
    if _DETERMINED.match(words) or sex_word(words) is not None:
        return f"a 3d rendering of {with_article(words)} in unreal engine"
    if _THIRD_PERSON.match(words):
        return f"a rendered 3d man {words}"
    return f"a rendered 3d man is {words.removeprefix('is ')}"


_THIRD_PERSON = re.compile(r"(?!is\b)\w+[^s\W]s\b")
_THEN = re.compile(r"[\s,;]*\b(?:and\s+|but\s+)?(?:then|afterwards|after that|followed by)\b[\s,;]*", re.IGNORECASE)


def split_actions(text: str) -> tuple[str, ...]:
    """Split a motion prompt into the actions that follow each other ("walks, then waves": "walks" and "waves").

    An action without a subject of its own takes that of the first: "a man runs and then jumps" is "a man runs" and
    "a man jumps".
    """
    parts = [part.strip(" ,;.") for part in _THEN.split(" ".join(text.split()))]
    actions = [part for part in parts if part]
    if len(actions) < 2:
        return (text,)
    subject = _SUBJECT.match(actions[0])
    if subject is None:
        return tuple(actions)
    later = (part if _DETERMINED.match(part) else subject[0] + part.removeprefix("is ") for part in actions[1:])
    return (actions[0], *later)


_SUBJECT = re.compile(
    r"^(?:a|an|the|some|one)\s+(?:\w+\s+)*?(?:person|man|woman|boy|girl|human|character|figure)\s+(?:is\s+)?"
)
