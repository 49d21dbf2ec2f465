"""What an avatar's report says, arranged for a page; whatever a report may hold, since anybody may have written it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_BYTES = 4 * 2**20
"""No report is larger; what is, is not read."""
MAX_NUMBER = 1e15
"""No figure is larger; neither is what is no number."""
MAX_ITEMS = 60
"""Entries of a list that are shown."""

Show = Callable[[float], str]


@dataclass(frozen=True)
class Score:
    """A cosine of pictures with their prompt."""

    name: str
    after: float
    before: float | None = None


@dataclass(frozen=True)
class Timing:
    """The time of one part of the work."""

    name: str
    seconds: float
    share: float
    """Of the longest, 0 to 1."""


@dataclass(frozen=True)
class Facts:
    """A report's content; empty where it says nothing or something else."""

    scores: tuple[Score, ...] = ()
    groups: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """Lists of (name, value) by their titles."""
    timings: tuple[Timing, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    weights: tuple[tuple[str, str, str, str], ...] = ()
    """(part, name, licence, digest)."""
    generator: str = ""
    preset: str = ""
    seed: str = ""


def read_facts(content: bytes) -> Facts | None:
    """Return what a report says, None for what is no report."""
    if len(content) > MAX_BYTES:
        return None
    try:
        report = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(report, dict):
        return None
    return Facts(
        scores=_scores(report),
        groups={title: found for title, rows in _GROUPS.items() if (found := _rows(report, rows))} | _others(report),
        timings=_timings(_mapping(report, "timings_s")),
        versions=tuple((name, _text(value)) for name, value in _items(report, "versions")),
        weights=_weights(report),
        generator=_text(report.get("generator", "")),
        preset=_text(report.get("preset", "")),
        seed=_text(report.get("seed", "")),
    )


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _unit(digits: int, unit: str, scale: float = 1.0) -> Show:
    return lambda value: f"{value * scale:,.{digits}f} {unit}".strip()


_GROUPS: Mapping[str, tuple[tuple[str, str, Show], ...]] = {
    "Mesh": (
        ("mesh.height_m", "height", _unit(2, "m")),
        ("mesh.faces", "triangles", _count),
        ("mesh.vertices", "vertices", _count),
        ("mesh.volume_l", "volume", _unit(1, "l")),
        ("mesh.watertight", "watertight", lambda value: "yes" if value else "no"),
        ("mesh.components", "parts", _count),
        ("texture.size", "texture", _unit(0, "px")),
        ("texture.normal_map_size", "normal map", _unit(0, "px")),
        ("texture.seam_difference", "difference at seams", _unit(4, "")),
    ),
    "Rig and motion": (
        ("skin.bones", "bones", _count),
        ("skin.max_influences", "bones a vertex", _count),
        ("skin.stretch_p999", "stretch, 999 of 1,000 edges", _unit(2, "×")),
        ("motion.frames", "frames", _count),
        ("motion.fps", "frames a second", _count),
        ("motion.authored", "from written key poses", lambda value: "yes" if value else "no"),
        ("motion.foot_skate_mm", "foot skate", _unit(1, "mm a frame")),
        ("motion.ground_penetration_m", "under the ground", _unit(1, "cm", 100)),
        ("motion.self_penetration_m", "overlap of limbs", _unit(1, "cm", 100)),
        ("motion.joint_limit_violations", "joints beyond their limits", _unit(2, "%", 100)),
        ("motion.jerk_m_s3", "jerk", _unit(0, "m/s³")),
    ),
    "Texturing": (
        ("texturing.steps", "steps", _count),
        ("texturing.final_loss", "final loss", _unit(3, "")),
        ("outfit.score", "score of the outfit found", _unit(3, "")),
        ("outfit.images", "pictures compared for it", _count),
    ),
}
"""By title: (path in the report, name, how the number is written)."""


def _scores(report: Mapping[str, Any]) -> tuple[Score, ...]:
    """Return the final scores, then those of the stages with what they started from."""
    final = [
        Score(f"finished: {_words(name)}", value)
        for name, value in _items(report, "final_scores")
        if _is_number(value)
    ]
    stages = [
        Score(_words(name), both["after"], both["before"])
        for name, both in _items(report, "stage_scores")
        if isinstance(both, dict) and all(_is_number(both.get(end)) for end in ("before", "after"))
    ]
    return (*final, *stages)


def _rows(report: Mapping[str, Any], rows: tuple[tuple[str, str, Show], ...]) -> tuple[tuple[str, str], ...]:
    found = []
    for path, name, show in rows:
        part, _, key = path.partition(".")
        value: Any = _mapping(report, part).get(key)
        if isinstance(value, bool) or _is_number(value):
            found.append((name, show(value)))
    return tuple(found)


def _others(report: Mapping[str, Any]) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return what has names of its own: what it wears, and its shape by the body model's labels."""
    worn = tuple((_words(name), _text(value)) for name, value in _items(_mapping(report, "outfit"), "worn"))
    body = tuple((_words(name), f"{value:.2f}") for name, value in _items(report, "body") if _is_number(value))
    return {title: rows for title, rows in (("Wears", worn), ("Body", body)) if rows}


def _timings(seconds: Mapping[str, Any]) -> tuple[Timing, ...]:
    known = {name: float(value) for name, value in seconds.items() if _is_number(value) and value >= 0}
    longest = max(known.values(), default=0.0) or 1.0
    ordered = sorted(known.items(), key=lambda item: -item[1])[:MAX_ITEMS]
    return tuple(Timing(_words(name), value, value / longest) for name, value in ordered)


def _weights(report: Mapping[str, Any]) -> tuple[tuple[str, str, str, str], ...]:
    found = [(part, facts) for part, facts in _items(report, "weights") if isinstance(facts, dict)]
    texts = [(part, *(_text(facts.get(name, "")) for name in ("name", "licence", "digest"))) for part, facts in found]
    return tuple((_words(part), name, licence, digest) for part, name, licence, digest in texts)


def _mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _items(values: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    return list(_mapping(values, name).items())[:MAX_ITEMS]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_NUMBER


def _text(value: Any) -> str:
    return "" if isinstance(value, dict | list) else str(value)[:500]


def _words(name: str) -> str:
    """Return a field's name as words: export.mesh_and_rig, export: mesh and rig."""
    return name.replace(".", ": ").replace("_", " ")
