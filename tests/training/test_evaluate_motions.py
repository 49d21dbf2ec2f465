"""Measures of motions, and the report with its sheet."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from avatar_core.bodies import load_body
from avatar_core.perception import load_encoder
from avatar_core.stages.base import StageContext
from avatar_core.stages.motion import Motion
from avatar_core.training.evaluate_motions import ABLATION, FRAMES, PROMPTS, evaluate, wear
from avatar_core.training.evaluate_prompts import TILE


@pytest.fixture(scope="module")
def context():
    return StageContext(load_body("anny"), load_encoder())


def standing(frames: int = 8) -> Motion:
    poses = torch.zeros(frames, 22, 3)
    poses[:, 16, 2], poses[:, 17, 2] = -1.2, 1.2
    translation = torch.tensor([[0.0, 0.92, 0.0]]).expand(frames, 3).clone()
    return Motion(poses, translation, torch.zeros(frames, 2, dtype=torch.bool), 0.1, 0.2, (0,), [])


def test_a_still_figure_neither_skates_nor_shakes_and_a_sliding_one_skates(context):
    still = standing()
    _, measured = wear(still, context)
    assert measured["skate_mm"] == pytest.approx(0, abs=1e-3)
    assert measured["jerk"] == pytest.approx(0, abs=1e-2)
    assert measured["limit_violations"] == 0
    slide = still.translation + torch.arange(8)[:, None] * torch.tensor([0.004, 0.0, 0.0])
    assert wear(replace(still, translation=slide), context)[1]["skate_mm"] == pytest.approx(4, rel=0.2)


def test_the_report_has_every_method_and_prompt_and_shows_them(context, tmp_path):
    report = evaluate(context, tmp_path, ("waving", "squatting"), ("interpolation", "baseline"), 1)
    assert json.loads((tmp_path / "motions.json").read_text(encoding="utf-8")) == report
    assert report["interpolation"]["waving"]["authored"]
    assert Image.open(tmp_path / "interpolation.png").size == (2 * FRAMES * TILE, TILE + 14)
    assert Image.open(tmp_path / "ablation.png").size == (2 * FRAMES * TILE, 2 * (TILE + 14))
    assert set(ABLATION) < set(PROMPTS)
    assert len(set(PROMPTS)) == 12
