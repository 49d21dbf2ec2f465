"""Losses, batches, and a training run that can be interrupted."""

import dataclasses
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import avatar_core
from avatar_core.perception import load_encoder
from avatar_core.training.bodyclip_batches import augment, choose_patches
from avatar_core.training.bodyclip_model import (
    BodyClipConfig,
    FactHeads,
    TokenReader,
    build_bodyclip,
    contradictions,
    contrastive_loss,
    fact_sizes,
    image_features,
)
from avatar_core.training.bodyclip_tokenizer import learn_merges, train_tokenizer
from avatar_core.training.evaluate_bodyclip import evaluate, recall_at
from avatar_core.training.image_shards import read_image_shard
from avatar_core.training.scene import NUM_FACTS
from avatar_core.training.train_bodyclip import TrainConfig, Trainer, learning_rate

SMALL = BodyClipConfig(
    vision_width=32, vision_layers=2, text_width=32, text_layers=1, context=32, vocab_size=500, projection=16
)  # fmt: skip
CONFIG = TrainConfig(batch=8, tap=1, held_out_shards=1, learning_rate=1e-3)


def test_looking_at_all_patches_is_the_model_itself():
    model = build_bodyclip(SMALL, seed=0).eval()
    pixels = torch.randn(2, 3, 96, 96)
    every = torch.arange(36).expand(2, -1)
    own = model.visual_projection(model.vision_model(pixels).pooler_output)
    torch.testing.assert_close(image_features(model, pixels)[0], own)
    torch.testing.assert_close(image_features(model, pixels, every)[0], own)


def test_patches_with_the_body_are_kept_first():
    cover = torch.zeros(2, 36)
    cover[0, [3, 30]] = 0.5
    kept = choose_patches(cover, 4, torch.Generator().manual_seed(0))
    assert {3, 30} <= set(kept[0].tolist())
    assert kept.shape == (2, 4)


def test_a_text_contradicts_where_it_claims_something_false():
    facts = torch.tensor([[1, 2, -1], [1, 3, -1]])
    claims = torch.tensor([[1, 2, 5], [0, 3, -1]])
    claimed = torch.tensor([[True, True, False], [False, True, False]])
    assert contradictions(facts, claims, claimed).tolist() == [[False, True], [True, False]]


def test_pairs_that_do_not_contradict_are_no_negatives():
    images = torch.eye(3)
    texts = torch.cat([torch.eye(3), torch.eye(3)[:1]])
    own_or_true = torch.zeros(3, 4, dtype=torch.bool)
    assert contrastive_loss(images, texts, torch.tensor(50.0), own_or_true) < 1e-4
    assert contrastive_loss(images, texts, torch.tensor(50.0), ~own_or_true) > 0.1  # the copy of text 0 rivals it


def test_fact_heads_learn_from_known_facts_only():
    sizes = fact_sizes(5, 4)
    heads = FactHeads(16, sizes, 6, seed=0)
    features = torch.nn.functional.normalize(torch.randn(3, 16), dim=1).requires_grad_()
    facts = torch.zeros(3, NUM_FACTS, dtype=torch.long)
    known = torch.zeros(3, NUM_FACTS, dtype=torch.bool)
    assert heads.loss(features, facts, known) == 0
    known[1, 0] = True
    heads.loss(features, facts, known).backward()
    assert features.grad[1].abs().sum() > 0
    assert features.grad[[0, 2]].abs().sum() == 0


def test_the_token_reader_reads_absent_layers_as_the_last_value():
    reader = TokenReader(8, fact_sizes(5, 4), seed=0)
    tokens = torch.randn(2, 6, 8)
    known = torch.ones(2, NUM_FACTS, dtype=torch.bool)
    absent = torch.full((2, NUM_FACTS), -1)
    last = torch.tensor(reader.sizes).expand(2, -1) - 1
    torch.testing.assert_close(reader.loss(tokens, absent, known), reader.loss(tokens, last, known))


