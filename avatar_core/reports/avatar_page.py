"""report.html: the quality report of one avatar for people, made from its report.json.

Reports of earlier versions give a page too, with the sections that they have numbers for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from avatar_core.errors import ArtifactError
from avatar_core.licences import Terms, strictest, terms_of_data, terms_of_weights
from avatar_core.reports.measures import (
    GROUP_TITLES,
    MEASURES,
    STAGE_TITLES,
    Group,
    Json,
    Measure,
    number,
    of_group,
    place,
    stage_seconds,
)
from avatar_core.reports.pages import clock, render

NAME = "report.html"
VERSION = 1
"""Raised when equal reports get another page: the pages of a library are then written anew."""
MAX_BYTES = 4 * 2**20
"""Of a report.json that is read."""
_KINDS = ("body", "face", "back", "motion")
_FILES = {
    "avatar.glb": "rigged, textured, animated model",
    "avatar.ply": "mesh with vertex colours",
    "preview.png": "views, face, key frames",
    "turntable.mp4": "one turn",
    "motion.mp4": "the motion",
    "motion.webp": "the motion, for web pages",
    "optimisation.mp4": "how texturing went",
    "learning.png": "its learning curves",
    "features.safetensors": "what the encoders see in its views",
    "report.json": "this report for programs",
}
ROLES = {
    "body": "body model",
    "encoder": "guiding encoder",
    "shape_codebook": "body shapes",
    "pose_vae": "poses",
    "motion_vae": "motion",
    "vposer": "poses",
    "avatarclip-poses": "poses to choose from",
    "avatarclip-flow": "poses by words",
    "avatarclip-motion": "motion",
    "avatarclip-shape-vae": "body shapes",
    "avatarclip-shapes": "body shapes to choose from",
    "own-poses": "poses",
    "own-motion": "motion",
    "view_readers": "views of bodies",
    "judge": "scored it, and had no part in making it",
}
"""Parts that models play, in the order in which they are listed."""


@dataclass(frozen=True)
class Row:
    """A line of a table of measures."""

    measure: Measure
    value: float | None

    @property
    def shown(self) -> str:
        """The number with its unit."""
        return self.measure.shown(self.value)

    @property
    def odd(self) -> bool:
        """Whether it is worth a look."""
        return self.measure.is_odd(self.value)


def read_report(content: bytes) -> dict[str, Any]:
    """Return a report.json as JSON values; raises ArtifactError where it is none."""
    try:
        if len(content) > MAX_BYTES:
            raise ValueError(f"it has {len(content)} bytes, more than {MAX_BYTES}")
        report = json.loads(content)
        if not isinstance(report, dict):
            raise ValueError(f"it holds a {type(report).__name__}, not an object")
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"report.json cannot be read ({error}); run the catalog again") from error
    return report


def marker(content: bytes) -> str:
    """Return what a page says on top of the report.json that it was made from: by it, an old page is told."""
    return f"<!-- page {VERSION} of report {hashlib.sha256(content).hexdigest()[:32]} -->"


def avatar_page(avatar_id: str, content: bytes, files: Mapping[str, int]) -> str:
    """Return the page of an avatar.

    Args:
        avatar_id: its id.
        content: of its report.json.
        files: names and sizes in bytes of what lies in its folder; what every avatar has is shown and listed.
    Raises:
        ArtifactError: the report cannot be read.
    """
    report = read_report(content)
    rows = {group: [Row(measure, measure.read(report)) for measure in of_group(group)] for group in GROUP_TITLES}
    made_of, scored_by = _weights(report)
    terms = [one for _, one in made_of]
    data = terms_of_data(name for one in terms for name in one.data)
    return render(
        "avatar.html",
        marker=marker(content),
        avatar_id=avatar_id,
        prompts=_texts(place(report, "prompts"), ("shape", "appearance", "motion")),
        facts=_facts(report),
        files=files,
        described=[(name, what, files[name]) for name, what in _FILES.items() if name in files],
        tiles=_tiles(report, rows),
        odd=[row for row in (Row(measure, measure.read(report)) for measure in MEASURES) if row.odd],
        fits=_fits(report),
        views=_views(report),
        guide=_text(place(report, "weights", "encoder", "name")) or "the guiding encoder",
        judge=_text(place(report, "judge", "name")),
        gains=_gains(report),
        groups=[(GROUP_TITLES[group], _known(rows[group])) for group in _TABLES if _known(rows[group])],
        worn=_texts(place(report, "outfit", "worn")),
        body=[(name, value) for name, value in _numbers(place(report, "body")).items()],
        texturing=_texturing(report),
        stages=_stages(report),
        seconds=_total_seconds(report),
        weights=[(ROLES.get(role, role), one) for role, one in (*made_of, *scored_by)],
        data=[(models_from(one.name, terms), one) for one in data],
        allowed=strictest([*terms, *data]),
        versions=_texts(place(report, "versions")),
        keys=_texts(place(report, "keys")),
    )


_TABLES: tuple[Group, ...] = ("mesh", "texture", "skin", "motion")


def _known(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.value is not None]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any, order: Sequence[str] = ()) -> dict[str, str]:
    """The texts and numbers of an object, those of `order` first."""
    if not isinstance(value, Mapping):
        return {}
    found = {str(name): str(one) for name, one in value.items() if isinstance(one, str | int | float)}
    first = [name for name in order if name in found]
    return {name: found[name] for name in (*first, *sorted(set(found) - set(first)))}


def _numbers(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping):
        return {}
    found = {str(name): number(one) for name, one in value.items()}
    return {name: one for name, one in found.items() if one is not None}


def _facts(report: Json) -> list[str]:
    """What stands below the title."""
    preset, seed = _text(place(report, "preset")), number(place(report, "seed"))
    facts = [f"preset {preset}"] if preset else []
    facts += [f"seed {seed:.0f}"] if seed is not None else []
    facts += [f"{clock(_total_seconds(report))} of computing"] if _total_seconds(report) else []
    return facts


def _tiles(report: Json, rows: Mapping[Group, Sequence[Row]]) -> list[tuple[str, str, str, bool]]:
    """The numbers to see first: label, number, what it is, and whether it is worth a look."""
    by_name = {row.measure.name: row for group in rows.values() for row in group}
    chosen = {
        "fit.body": "Fit, guiding encoder",
        "judge.body": "Fit, second encoder",
        "mesh.watertight": "Watertight",
        "texture.seam_difference": "Seam error",
        "skin.worst_stretch": "Worst stretch",
        "motion.foot_skate": "Foot skating",
    }
    notes = {
        "fit.body": "cosine, whole body",
        "judge.body": "cosine, whole body",
        "mesh.watertight": "{mesh.faces} triangles, pieces: {mesh.components}",
        "texture.seam_difference": "{texture.size} texture",
        "skin.worst_stretch": "{skin.stretch_p999} for one edge in 1,000",
        "motion.foot_skate": "a frame; a foot stands in {motion.contact}",
    }
    found = []
    for name, label in chosen.items():
        row = by_name[name]
        if row.value is None:
            continue
        note = notes[name]
        for other, known in by_name.items():
            note = note.replace(f"{{{other}}}", known.shown)
        found.append((label, row.shown, note, row.odd))
    return found


def _fits(report: Json) -> list[tuple[str, float | None, float | None]]:
    """Cosines by kind of picture: by the guiding encoder, and by the second one."""
    guide, judge = _numbers(place(report, "final_scores")), _numbers(place(report, "judge", "scores"))
    return [(kind, guide.get(kind), judge.get(kind)) for kind in _KINDS if kind in guide]


def _views(report: Json) -> list[tuple[str, str, float | None, float | None]]:
    """The fixed views: where from, what they are compared with, and cosines by both encoders."""
    views, found = place(report, "views"), []
    for view in views if isinstance(views, list) else []:
        azimuth = number(place(view, "azimuth_degrees"))
        where = "" if azimuth is None else _direction(azimuth)
        found.append((where, _text(place(view, "prompt")), number(place(view, "guide")), number(place(view, "judge"))))
    return found


def _direction(azimuth: float) -> str:
    """Where a camera stands, azimuth in degrees: 0 before the avatar, 90 at its left hand."""
    turned = (azimuth + 180) % 360 - 180
    side = "left" if turned > 0 else "right"
    if abs(turned) < 1:
        return "front"
    if abs(turned) > 179:
        return "back"
    return f"{abs(turned):.0f}° to its {side}"


def _gains(report: Json) -> list[tuple[str, float, float]]:
    """Scores of stages before and after, in the stages' order."""
    scores, found = place(report, "stage_scores"), []
    for stage, title in STAGE_TITLES.items():
        before, after = (number(place(scores, stage, name)) for name in ("before", "after"))
        if before is not None and after is not None:
            found.append((title, before, after))
    refined = place(report, "texture", "refinement", "score")
    before, after = (number(place(refined, name)) for name in ("before", "after"))
    if before is not None and after is not None:
        kept = "" if place(report, "texture", "refinement", "kept") is True else ", not kept"
        found.append((f"Refinement of the texture{kept}", before, after))
    return found


