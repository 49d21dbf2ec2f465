"""Stage export: field and motion become a rigged, textured, animated model with previews and a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from avatar_core.bodies import EMBEDDED
from avatar_core.documents import read_json
from avatar_core.errors import ArtifactError
from avatar_core.export import view_features
from avatar_core.export.glb import RestPose, build_glb, json_extras
from avatar_core.export.lens import Lens
from avatar_core.export.measuring import mesh_facts, motion_facts, skin_facts, texture_facts, texturing_facts
from avatar_core.export.media import MediaConfig
from avatar_core.export.mesh import extract_mesh, ply_bytes, with_normal_map, with_surface_normals
from avatar_core.export.provenance import GENERATOR, WeightFacts, used_weights, versions, weight_facts
from avatar_core.export.report import JudgeFacts, Report, StageCost, StageScore, build_report
from avatar_core.export.skeleton import Skeleton
from avatar_core.export.surface import Surface
from avatar_core.perception.held_out import held_out_judge
from avatar_core.rigging import idle
from avatar_core.rigging.clip import Clip
from avatar_core.rigging.relaxation import exercises, relaxed
from avatar_core.rigging.retarget import retarget
from avatar_core.rigging.skinning import deform, transfer_weights
from avatar_core.stages.base import StageContext
from avatar_core.stages.coarse_shape import CoarseShape
from avatar_core.stages.export_pictures import CURVES, FILM, PICTURES, RiggedAvatar, Steps, pictures
from avatar_core.stages.export_refine import RefineConfig, refine_if_better
from avatar_core.stages.export_scores import Judged, judged
from avatar_core.stages.loose_parts import loose_parts
from avatar_core.stages.motion import Motion
from avatar_core.stages.texturing_result import TexturedAvatar
from avatar_core.stages.texturing_views import Subject

NAME = "export"
VERSION = 12
FILES = ("avatar.glb", "avatar.ply", *PICTURES, view_features.NAME, "report.json")
"""What every finished avatar consists of."""
RELAXED_FRAMES = 16
"""Frames of its own clip, evenly spread, in which an avatar must not tear."""
HEAD_RADIUS = 0.55
"""Radius of what is meshed more finely, in sizes of the head."""


class Config(BaseModel):
    """Settings of the stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    voxel: float = Field(0.005, ge=0.001, le=0.05)
    """Edge of the marching cubes' cells, metres."""
    faces: int = Field(36_000, ge=200)
    """Triangles that the shape is decimated to."""
    texture_size: int = Field(2048, ge=64, le=8192)
    """Texels a side of the texture."""
    normal_map: bool = True
    """Whether the relief that the triangles are too coarse for goes into a normal map."""
    normal_map_size: int = Field(1024, ge=64, le=8192)
    """Texels a side of the normal map."""
    refine: RefineConfig = RefineConfig()
    """Last change of the baked colours, through views of the mesh."""
    head_power: float = Field(2.0, ge=1, le=4)
    """How many times finer the head is meshed than the rest."""
    rest_pose: RestPose = "A"
    """How the avatar stands when no clip plays."""
    skin_smoothing: int = Field(3, ge=0, le=50)
    """Rounds of averaging skinning weights over neighbouring vertices."""
    score_size: int = Field(224, ge=16)
    """Edge in pixels of the pictures that the final scores are taken from."""
    score_frames: int = Field(5, ge=1)
    """Frames of the motion that are scored, evenly spread."""
    media: MediaConfig = MediaConfig()
    """Sizes and sampling of the preview and the films."""


@dataclass(frozen=True)
class Lineage:
    """What the caller knows of an avatar's making; goes into the files' descriptions only."""

    preset: str = ""
    """Name of the preset."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Key of each stage's result; equal keys keep files byte-equal."""
    costs: Mapping[str, StageCost] = field(default_factory=dict)
    """Of earlier stages; only in the report, which is not byte-equal between runs."""


@dataclass(frozen=True)
class ExportResult:
    """A finished avatar: the contents of its files."""

    files: Mapping[str, bytes]
    """By the names in FILES."""
    report: Report
    """What report.json says."""

    @property
    def score(self) -> float:
        """Cosine of the finished mesh's whole-body views with the appearance prompt."""
        return self.report.final_scores["body"]

    def save(self, folder: Path) -> None:
        """Write the files into an existing folder."""
        for name, content in self.files.items():
            (folder / name).write_bytes(content)

    @classmethod
    def load(cls, folder: Path) -> ExportResult:
        """Read what `save` wrote; raises ArtifactError when a file is missing or the report does not validate."""
        try:
            files = {name: (folder / name).read_bytes() for name in FILES}
            return cls(files, Report.model_validate(read_json(files["report.json"])))
        except (OSError, ValueError, ValidationError) as error:
            raise ArtifactError(f"{folder} holds no exported avatar ({error}); run export again") from error


