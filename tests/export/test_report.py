import json

import numpy as np
import pytest
from pydantic import ValidationError

from avatar_core.bodies import load_body
from avatar_core.errors import DivergenceError
from avatar_core.export.measuring import mesh_facts, texturing_facts
from avatar_core.export.mesh import extract_mesh
from avatar_core.export.provenance import used_weights, versions
from avatar_core.export.report import (
    JudgeFacts,
    MeshFacts,
    MotionFacts,
    Report,
    SkinFacts,
    StageCost,
    StageScore,
    TextureFacts,
    ViewScore,
    build_report,
)

EVENT = {
    "step": 43,
    "kind": "divergence",
    "reason": "the loss is nan",
    "back_to": 40,
    "rate_factor": 0.5,
    "views": 6,
    "edge": 64,
}
HISTORY = [{"step": float(step), "loss": 2.0 - 0.01 * step, "lit": 0.5} for step in range(1, 101)]
PARTS = {
    "generator": "avatar-foundry",
    "prompts": {"shape": "a man", "appearance": "a knight", "motion": "waving"},
    "seed": 3,
    "preset": "draft",
    "keys": {},
    "stage_scores": {"texturing": StageScore(before=0.1, after=0.3)},
    "final_scores": {"body": 0.3},
    "views": (ViewScore(prompt="body", azimuth_degrees=0.0, guide=0.3, judge=0.2),),
    "judge": JudgeFacts(name="judge", digest="e" * 64, licence="Apache-2.0", scores={"body": 0.2}),
    "timings_s": {"texturing": 60.0},
    "costs": {"texturing": StageCost(seconds=60.0, peak_mb=900.0, device="cpu")},
    "body": {"height": 0.5},
    "outfit": {"top": "red t-shirt"},
    "texturing": texturing_facts(HISTORY, [EVENT], curves="learning.png", film="optimisation.mp4"),
    "mesh": MeshFacts(
        vertices=4,
        faces=4,
        components=1,
        watertight=True,
        self_intersecting=0,
        volume_l=70.0,
        height_m=1.7,
        bounds_m=((0, 0, 0), (1, 1.7, 1)),
    ),
    "texture": TextureFacts(
        size=2048,
        seam_length_m=20.0,
        seam_difference=0.002,
        normal_map_size=1024,
        normal_map_degrees=4.0,
        refinement=None,
    ),
    "skin": SkinFacts(bones=66, max_influences=4, worst_stretch=1.5, stretch_p999=1.2),
    "motion": MotionFacts(
        frames=60,
        fps=30,
        authored=False,
        translation_scale=1.0,
        limb_direction_error_degrees=0.5,
        foot_skate_mm=3.0,
        ground_penetration_m=0.0,
        mean_clearance_m=0.01,
        contact_fraction=1.0,
        self_penetration_m=0.0,
        joint_limit_violations=0.0,
        jerk_m_s3=20.0,
        seed_diversity_m=0.05,
        frame_scores=(0.3, 0.4),
    ),
    "versions": {"python": "3"},
    "weights": {},
}


def test_a_report_survives_being_written_and_read():
    report = build_report(**PARTS)
    assert Report.model_validate(json.loads(report.to_json())) == report
    assert report.to_json().endswith("}\n")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused_by_name(bad):
    with pytest.raises(DivergenceError, match=r"final_scores\.body"):
        build_report(**PARTS | {"final_scores": {"body": bad}})


def test_unknown_fields_are_refused():
    with pytest.raises(ValidationError):
        build_report(**PARTS, surprise=1)


def test_mesh_facts_are_the_mesh_s(capsule_man):
    facts = mesh_facts(extract_mesh(capsule_man, voxel=0.02, faces=3000))
    assert facts.watertight
    assert facts.components == 1
    assert facts.self_intersecting == 0
    assert facts.height_m == pytest.approx(1.76, abs=0.01)
    assert 60 < facts.volume_l < 110
    np.testing.assert_allclose(facts.bounds_m[1][0], 0.65, atol=0.01)


def test_every_model_is_listed_with_digest_and_licence():
    found = used_weights(body=("anny", load_body().digest), encoder=("/somewhere/clip", "e" * 64))
    assert set(found) == {"body", "encoder", "shape_codebook", "pose_vae", "motion_vae", "view_readers"}
    assert "CC0" in found["body"].licence
    assert found["encoder"].name == "clip"
    assert "user" in found["encoder"].licence
    assert all(len(facts.digest) == 64 for facts in found.values())
    assert used_weights(body=("anny", "d"), encoder=("openai/clip", "e"))["encoder"].name == "openai/clip"


def test_a_name_alone_licenses_nothing(tmp_path):
    """Weights that were trained again under a shipped model's name have the terms of their own data."""
    found = used_weights(body=("anny", "d" * 64), encoder=("bodyclip", "e" * 64))
    assert "user" in found["body"].licence
    assert "user" in found["encoder"].licence
    (tmp_path / "README.md").write_text("---\nlicense: mit\ntags: [clip]\n---\n")
    assert used_weights(body=("anny", "d"), encoder=(str(tmp_path), "e"))["encoder"].licence == "as its card says: mit"


def test_a_brought_body_comes_with_its_own_licence_and_shapes():
    terms = "SMPL body model licence: non-commercial"
    found = used_weights(body=("smpl", "d"), encoder=("bodyclip", "e"), body_licence=terms)
    assert found["body"].licence == terms
    assert "shape_codebook" not in found


def test_brought_priors_come_with_their_own_licence_and_stand_in_for_the_shipped_ones():
    names = {"body": ("anny", "d"), "encoder": ("bodyclip", "e")}
    vposer, poses = ("vposer", "f" * 64, "non-commercial"), ("avatarclip-poses", "a" * 64, "non-commercial")
    seen = used_weights(**names, priors=[vposer])
    assert (seen["vposer"].digest, seen["vposer"].licence) == ("f" * 64, "non-commercial")
    assert "pose_vae" in seen  # whose poses VPoser shows
    assert "pose_vae" not in used_weights(**names, priors=[vposer, poses])
    assert "motion_vae" not in used_weights(**names, priors=[("own-motion", "b" * 64, "")])


def test_versions_name_python_and_the_project():
    assert {"python", "avatar_core", "torch"} <= set(versions())


def test_the_course_of_the_texturing_is_summed_up():
    facts = build_report(**PARTS).texturing
    assert facts.steps == 100
    assert facts.final_loss == pytest.approx(2.0 - 0.955)
    assert facts.events[0].model_dump() == EVENT
    assert (facts.curves, facts.film) == ("learning.png", "optimisation.mp4")
    assert texturing_facts([], [], curves="a", film="b").final_loss is None
