import io
import json
from dataclasses import replace

import numpy as np
import pygltflib
import pytest
import torch
import trimesh
from PIL import Image

from avatar_core.bodies import load_body
from avatar_core.errors import ArtifactError
from avatar_core.export.media import MediaConfig
from avatar_core.export.report import StageCost
from avatar_core.export.view_features import ViewFeatures
from avatar_core.fields import AvatarField, BodySurface, FieldConfig, outer_faces
from avatar_core.perception.encoder import load_encoder
from avatar_core.perception.prompts import appearance_prompts
from avatar_core.rigging.relaxation import MOST, exercises, relaxed
from avatar_core.rigging.skinning import deform, edge_stretch
from avatar_core.stages import export
from avatar_core.stages.base import StageContext
from avatar_core.stages.coarse_shape import CoarseShape
from avatar_core.stages.export import FILES, Config, ExportResult, Lineage
from avatar_core.stages.export_refine import RefineConfig
from avatar_core.stages.motion import Motion
from avatar_core.stages.texturing_film import Film
from avatar_core.stages.texturing_recovery import Event
from avatar_core.stages.texturing_result import TexturedAvatar

COST = StageCost(seconds=12.5, peak_mb=900.0, device="cpu")
PROMPTS = {"shape": "an average person", "appearance": "a person in a red shirt", "motion": "waving"}
QUICK = Config(
    voxel=0.012,
    faces=6000,
    texture_size=128,
    normal_map_size=64,
    refine=RefineConfig(steps=2, views_per_step=1, image_size=48),
    score_size=64,
    score_frames=2,
    media=MediaConfig(
        panel_height=96,
        panel_width=64,
        supersample=1,
        key_frames=2,
        video_height=64,
        video_width=64,
        turntable_frames=3,
        light_samples=8,
        video_light_samples=8,
    ),
)


@pytest.fixture(scope="module")
def context() -> StageContext:
    return StageContext(load_body(), load_encoder("bodyclip"))


@pytest.fixture(scope="module")
def textured(context) -> TexturedAvatar:
    """The neutral body with a red torso, two centimetres of hair, and blue legs."""
    body = context.body
    shaped = body.shape(body.neutral_shape)
    field = AvatarField(BodySurface(shaped.vertices, outer_faces(body)), FieldConfig(sdf_cell=0.02))
    member = torch.nn.functional.one_hot(body.regions, len(body.region_names)).float()
    tints = {"chest": (0.8, 0.05, 0.05), "belly": (0.8, 0.05, 0.05), "scalp": (0.1, 0.1, 0.1)}
    tints |= {name: (0.05, 0.05, 0.8) for name in body.region_names if "thigh" in name or "shin" in name}
    colors = torch.tensor([tints.get(name, (0.8, 0.6, 0.5)) for name in body.region_names])
    thickness = torch.tensor([0.02 if name == "scalp" else 0.0 for name in body.region_names])
    field.dress(member, colors, thickness)
    film = Film(("body", "outfit", "step 2"), torch.arange(3 * 32 * 24 * 3).reshape(3, 32, 24, 3).byte())
    history = [{"step": float(step), "loss": 1.0 / step, "lit": 0.5 / step, "mask": 0.1} for step in (1, 2)]
    event = Event(2, "divergence", "the loss is nan", 1, 0.5, 6, 64)
    outfit = {"top": "red shirt"}
    return TexturedAvatar(body.neutral_shape, field.state(), 0.1, 0.2, outfit, history, film, (event,))


@pytest.fixture(scope="module")
def motion() -> Motion:
    poses = torch.zeros(12, 22, 3)
    poses[:, 17, 2] = -torch.linspace(0, 1, 12)
    translation = torch.tensor([0.0, 0.92, 0.0]).repeat(12, 1)
    return Motion(poses, translation, torch.zeros(12, 2, dtype=torch.bool), 0.1, 0.2, (0,), [])


@pytest.fixture(scope="module")
def shape(context) -> CoarseShape:
    return CoarseShape(context.body.neutral_shape, 0.3, 0.2, (1, 2), (0.5, 0.4))


@pytest.fixture(scope="module")
def told() -> list[tuple[int, int, str]]:
    return []