def run(
    textured: TexturedAvatar,
    motion: Motion,
    shape: CoarseShape,
    prompts: Mapping[str, str],
    *,
    config: Config,
    seed: int,
    context: StageContext,
    lineage: Lineage | None = None,
) -> ExportResult:
    """Extract, skin, animate, refine, photograph and describe one avatar.

    The GLB and PLY of equal inputs are byte-equal on one kind of machine: only the views of a refinement are drawn at
    random, by the seed.

    Args:
        textured: the coloured field.
        motion: (60, 22, 3) poses with translation.
        shape: the body's search scores, for the report.
        prompts: the row's texts: `shape`, `appearance`, `motion`.
        config: see Config.
        seed: of the row.
        context: models, device, progress, and where a long refinement keeps its checkpoints.
        lineage: preset, keys and costs, as far as the caller knows them.
    Raises:
        DivergenceError: a field or motion that is not finite, or a field without a surface.
        AvatarError: ffmpeg is missing.
    """
    lineage = lineage or Lineage()
    surface = textured.surface(context.body)
    total = config.refine.steps + config.media.turntable_frames + len(motion.poses) + 7
    steps = Steps(NAME, context.progress, total)
    with steps.part("mesh_and_rig"):
        avatar = build_avatar(textured, surface, motion, config, context)
        avatar = replace(avatar, mesh=with_surface_normals(avatar.mesh, surface))
        steps.advance("mesh and rig")
    with steps.part("normal_map"):
        if config.normal_map:
            avatar = replace(avatar, mesh=with_normal_map(avatar.mesh, surface, config.normal_map_size))
        steps.advance("normal map")
    with steps.part("refinement"):
        refined = refine_if_better(
            avatar.mesh,
            Subject.of(context.body, avatar.rig.shaped),
            prompts["appearance"],
            context.encoder,
            config.refine,
            score_size=config.score_size,
            seed=seed,
            device=context.device,
            checkpoint=context.checkpoint,
            progress=lambda step: steps.advance("texture"),
        )
        avatar = replace(avatar, mesh=refined.mesh)
    weights = used_weights(
        body=(context.body.name, context.body.digest),
        encoder=(context.encoder.name, context.encoder.digest),
        body_licence=None if context.body.name == EMBEDDED else context.body.licence,
        priors=(*shape.brought, *motion.brought),
    )
    files: dict[str, bytes] = {}
    with steps.part("model_files"):
        files["avatar.glb"] = build_glb(
            avatar.mesh,
            avatar.skin,
            Skeleton.of(avatar.rig),
            _clips(avatar, prompts["motion"], context),
            rest=config.rest_pose,
            extras=_extras(prompts, seed, lineage, weights),
        )
        files["avatar.ply"] = ply_bytes(avatar.mesh)
        steps.advance("model files")
    files |= pictures(avatar, prompts, textured, config.media, context.device, steps)
    with steps.part("scores"):
        scored = _judged(avatar, prompts, config, context)
        files[view_features.NAME] = scored.features.to_bytes()
        steps.advance("scores")
    posed = deform(avatar.mesh.vertices, avatar.skin, avatar.clip.transforms)
    report = build_report(
        generator=GENERATOR,
        prompts=dict(prompts),
        seed=seed,
        preset=lineage.preset,
        keys=dict(lineage.keys),
        stage_scores={
            "coarse_shape": StageScore(before=shape.baseline_score, after=shape.score),
            "texturing": StageScore(before=textured.score_before, after=textured.score_after),
            "motion": StageScore(before=motion.score_before, after=motion.score),
        },
        final_scores=scored.guide.scores,
        views=scored.views,
        judge=_judge_facts(scored),
        timings_s={stage: cost.seconds for stage, cost in lineage.costs.items()} | steps.seconds,
        costs=dict(lineage.costs),
        body=dict(zip(context.body.shape_labels, textured.betas.tolist())),
        outfit=textured.outfit,
        texturing=texturing_facts(
            textured.history, [asdict(event) for event in textured.events], curves=CURVES, film=FILM
        ),
        mesh=mesh_facts(avatar.mesh),
        texture=texture_facts(avatar.mesh, refined.facts),
        skin=skin_facts(avatar.mesh, avatar.skin, len(avatar.rig.names), posed),
        motion=motion_facts(
            avatar.mesh,
            avatar.skin,
            avatar.rig,
            avatar.clip,
            motion.poses.numpy(),
            posed,
            tuple(scored.guide.frames.tolist()),
            authored=motion.authored,
            seed_diversity=motion.diversity,
        ),
        versions=versions(),
        weights=weights,
    )
    files["report.json"] = report.to_json().encode()
    steps.advance(f"score {report.final_scores['body']:.3f}")
    return ExportResult(files, report)


