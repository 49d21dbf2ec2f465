"""report.json: what an avatar is, how well it turned out, and what it was made with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from avatar_core.bodies.rig import Rig
from avatar_core.errors import DivergenceError
from avatar_core.export.mesh import TriangleMesh, components, signed_volume
from avatar_core.export.provenance import WeightFacts
from avatar_core.export.repair import is_closed
from avatar_core.export.seams import find_seams, seam_difference
from avatar_core.priors.joint_angles import violation_share
from avatar_core.rigging.retarget import RiggedClip, clip_joints, ground_facts, jerk
from avatar_core.rigging.self_contact import self_penetration
from avatar_core.rigging.skinning import Skin, edge_stretch

SCHEMA_VERSION = 5


class Facts(BaseModel):
    """A part of the report: known fields and finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StageScore(Facts):
    """Cosine of a stage's pictures with its prompt, by the guiding encoder."""

    before: float
    after: float


class MeshFacts(Facts):
    """The exported mesh in its bind pose."""

    vertices: int
    faces: int
    components: int
    watertight: bool
    """Every edge has two triangles that agree on the outside."""
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
    """Cosines of the exported mesh's pictures with the prompts: body, face, back, motion (mean and best frame)."""
    timings_s: dict[str, float]
    """Seconds by stage, as far as known, and by part of the export."""
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


def mesh_facts(mesh: TriangleMesh) -> MeshFacts:
    """Measure a mesh."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    return MeshFacts(
        vertices=len(mesh.vertices),
        faces=len(mesh.faces),
        components=components(len(mesh.vertices), mesh.faces),
        watertight=is_closed(mesh.faces),
        volume_l=1000 * signed_volume(mesh.vertices, mesh.faces),
        height_m=float(high[1] - low[1]),
        bounds_m=(_triple(low), _triple(high)),
    )


def texture_facts(mesh: TriangleMesh, refinement: RefinementFacts | None) -> TextureFacts:
    """Measure a mesh's images; `refinement`: what is known of their last change."""
    seams = find_seams(mesh.vertices, mesh.faces, mesh.texture.charts)
    relief = mesh.normal_map
    return TextureFacts(
        size=len(mesh.texture.image),
        seam_length_m=float(seams.length.sum()),
        seam_difference=seam_difference(mesh.texture.image, seams),
        normal_map_size=0 if relief is None else len(relief.image),
        normal_map_degrees=0.0 if relief is None else relief.relief_degrees(),
        refinement=refinement,
    )


def skin_facts(mesh: TriangleMesh, skin: Skin, bones: int, posed: NDArray[np.floating]) -> SkinFacts:
    """Measure a skin over posed vertices (T, V, 3)."""
    stretch = edge_stretch(mesh.vertices, mesh.faces, posed)
    return SkinFacts(
        bones=bones,
        max_influences=int((skin.weights > 0).sum(axis=1).max()),
        worst_stretch=float(stretch.max()),
        stretch_p999=float(np.quantile(stretch, 0.999)),
    )


def motion_facts(
    mesh: TriangleMesh,
    skin: Skin,
    rig: Rig,
    clip: RiggedClip,
    poses: NDArray[np.floating],
    posed: NDArray[np.floating],
    frame_scores: tuple[float, ...],
    *,
    authored: bool,
    seed_diversity: float,
) -> MotionFacts:
    """Measure a clip.

    Args:
        mesh: in the bind pose.
        skin: of the mesh.
        rig: the skeleton.
        clip: the motion.
        poses: (T, 22, 3) its axis-angle joint rotations relative to the T-pose, radians.
        posed: (T, V, 3) the mesh's vertices in its frames.
        frame_scores: cosines of some frames with the prompt.
        authored: whether it follows written key poses.
        seed_diversity: of the motions that several seeds start from, metres.
    """
    ground = ground_facts(posed, skin, clip.fps)
    depth = self_penetration(
        mesh.vertices, rig.shaped.joints.cpu().numpy(), skin.renamed(rig.joint_of_bone), clip.transforms
    )
    return MotionFacts(
        frames=len(clip),
        fps=clip.fps,
        authored=authored,
        translation_scale=clip.scale,
        limb_direction_error_degrees=clip.direction_error,
        foot_skate_mm=ground.foot_skate,
        ground_penetration_m=max(0.0, -ground.lowest),
        mean_clearance_m=ground.mean_clearance,
        contact_fraction=ground.contact_fraction,
        self_penetration_m=float(depth.max()),
        joint_limit_violations=violation_share(poses),
        jerk_m_s3=jerk(clip_joints(clip, rig), clip.fps),
        seed_diversity_m=seed_diversity,
        frame_scores=frame_scores,
    )


def texturing_facts(
    history: Sequence[Mapping[str, float]], events: Iterable[Mapping[str, Any]], *, curves: str, film: str
) -> TexturingFacts:
    """Sum up an optimisation.

    Args:
        history: each step's number and loss.
        events: the fields of its events, in their order.
        curves: file name of the picture of its learning curves.
        film: file name of its video.
    """
    last = [entry["loss"] for entry in history[-max(1, len(history) // 10) :]]
    return TexturingFacts(
        steps=len(history),
        final_loss=sum(last) / len(last) if last else None,
        events=tuple(TexturingEvent(**event) for event in events),
        curves=curves,
        film=film,
    )


def _triple(values: NDArray[np.floating]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
