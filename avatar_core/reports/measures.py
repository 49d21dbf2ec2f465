"""What reports measure of an avatar: where it stands in report.json, how it is shown, and what is better.

The one table behind the page of an avatar, the page of a library and its list of the worst. Reports are read here as
plain JSON values that may lack anything or hold anything, as those of earlier versions do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Json = Mapping[str, Any]
Group = Literal["fit", "judge", "mesh", "texture", "skin", "motion", "time"]
LARGEST = 1e15
"""Numbers beyond are nothing that was measured; sums of smaller ones stay finite."""
STAGES = ("coarse_shape", "implicit_init", "texturing", "candidate_poses", "motion", "export")
STAGE_TITLES = {
    "coarse_shape": "Body shape",
    "implicit_init": "Implicit body",
    "texturing": "Texturing",
    "candidate_poses": "Key poses",
    "motion": "Motion",
    "export": "Export",
}


@dataclass(frozen=True)
class Measure:
    """One number of a report."""

    name: str
    """Of the number in tables for programs."""
    group: Group
    label: str
    meaning: str
    """What it says, for people who do not know it."""
    read: Callable[[Json], float | None]
    """Takes it out of a report; None where it is not there or no finite number."""
    unit: str = ""
    factor: float = 1.0
    """What it is multiplied by where it is shown."""
    digits: int = 0
    better: int = 0
    """1: more is better, -1: less is better, 0: neither."""
    least: float = 0.0
    """The smallest difference that anybody would notice; more than zero where one value is better than another."""
    limit: float | None = None
    """Worse than this is worth a look."""
    flag: bool = False
    """Whether it is yes (1) or no (0)."""

    def shown(self, value: float | None) -> str:
        """Return the number with its unit, for people."""
        if value is None:
            return "–"
        if self.flag:
            return "yes" if value else "no"
        unit = self.unit if self.unit in ("", "×", "°") else f"\N{NO-BREAK SPACE}{self.unit}"
        text = signed(f"{value * self.factor:,.{self.digits}f}")
        return f"{unit}{text}" if unit == "×" else f"{text}{unit}"

    def is_odd(self, value: float | None) -> bool:
        """Tell whether a value is worth a look."""
        return value is not None and self.limit is not None and (value - self.limit) * self.better < 0


def signed(text: str) -> str:
    """Return a number's text with a true minus sign."""
    return text.replace("-", "\N{MINUS SIGN}")


def number(value: Any) -> float | None:
    """Return a JSON value as a float; None where it is no number of a size that reports have.

    True and false are 1 and 0.
    """
    return float(value) if isinstance(value, int | float) and abs(value) <= LARGEST else None


def place(report: Json, *path: str) -> Any:
    """Return the value at a path of names; None where it is not there."""
    value: Any = report
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def at(*path: str) -> Callable[[Json], float | None]:
    """Return what reads the number at a path of names."""
    return lambda report: number(place(report, *path))


def share_of(part: str, whole: str, group: str) -> Callable[[Json], float | None]:
    """Return what reads one number of a group as a part of another one."""

    def read(report: Json) -> float | None:
        some, total = number(place(report, group, part)), number(place(report, group, whole))
        return some / total if some is not None and total else None

    return read


def stage_seconds(stage: str) -> Callable[[Json], float | None]:
    """Return what reads the seconds of a stage; those of the export are the sum of its parts."""

    def read(report: Json) -> float | None:
        timings = place(report, "timings_s")
        if not isinstance(timings, Mapping):
            return None
        found = [number(value) for name, value in timings.items() if name == stage or name.startswith(f"{stage}.")]
        known = [value for value in found if value is not None]
        return sum(known) if known else None

    return read


def _cosines(group: Group, *path: str) -> tuple[Measure, ...]:
    kinds = {
        "body": ("Body", "views of the whole body from three sides"),
        "face": ("Face", "close views of the face"),
        "back": ("Back", "the view from behind"),
        "motion": ("Motion", "frames evenly spread over the motion"),
    }
    found = []
    for kind, (label, what) in kinds.items():
        meaning = f"Cosine with its prompt, a mean over {what}."
        read = at(*path, kind)
        found.append(Measure(f"{group}.{kind}", group, label, meaning, read, digits=3, better=1, least=0.01))
    return tuple(found)