def test_augmentation_keeps_colours_recognisable():
    images = torch.zeros(12, 3, 32, 32)
    images[:, 0] = 0.8
    found = augment(images.clone(), torch.Generator().manual_seed(0)).mean((2, 3))
    assert (found[:, 0] > found[:, 1] + 0.4).all()


def test_recall_counts_rows_whose_own_column_leads():
    similarity = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    assert recall_at(similarity, (1, 2, 3)) == pytest.approx({"R@1": 1 / 3, "R@2": 2 / 3, "R@3": 1.0})


def test_the_rate_warms_up_and_cools_down():
    rates = [learning_rate(CONFIG, used) for used in np.linspace(0, 1, 50)]
    assert max(rates) == pytest.approx(CONFIG.learning_rate, rel=0.01)
    assert rates[0] < 0.1 * CONFIG.learning_rate
    assert rates[-1] < 0.03 * CONFIG.learning_rate


def _train(data, out, steps, budget):
    bank, images = data
    trainer = Trainer(bank, images, out, SMALL, CONFIG, seed=5)
    for _ in range(steps):
        trainer.train_step(trainer.step / budget)
    trainer.save()
    return trainer


def test_an_interrupted_run_continues_where_it_was(data, tmp_path):
    straight = _train(data, tmp_path / "straight", 4, 8)
    _train(data, tmp_path / "broken", 2, 8)
    resumed = _train(data, tmp_path / "broken", 2, 8)
    assert resumed.step == straight.step == 4
    for name, value in straight.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, msg=name)


def test_training_lowers_the_loss_and_exports_an_encoder(data, tmp_path):
    bank, images = data
    config = dataclasses.replace(CONFIG, learning_rate=3e-3, text_every=1, keep_patches=36)
    trainer = Trainer(bank, images, tmp_path, SMALL, config, seed=1)
    losses = [trainer.train_step(0.3) for _ in range(30)]
    for name in ("seen", "said", "token"):
        assert np.mean([one[name] for one in losses[-5:]]) < 0.95 * losses[0][name]
    trainer.save()
    encoder = load_encoder(str(tmp_path / "export"))
    scores = evaluate(encoder, bank, read_image_shard(images / "images-00000.safetensors"))
    assert all(0 <= value <= 1 or np.isnan(value) for value in scores.values())
    assert scores["text to image R@20"] == 1.0  # of 16


def test_a_tokenizer_is_the_same_for_the_same_texts():
    texts = ["a man in a red shirt", "a woman in a green dress with dots", "dressed in red, red, red"] * 3
    first, second = (train_tokenizer(texts, 260, 12).backend_tokenizer.to_str() for _ in range(2))
    assert first == second


def test_frequent_words_become_one_token_and_others_pieces():
    tokenizer = train_tokenizer(["a red shirt", "a red dress"] * 3, 400, 12)
    assert tokenizer.tokenize("Red SHIRT") == ["red</w>", "shirt</w>"]
    assert "".join(tokenizer.tokenize("redress")).replace("</w>", "") == "redress"
    assert tokenizer("a red shirt")["input_ids"][0] == 1
    assert tokenizer("a red shirt")["input_ids"][-1] == 3
    assert "<unknown>" in tokenizer.tokenize("🤖")


def test_merges_take_the_most_frequent_pair_then_the_alphabet():
    assert learn_merges(Counter({"ab": 3, "cb": 5}), 2) == [("c", "b</w>"), ("a", "b</w>")]
    assert learn_merges(Counter({"zy": 2, "ay": 2}), 1) == [("a", "y</w>")]
    assert learn_merges(Counter({"once": 1}), 9) == []


@pytest.mark.slow
def test_two_workers_train_one_model_from_the_command_line(data, tmp_path):
    bank, images = data
    command = [
        sys.executable, "-m", "avatar_core.training.train_bodyclip", "--bank", str(bank), "--images", str(images),
        "--out", str(tmp_path), "--steps", "2", "--batch", "4", "--workers", "2",
    ]  # fmt: skip
    root = Path(avatar_core.__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert load_encoder(str(tmp_path / "export")).encode_texts(["a man"]).shape == (1, 256)
