"""The forty prompts and how they are judged; the shipped models' own scores are in BodyCLIP's card."""

import json

import pytest
import torch
from PIL import Image

from avatar_core.bodies import load_body
from avatar_core.perception import load_encoder
from avatar_core.priors.pose_vae import PoseCodebook
from avatar_core.stages.base import StageContext
from avatar_core.training import evaluate_prompts
from avatar_core.training.evaluate_prompts import FAT, FEMALE, MOTIONS, SHAPES, TALL, TILE, Measures, write_sheet


@pytest.fixture(scope="module")
def context():
    return StageContext(load_body("anny"), load_encoder())


def test_every_motion_prompt_can_be_right():
    labels = set(PoseCodebook.load().labels)
    assert len(SHAPES) == len(MOTIONS) == 20
    for prompt, words in MOTIONS.items():
        assert any(word in label for word in words for label in labels), prompt


def test_words_are_judged_by_measures():
    plain = Measures(height=1.75, bulk=22.0, muscle=0.5, female=0.5, age=0.67)
    assert TALL(Measures(1.9, 22.0, 0.5, 0.5, 0.67), plain)
    assert not TALL(plain, plain)
    assert FAT(Measures(1.75, 30.0, 0.1, 0.5, 0.67), plain)
    assert not FEMALE(plain, plain)


def test_the_report_says_what_was_right_and_shows_it(context, tmp_path, monkeypatch):
    shapes = {"a fat man": SHAPES["a fat man"], "a tall man": (TALL, FEMALE)}
    monkeypatch.setattr(evaluate_prompts, "SHAPES", shapes)
    monkeypatch.setattr(evaluate_prompts, "MOTIONS", {"walking": ("walk",), "swimming": ("no such label",)})
    scores = evaluate_prompts.evaluate(context, tmp_path)
    report = json.loads((tmp_path / "prompts.json").read_text(encoding="utf-8"))
    assert report["shapes"] == {"a fat man": True, "a tall man": False}
    assert report["motions"]["walking"] >= 3
    assert report["motions"]["swimming"] == 0
    assert scores["shape prompts"] == 0.5
    assert Image.open(tmp_path / "poses.png").width == 10 * TILE


def test_a_sheet_has_a_place_for_every_picture(tmp_path):
    write_sheet(tmp_path / "sheet.png", [torch.rand(3, TILE, TILE)] * 5, list("abcde"), columns=2)
    assert Image.open(tmp_path / "sheet.png").size == (2 * TILE, 3 * (TILE + 14))
