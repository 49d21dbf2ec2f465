"""Stage export: field and motion become a rigged, textured, animated model with previews and a report."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from avatar_core.bodies import EMBEDDED
from avatar_core.bodies.rig import Rig
from avatar_core.errors import ArtifactError
from avatar_core.export.glb import RestPose, build_glb, json_extras
from avatar_core.export.learning import learning_curves
from avatar_core.export.lens import Lens
from avatar_core.export.media import MediaConfig, write_motion, write_preview, write_turntable
from avatar_core.export.mesh import TriangleMesh, extract_mesh, ply_bytes, with_normal_map, with_surface_normals
from avatar_core.export.optimisation_film import write_optimisation
from avatar_core.export.provenance import GENERATOR, WeightFacts, used_weights, versions
from avatar_core.export.report import (
    Report,
    StageScore,
    build_report,
    mesh_facts,
    motion_facts,
    skin_facts,
    texture_facts,
    texturing_facts,
)
from avatar_core.export.skeleton import Skeleton
from avatar_core.export.surface import Surface
from avatar_core.rigging import idle
from avatar_core.rigging.clip import Clip
from avatar_core.rigging.relaxation import exercises, relaxed
from avatar_core.rigging.retarget import RiggedClip, retarget
from avatar_core.rigging.skinning import Skin, deform, transfer_weights
from avatar_core.stages.base import StageContext
from avatar_core.stages.coarse_shape import CoarseShape
from avatar_core.stages.export_refine import RefineConfig, refine_if_better
from avatar_core.stages.export_scores import appearance_scores, motion_scores
from avatar_core.stages.loose_parts import loose_parts
from avatar_core.stages.motion import Motion
from avatar_core.stages.texturing_result import TexturedAvatar
from avatar_core.stages.texturing_views import Subject

NAME = "export"
VERSION = 8
CURVES, FILM = "learning.png", "optimisation.mp4"
FILES = ("avatar.glb", "avatar.ply", "preview.png", "turntable.mp4", "motion.mp4", FILM, CURVES, "report.json")
"""What every finished avatar consists of."""
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
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds of earlier stages; only in the report, which is not byte-equal between runs."""


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
            return cls(files, Report.model_validate(json.loads(files["report.json"])))
        except (OSError, ValueError, ValidationError) as error:
            raise ArtifactError(f"{folder} holds no exported avatar ({error}); run export again") from error


@dataclass(frozen=True)
class RiggedAvatar:
    """A skinned mesh with its clip: what every format is written from."""

    mesh: TriangleMesh
    skin: Skin
    clip: RiggedClip
    rig: Rig


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
        lineage: preset, keys and timings, as far as the caller knows them.
    Raises:
        DivergenceError: a field or motion that is not finite, or a field without a surface.
        AvatarError: ffmpeg is missing.
    """
    lineage = lineage or Lineage()
    surface = textured.surface(context.body)
    steps = _Steps(context.progress, config.refine.steps + config.media.turntable_frames + len(motion.poses) + 7)
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
    with tempfile.TemporaryDirectory(prefix="avatar-") as scratch:
        _photograph(Path(scratch), avatar, prompts, config.media, context.device, steps)
        _tell_the_course(Path(scratch), textured, config.media, steps)
        files |= {path.name: path.read_bytes() for path in sorted(Path(scratch).iterdir())}
    with steps.part("scores"):
        final_scores, frame_scores = _final_scores(avatar, prompts, config, context)
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
        final_scores=final_scores,
        timings_s=dict(lineage.timings) | steps.seconds,
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
            frame_scores,
            authored=motion.authored,
            seed_diversity=motion.diversity,
        ),
        versions=versions(),
        weights=weights,
    )
    files["report.json"] = report.to_json().encode()
    steps.advance(f"score {final_scores['body']:.3f}")
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
    skin = relaxed(skin, mesh.vertices, mesh.faces, exercises(rig))
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
    return RiggedAvatar(mesh, skin, clip, rig)


def _clips(avatar: RiggedAvatar, prompt: str, context: StageContext) -> dict[str, Clip]:
    """The prompt's clip, called as the prompt, and the loop of standing; a prompt of that name keeps it."""
    standing = idle.idle(context.body, avatar.rig, avatar.mesh.vertices, avatar.skin, fps=avatar.clip.fps)
    return {prompt: avatar.clip, idle.NAME if prompt != idle.NAME else f"{idle.NAME} loop": standing}


def _photograph(
    folder: Path,
    avatar: RiggedAvatar,
    prompts: Mapping[str, str],
    config: MediaConfig,
    device: torch.device,
    steps: _Steps,
) -> None:
    captions = [(name, prompts[name]) for name in ("shape", "appearance", "motion")]
    with steps.part("preview"):
        write_preview(folder / "preview.png", avatar.mesh, avatar.skin, avatar.clip, captions, config, device)
        steps.advance("preview")
    with steps.part("turntable"):
        write_turntable(folder / "turntable.mp4", avatar.mesh, config, device, lambda frame: steps.advance("turntable"))
    with steps.part("motion_film"):
        write_motion(
            folder / "motion.mp4",
            avatar.mesh,
            avatar.skin,
            avatar.clip,
            config,
            device,
            lambda frame: steps.advance("motion film"),
        )


def _tell_the_course(folder: Path, textured: TexturedAvatar, config: MediaConfig, steps: _Steps) -> None:
    """Write the film and the learning curves of texturing."""
    with steps.part("optimisation_film"):
        write_optimisation(folder / FILM, textured.film.frames, textured.film.labels, config.video_height)
        notes = [(event.step, event.told()) for event in textured.events]
        learning_curves(textured.history, notes).save(folder / CURVES, format="PNG")
        steps.advance("optimisation film")


def _final_scores(
    avatar: RiggedAvatar, prompts: Mapping[str, str], config: Config, context: StageContext
) -> tuple[dict[str, float], tuple[float, ...]]:
    subject = Subject.of(context.body, avatar.rig.shaped)
    size, device = config.score_size, context.device
    scores = appearance_scores(avatar.mesh, subject, prompts["appearance"], context.encoder, size, device)
    count = min(config.score_frames, len(avatar.clip))
    frames = [int((index + 0.5) * len(avatar.clip) / count) for index in range(count)]
    posed = deform(avatar.mesh.vertices, avatar.skin, avatar.clip.transforms[frames])
    cosines = motion_scores(avatar.mesh, posed, prompts["motion"], context.encoder, size, device)
    return scores | {"motion": sum(cosines) / count, "motion_best": max(cosines)}, tuple(cosines)


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


class _Steps:
    """Progress over a known number of steps, and the seconds of each part."""

    def __init__(self, progress: Callable[[int, int, str], None], total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0
        self.seconds: dict[str, float] = {}

    def advance(self, note: str) -> None:
        self._done += 1
        self._progress(self._done, self._total, note)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[f"{NAME}.{name}"] = round(time.perf_counter() - start, 3)
