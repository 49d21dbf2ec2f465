"""report.json: what an avatar is, how well it turned out, and what it was made with."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from avatar_core.errors import DivergenceError
from avatar_core.export.provenance import WeightFacts

SCHEMA_VERSION = 6
"""6 added views, judge, costs and mesh.self_intersecting."""


class Facts(BaseModel):
    """A part of the report: known fields and finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StageScore(Facts):
    """Cosine of a stage's pictures with its prompt, by the guiding encoder."""

    before: float
    after: float


class ViewScore(Facts):
    """How well one fixed view of the finished mesh fits its prompt."""

    prompt: str
    """The prompt that it is compared with: body, face or back."""
    azimuth_degrees: float
    """Where the camera stands, from the front counter-clockwise seen from above."""
    guide: float
    """Cosine by the guiding encoder."""
    judge: float | None
    """Cosine by the encoder that never guides; None where that one guided."""


class JudgeFacts(Facts):
    """What the encoder that never guides makes of the finished mesh."""

    name: str
    digest: str
    """sha256, hex."""
    licence: str
    """Of its weights."""
    scores: dict[str, float]
    """As the report's `final_scores`, by this encoder: cosines of two encoders cannot be compared with each other."""


class StageCost(Facts):
    """What the computation of a stage's result took, perhaps for another avatar that shares it."""

    seconds: float
    peak_mb: float | None
    """Largest memory, MiB; None where it was not measured."""
    device: str
    """The device's name; empty where it was not recorded."""


class MeshFacts(Facts):
    """The exported mesh in its bind pose."""

    vertices: int
    faces: int
    components: int
    watertight: bool
    """Every edge has two triangles that agree on the outside."""
    self_intersecting: int
    """Triangles that cut through another one."""
    volume_l: float
    """Enclosed volume, litres."""
    height_m: float
    bounds_m: tuple[tuple[float, float, float], tuple[float, float, float]]
    """Lowest and highest corner of its box."""


class RefinementFacts(Facts):
    """The last phase of texturing, on the mesh."""

    steps: int
    kept: bool
    """Whether its colours were taken: only where the fixed views fit their prompts better than the baked ones."""
    score: StageScore
    """Mean cosine of the fixed views with their prompts, of the baked colours and of the changed ones."""
    baked_seam_difference: float
    """`seam_difference` of the baked colours."""


class TextureFacts(Facts):
    """The images of the mesh."""

    size: int
    """Texels a side of the albedo."""
    seam_length_m: float
    """Length of the edges at which charts part."""
    seam_difference: float
    """Mean difference of the albedo across its seams, by length; its range is one."""
    normal_map_size: int
    """Texels a side of the normal map; 0 where there is none."""
    normal_map_degrees: float
    """Mean angle by which the normal map turns the mesh's normals."""
    refinement: RefinementFacts | None
    """None where the colours are as baked from the field."""


class SkinFacts(Facts):
    """How the mesh follows its skeleton."""

    bones: int
    max_influences: int
    worst_stretch: float
    """Largest ratio of an edge's length in the clip to its length in the bind pose."""
    stretch_p999: float
    """The ratio that one edge in a thousand exceeds."""


class MotionFacts(Facts):
    """The clip on this body."""

    frames: int
    fps: int
    authored: bool
    """Whether it follows key poses that this project wrote, not motion capture alone."""
    translation_scale: float
    """Factor from the prior's translation to this body's, by leg length."""
    limb_direction_error_degrees: float
    """Largest angle between a limb and the same limb of the priors' skeleton in the same pose."""
    foot_skate_mm: float
    """Mean slide of a standing foot from one frame to the next, millimetres."""
    ground_penetration_m: float
    """Deepest vertex under the ground."""
    mean_clearance_m: float
    """Mean height of the lowest vertex over the frames."""
    contact_fraction: float
    """Part of the frames in which a foot stands."""
    self_penetration_m: float
    """Deepest overlap of two parts of the body over the frames, by capsules about the bones; 0 where they touch."""
    joint_limit_violations: float
    """Part of all joint angles in all frames that is more than ten degrees beyond what people can do."""
    jerk_m_s3: float
    """Mean third derivative of the joints' positions: how unsteady the motion is."""
    seed_diversity_m: float
    """Mean distance of joints between the motions that eight seeds start from, metres: 0 where one motion alone fits
    the prompt, or the method draws nothing."""
    frame_scores: tuple[float, ...]
    """Cosines with the prompt of frames evenly spread over the clip."""


class TexturingEvent(Facts):
    """Where texturing went back or ended early, and why."""

    step: int
    """The step that failed, or after which it ended."""
    kind: str
    """One of divergence, memory and plateau."""
    reason: str
    back_to: int
    """The step after which it went on."""
    rate_factor: float
    """What all learning rates were multiplied by from then on."""
    views: int
    """Views of a step from then on."""
    edge: int
    """Edge of that step's views from then on, pixels."""


class TexturingFacts(Facts):
    """How the optimisation went."""

    steps: int
    """Steps that were taken."""
    final_loss: float | None
    """Mean of the last tenth of them; none without a step."""
    events: tuple[TexturingEvent, ...]
    curves: str
    """The picture of its learning curves."""
    film: str
    """The video of what the avatar looked like on the way."""


class Report(Facts):
    """The whole report; `schema_version` rises when a field changes its meaning."""

    schema_version: int = SCHEMA_VERSION
    generator: str
    prompts: dict[str, str]
    """By column of the catalog: shape, appearance, motion."""
    seed: int
    preset: str
    """Name of the preset; empty when not known."""
    keys: dict[str, str]
    """Key of each stage's result, as far as known."""
    stage_scores: dict[str, StageScore]
    """By stage: coarse_shape against the neutral body, texturing and motion against their start."""
    final_scores: dict[str, float]
    """Cosines of the exported mesh's pictures with the prompts by the guiding encoder: body, face, back, motion (mean
    and best frame)."""
    views: tuple[ViewScore, ...]
    """The views behind the scores of body, face and back."""
    judge: JudgeFacts | None
    """What an encoder that did not guide makes of it; None where that one guided."""
    timings_s: dict[str, float]
    """Seconds by stage, as far as known, and by part of the export."""
    costs: dict[str, StageCost]
    """By stage before the export, as far as known."""
    body: dict[str, float]
    """The shape vector by its labels."""
    outfit: dict[str, Any]
    """What texturing's search put on; empty without a search."""
    texturing: TexturingFacts
    mesh: MeshFacts
    texture: TextureFacts
    skin: SkinFacts
    motion: MotionFacts
    versions: dict[str, str]
    weights: dict[str, WeightFacts]

    def to_json(self) -> str:
        """Return the report as indented JSON with sorted keys, ending in a newline."""
        return canonical_json(self.model_dump(mode="json"))


def canonical_json(values: Any) -> str:
    """Return indented JSON with sorted keys and a final newline; raises ValueError on numbers that are not finite."""
    return json.dumps(values, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def build_report(**fields: Any) -> Report:
    """Return a validated report; raises DivergenceError when a number in it is not finite."""
    try:
        return Report(**fields)
    except ValidationError as error:
        if any(problem["type"] == "finite_number" for problem in error.errors()):
            places = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
            raise DivergenceError(f"the report would hold numbers that are not finite: {places}") from error
        raise