@pytest.fixture(scope="module")
def result(textured, motion, shape, context, told) -> ExportResult:
    watched = StageContext(
        context.body, context.encoder, progress=lambda done, total, note="": told.append((done, total, note))
    )
    lineage = Lineage(preset="draft", keys={"motion": "ab" * 16}, costs={"texturing": COST})
    return export.run(textured, motion, shape, PROMPTS, config=QUICK, seed=7, context=watched, lineage=lineage)


def test_all_files_are_there_and_open(result, tmp_path):
    result.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    document = pygltflib.GLTF2().load(tmp_path / "avatar.glb")
    assert len(document.skins[0].joints) == 66
    assert [image.name for image in document.images] == ["albedo", "normals"]
    assert [animation.name for animation in document.animations] == ["waving", "idle"]
    assert document.asset.extras["generator"] == document.asset.generator
    assert document.asset.extras["prompts"] == PROMPTS
    assert document.asset.extras["seed"] == 7
    assert document.asset.extras["keys"] == {"motion": "ab" * 16}
    scene = trimesh.load(tmp_path / "avatar.glb")
    assert 1.6 < scene.extents[1] < 1.95
    assert scene.extents[1] > scene.extents[0] > scene.extents[2]
    assert trimesh.load(tmp_path / "avatar.ply").visual.kind == "vertex"


def test_a_saved_avatar_loads_as_it_was(result, tmp_path):
    result.save(tmp_path)
    loaded = ExportResult.load(tmp_path)
    assert loaded == result
    assert loaded.score == result.score
    (tmp_path / "motion.mp4").unlink()
    with pytest.raises(ArtifactError, match="run export again"):
        ExportResult.load(tmp_path)


def test_the_colours_lie_where_the_field_has_them(result, tmp_path):
    (tmp_path / "a.ply").write_bytes(result.files["avatar.ply"])
    mesh = trimesh.load(tmp_path / "a.ply", process=False)
    colors = mesh.visual.vertex_colors[:, :3].astype(int)
    height, aside = mesh.vertices[:, 1], np.abs(mesh.vertices[:, 0])
    belly = (height > 1.1) & (height < 1.25) & (aside < 0.1)
    knees = (height > 0.3) & (height < 0.6)
    assert np.median(colors[belly], axis=0)[0] > 150
    assert np.median(colors[belly], axis=0)[2] < 60
    assert np.median(colors[knees], axis=0)[2] > 150


def test_what_grew_on_the_body_is_in_the_mesh(result, context):
    bare = float(context.body.template[:, 1].max())
    assert 0.01 < result.report.mesh.bounds_m[1][1] - bare < 0.03


def test_the_report_tells_what_was_made(result):
    report = result.report
    assert json.loads(result.files["report.json"]) == report.model_dump(mode="json")
    assert report.mesh.watertight
    assert report.mesh.components == 1
    assert (report.texture.size, report.texture.normal_map_size) == (128, 64)
    assert 0.5 < report.texture.normal_map_degrees < 30
    assert 0 < report.texture.seam_difference < 0.1
    assert report.texture.refinement.steps == 2
    assert report.skin.bones == 66
    assert report.skin.max_influences <= 4
    assert report.motion.frames == 12
    assert report.motion.ground_penetration_m < 1e-3
    assert report.motion.jerk_m_s3 > 0
    assert report.motion.joint_limit_violations == 0
    assert report.motion.self_penetration_m < 0.1
    assert sum(report.motion.frame_scores) / len(report.motion.frame_scores) == report.final_scores["motion"]
    assert report.stage_scores["texturing"].after == 0.2
    assert set(report.final_scores) == {"body", "face", "back", "motion", "motion_best"}
    assert all(-1 <= score <= 1 for score in report.final_scores.values())
    assert report.timings_s["texturing"] == 12.5
    assert report.costs == {"texturing": COST}
    assert report.mesh.self_intersecting < 100
    parts = ("mesh_and_rig", "normal_map", "refinement", "preview", "turntable")
    assert all(report.timings_s[f"export.{part}"] >= 0 for part in parts)
    assert report.outfit == {"top": "red shirt"}
    assert report.body["height"] == 0.5
    assert report.texturing.steps == 2
    assert report.texturing.final_loss == 0.5
    assert report.texturing.events[0].reason == "the loss is nan"
    assert {report.texturing.film, report.texturing.curves} < set(result.files)
    assert result.files["optimisation.mp4"][4:8] == b"ftyp"
    assert Image.open(io.BytesIO(result.files["learning.png"])).size[0] == 1280
    assert report.weights["body"].digest