MEASURES: tuple[Measure, ...] = (
    *_cosines("fit", "final_scores"),
    *_cosines("judge", "judge", "scores"),
    Measure("mesh.faces", "mesh", "Triangles", "Of the exported mesh.", at("mesh", "faces")),
    Measure("mesh.vertices", "mesh", "Vertices", "Of the exported mesh.", at("mesh", "vertices")),
    Measure(
        "mesh.watertight", "mesh", "Watertight", "Every edge has two triangles that agree on the outside.",
        at("mesh", "watertight"), better=1, least=0.1, limit=1.0, flag=True,
    ),
    Measure(
        "mesh.components", "mesh", "Pieces", "Connected parts; an avatar is one.", at("mesh", "components"),
        better=-1, least=0.2, limit=1.0,
    ),
    Measure(
        "mesh.self_intersecting", "mesh", "Triangles that cut others", "In the bind pose, as a part of all triangles.",
        share_of("self_intersecting", "faces", "mesh"), unit="%", factor=100, digits=2, better=-1, least=0.002,
        limit=0.01,
    ),
    Measure("mesh.height", "mesh", "Height", "In the bind pose.", at("mesh", "height_m"), unit="m", digits=2),
    Measure("mesh.volume", "mesh", "Volume", "Enclosed by the mesh.", at("mesh", "volume_l"), unit="l"),
    Measure("texture.size", "texture", "Texture", "Texels a side.", at("texture", "size"), unit="px"),
    Measure(
        "texture.seam_difference", "texture", "Seam error", "Mean difference of the colour across the texture's seams.",
        at("texture", "seam_difference"), unit="%", factor=100, digits=2, better=-1, least=0.002, limit=0.02,
    ),
    Measure(
        "texture.seam_length", "texture", "Seams", "Length of the edges at which charts part.",
        at("texture", "seam_length_m"), unit="m", digits=1,
    ),
    Measure(
        "texture.normal_map", "texture", "Normal map", "Texels a side; 0 where there is none.",
        at("texture", "normal_map_size"), unit="px",
    ),
    Measure(
        "texture.relief", "texture", "Relief", "Mean angle by which the normal map turns the mesh's normals.",
        at("texture", "normal_map_degrees"), unit="°", digits=1,
    ),
    Measure("skin.bones", "skin", "Bones", "Of the skeleton.", at("skin", "bones")),
    Measure("skin.influences", "skin", "Bones a vertex", "At most.", at("skin", "max_influences")),
    Measure(
        "skin.worst_stretch", "skin", "Worst stretch", "Largest growth of an edge over the motion.",
        at("skin", "worst_stretch"), unit="×", digits=2, better=-1, least=0.3, limit=5.0,
    ),
    Measure(
        "skin.stretch_p999", "skin", "Stretch of one edge in 1,000", "The growth that so many edges exceed.",
        at("skin", "stretch_p999"), unit="×", digits=2, better=-1, least=0.2, limit=3.0,
    ),
    Measure("motion.frames", "motion", "Frames", "Of the motion.", at("motion", "frames")),
    Measure(
        "motion.foot_skate", "motion", "Foot skating", "Mean slide of a standing foot from frame to frame.",
        at("motion", "foot_skate_mm"), unit="mm", digits=2, better=-1, least=0.5, limit=5.0,
    ),
    Measure(
        "motion.contact", "motion", "Frames with a foot down", "In which at least one foot stands.",
        at("motion", "contact_fraction"), unit="%", factor=100,
    ),
    Measure(
        "motion.jerk", "motion", "Jerk", "Mean third derivative of the joints' positions: less is smoother.",
        at("motion", "jerk_m_s3"), unit="m/s³", better=-1, least=20.0,
    ),
    Measure(
        "motion.ground_penetration", "motion", "Deepest below ground", "Of any vertex over the motion.",
        at("motion", "ground_penetration_m"), unit="mm", factor=1000, digits=1, better=-1, least=0.005, limit=0.02,
    ),
    Measure(
        "motion.self_penetration", "motion", "Deepest overlap of limbs", "Of two parts of the body, by capsules.",
        at("motion", "self_penetration_m"), unit="mm", factor=1000, better=-1, least=0.01, limit=0.1,
    ),
    Measure(
        "motion.joint_limits", "motion", "Joint angles beyond limits", "Over ten degrees beyond what people can do.",
        at("motion", "joint_limit_violations"), unit="%", factor=100, digits=1, better=-1, least=0.01, limit=0.05,
    ),
    Measure(
        "motion.limb_directions", "motion", "Error of limb directions", "Largest, against the motion prior's skeleton.",
        at("motion", "limb_direction_error_degrees"), unit="°", digits=1, better=-1, least=0.5, limit=5.0,
    ),
    Measure(
        "motion.seed_diversity", "motion", "Difference between seeds", "Mean distance of joints between eight of them.",
        at("motion", "seed_diversity_m"), unit="cm", factor=100,
    ),
    *(
        Measure(
            f"time.{stage}", "time", STAGE_TITLES[stage], "When it was computed, perhaps for another avatar.",
            stage_seconds(stage), unit="s", digits=1,
        )
        for stage in STAGES
    ),
)  # fmt: skip

GROUP_TITLES: Mapping[Group, str] = {
    "fit": "Fit, by the encoder that guided",
    "judge": "Fit, by an encoder that did not guide",
    "mesh": "Geometry",
    "texture": "Texture",
    "skin": "Skinning",
    "motion": "Motion",
    "time": "Time",
}


def of_group(group: Group) -> tuple[Measure, ...]:
    """Return the measures of a group, in their order."""
    return tuple(measure for measure in MEASURES if measure.group == group)