def build_avatar(
    textured: TexturedAvatar, surface: Surface, motion: Motion, config: Config, context: StageContext
) -> RiggedAvatar:
    """Extract the mesh of a textured avatar's `surface`, skin it by the body and by what stands off it, and fit the
    motion to it."""
    body = context.body
    shaped = body.shape(textured.betas.to(body.template))
    subject = Subject.of(body, shaped)
    x, y, z = subject.head_centre.tolist()
    mesh = extract_mesh(
        surface,
        voxel=config.voxel,
        faces=config.faces,
        texture_size=config.texture_size,
        lens=Lens((x, y, z), HEAD_RADIUS * subject.head_size, config.head_power),
    )
    rig = body.rig(shaped)
    skin = transfer_weights(
        mesh.vertices,
        mesh.normals,
        mesh.faces,
        shaped.vertices.cpu().numpy(),
        body.faces.cpu().numpy(),
        rig.weights.cpu().numpy(),
        smoothing=config.skin_smoothing,
        loose=loose_parts(rig, textured.volumes, textured.regions, mesh.vertices),
    )
    exercised = exercises(rig)
    skin = relaxed(skin, mesh.vertices, mesh.faces, exercised)
    clip = retarget(
        body,
        rig,
        motion.poses,
        motion.translation,
        mesh.vertices,
        skin,
        fps=motion.fps,
        standing=motion.standing,
        loops=motion.loops,
    )
    # What its own clip would tear is relaxed too; the clip stays on the ground, as nothing but creases changes.
    own = clip.transforms[np.linspace(0, len(clip) - 1, min(len(clip), RELAXED_FRAMES)).astype(int)]
    skin = relaxed(skin, mesh.vertices, mesh.faces, np.concatenate([exercised, own]))
    return RiggedAvatar(mesh, skin, clip, rig)


def _clips(avatar: RiggedAvatar, prompt: str, context: StageContext) -> dict[str, Clip]:
    """The prompt's clip, called as the prompt, and the loop of standing; a prompt of that name keeps it."""
    standing = idle.idle(context.body, avatar.rig, avatar.mesh.vertices, avatar.skin, fps=avatar.clip.fps)
    return {prompt: avatar.clip, idle.NAME if prompt != idle.NAME else f"{idle.NAME} loop": standing}


def _judged(avatar: RiggedAvatar, prompts: Mapping[str, str], config: Config, context: StageContext) -> Judged:
    count = min(config.score_frames, len(avatar.clip))
    frames = [int((index + 0.5) * len(avatar.clip) / count) for index in range(count)]
    return judged(
        avatar.mesh,
        deform(avatar.mesh.vertices, avatar.skin, avatar.clip.transforms[frames]),
        Subject.of(context.body, avatar.rig.shaped),
        prompts["appearance"],
        prompts["motion"],
        guide=context.encoder,
        judge=held_out_judge(context.encoder),
        size=config.score_size,
        device=context.device,
    )


def _judge_facts(scored: Judged) -> JudgeFacts | None:
    """What the report says of the encoder that did not guide."""
    if scored.judge is None:
        return None
    known = scored.features.encoders["judge"]
    licence = weight_facts(known.name, known.digest).licence
    return JudgeFacts(name=known.name, digest=known.digest, licence=licence, scores=scored.judge.scores)


def _extras(
    prompts: Mapping[str, str], seed: int, lineage: Lineage, weights: Mapping[str, WeightFacts]
) -> dict[str, object]:
    """What the GLB says of its making: only what follows from the inputs, so that equal inputs stay equal bytes."""
    return json_extras(
        {
            "generator": GENERATOR,
            "prompts": dict(prompts),
            "seed": seed,
            "keys": dict(lineage.keys),
            "weights": {role: facts.model_dump() for role, facts in weights.items()},
        }
    )