def test_both_encoders_see_the_same_views(result, context):
    report = result.report
    assert report.judge.name == "judge"
    assert report.judge.licence == "Apache-2.0"
    assert report.judge.digest != report.weights["encoder"].digest
    assert set(report.judge.scores) == set(report.final_scores)
    assert [view.prompt for view in report.views] == ["body"] * 3 + ["back"] + ["face"] * 2
    for scores, seen in ((report.final_scores, "guide"), (report.judge.scores, "judge")):
        cosines = [getattr(view, seen) for view in report.views if view.prompt == "body"]
        assert sum(cosines) / 3 == pytest.approx(scores["body"], abs=1e-6)
    features = ViewFeatures.from_bytes(result.files["features.safetensors"])
    assert features.kinds == tuple(view.prompt for view in report.views)
    assert features.sex is None
    for role, digest in (("guide", report.weights["encoder"].digest), ("judge", report.judge.digest)):
        assert features.encoders[role].digest == digest
    text = context.encoder.encode_texts([appearance_prompts(PROMPTS["appearance"])["back"]])[0]
    assert float(features.encoders["guide"].views[3] @ text) == pytest.approx(report.views[3].guide, abs=2e-3)


def test_where_the_judge_guides_nobody_judges(textured, motion, shape, context):
    guided = StageContext(context.body, load_encoder("judge"))
    plain = QUICK.model_copy(update={"refine": RefineConfig(steps=0)})
    report = export.run(textured, motion, shape, PROMPTS, config=plain, seed=7, context=guided).report
    assert report.judge is None
    assert all(view.judge is None for view in report.views)


def test_what_is_switched_off_is_not_in_the_model(textured, motion, shape, context, tmp_path):
    plain = QUICK.model_copy(update={"normal_map": False, "refine": RefineConfig(steps=0)})
    result = export.run(textured, motion, shape, PROMPTS, config=plain, seed=7, context=context)
    document = pygltflib.GLTF2.load_from_bytes(result.files["avatar.glb"])
    assert document.materials[0].normalTexture is None
    assert [image.name for image in document.images] == ["albedo"]
    assert result.report.texture.normal_map_size == 0
    assert result.report.texture.refinement is None


def test_progress_ends_at_its_total(result, told):
    assert [done for done, _, _ in told] == list(range(1, told[-1][1] + 1))
    assert told[-1][0] == told[-1][1]


def test_the_model_is_byte_equal_when_made_again_whatever_the_clock_says(textured, motion, shape, context, result):
    slower = {"texturing": COST.model_copy(update={"seconds": 99.0})}
    lineage = Lineage(preset="draft", keys={"motion": "ab" * 16}, costs=slower)
    again = export.run(textured, motion, shape, PROMPTS, config=QUICK, seed=7, context=context, lineage=lineage)
    for name in ("avatar.glb", "avatar.ply", "preview.png", "optimisation.mp4", "learning.png", "motion.webp",
                 "features.safetensors"):
        assert again.files[name] == result.files[name], name


def test_what_the_avatar_s_own_clip_would_tear_is_relaxed(textured, motion, context, monkeypatch):
    """With no exercises at all, an arm raised far beyond them tears less than it would without the clip."""
    poses = motion.poses.clone()
    poses[:, 17, 2] = -torch.linspace(0, 2.2, len(poses))
    raised = replace(motion, poses=poses)
    seen = []

    def watched(skin, vertices, faces, transforms):
        result = relaxed(skin, vertices, faces, transforms) if len(transforms) else skin
        seen.append((vertices, faces, transforms, skin, result))
        return result

    monkeypatch.setattr(export, "exercises", lambda rig: exercises(rig)[:0])
    monkeypatch.setattr(export, "relaxed", watched)
    avatar = export.build_avatar(textured, textured.surface(context.body), raised, QUICK, context)
    vertices, faces, transforms, before, after = seen[-1]
    assert len(transforms) == len(avatar.clip)
    torn, kept = (edge_stretch(vertices, faces, deform(vertices, skin, transforms)).max() for skin in (before, after))
    assert torn > MOST
    assert kept < torn
    assert avatar.skin is after