def _texturing(report: Json) -> dict[str, Any]:
    """The course of texturing: facts, and events as texts."""
    steps, loss = number(place(report, "texturing", "steps")), number(place(report, "texturing", "final_loss"))
    events = place(report, "texturing", "events")
    told = [
        f"Step {number(place(event, 'step')) or 0:.0f}: {_text(place(event, 'reason'))}"
        f" ({_text(place(event, 'kind'))})"
        for event in (events if isinstance(events, list) else [])
    ]
    return {"steps": steps, "loss": loss, "events": told}


def _stages(report: Json) -> list[dict[str, Any]]:
    """Time and memory by stage, and each one's share of the longest."""
    known = {stage: seconds for stage in STAGE_TITLES if (seconds := stage_seconds(stage)(report)) is not None}
    longest = max(known.values(), default=0.0)
    return [
        {
            "title": STAGE_TITLES[stage],
            "seconds": seconds,
            "share": seconds / longest if longest > 0 else 0.0,
            "peak_mb": number(place(report, "costs", stage, "peak_mb")),
            "device": _text(place(report, "costs", stage, "device")),
        }
        for stage, seconds in known.items()
    ]


def _total_seconds(report: Json) -> float | None:
    known = [seconds for stage in STAGE_TITLES if (seconds := stage_seconds(stage)(report)) is not None]
    return sum(known) if known else None


def _weights(report: Json) -> tuple[list[tuple[str, Terms]], list[tuple[str, Terms]]]:
    """The terms of the models that made the avatar, by role, and of the one that only scored it."""
    weights = place(report, "weights")
    made = [(str(role), _terms(facts)) for role, facts in weights.items()] if isinstance(weights, Mapping) else []
    scored = [("judge", _terms(place(report, "judge")))] if isinstance(place(report, "judge"), Mapping) else []
    return sorted(made, key=lambda pair: list(ROLES).index(pair[0]) if pair[0] in ROLES else len(ROLES)), scored


def models_from(datum: str, terms: Sequence[Terms]) -> str:
    """Which models come from a datum, as a list of their names."""
    return ", ".join(one.name for one in terms if datum in one.data)


def _terms(facts: Any) -> Terms:
    return terms_of_weights(*(_text(place(facts, name)) for name in ("name", "digest", "licence")))
