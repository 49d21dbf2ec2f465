"""Losses, batches, and a training run that can be interrupted."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import avatar_core
from avatar_core.bodies.skeleton import JOINT_INDEX, NUM_JOINTS
from avatar_core.errors import ConfigError
from avatar_core.perception import load_encoder
from avatar_core.training.architectures import BodyClip, Judge
from avatar_core.training.bodyclip_batches import augment, choose_patches, known_facts, mirror_joints
from avatar_core.training.bodyclip_model import (
    BodyClipConfig,
    FactHeads,
    FactLoss,
    TokenReader,
    build_bodyclip,
    contradictions,
    contrastive_loss,
    fact_sizes,
    image_features,
    joint_error,
)
from avatar_core.training.captions import Captioner
from avatar_core.training.evaluate_bodyclip import (
    UNSEEN_COLORS,
    UNSEEN_GARMENTS,
    evaluate,
    linear_readers,
    recall_at,
    retrieval,
)
from avatar_core.training.geometry_bank import VIEW_KINDS
from avatar_core.training.image_shards import read_bank_facts, read_image_shard
from avatar_core.training.look_language import load_archetypes
from avatar_core.training.muon import Muon
from avatar_core.training.scene import NUM_FACTS, fact_slot
from avatar_core.training.train_bodyclip import TrainConfig, Trainer, batch_loss, learning_rate
from avatar_core.training.view_renderer import CELL_SIZES
from avatar_core.training.word_vectors import grammar_words

SMALL = BodyClipConfig(
    vision_width=32, vision_layers=2, text_width=32, text_layers=1, context=32, projection=16
)  # fmt: skip
ARCHITECTURES = {
    "bodyclip": BodyClip(SMALL),
    "judge": Judge(widths=(16, 32, 32), depths=(1, 1, 1), text_layers=1, context=32, projection=16),
}
CONFIG = TrainConfig(batch=8, tap=1, held_out_shards=1, learning_rate=1e-3, backgrounds=20)


def test_looking_at_all_patches_is_the_model_itself():
    model = build_bodyclip(SMALL, torch.randn(10, 32), seed=0).eval()
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


def test_facts_are_read_as_cross_entropy_of_each():
    sizes = [3, 2, 4]
    logits, known = torch.randn(5, 9), torch.rand(5, 3) < 0.7
    facts = torch.stack([torch.randint(-1, size - 1, (5,)) for size in sizes], 1)
    weights = torch.tensor([1.0, 3.0, 0.5])  # of a group of two facts and a group of one
    own = torch.stack([
        torch.nn.functional.cross_entropy(part, facts[:, slot] % size, reduction="none")
        for slot, (part, size) in enumerate(zip(logits.split(sizes, 1), sizes))
    ], 1)  # fmt: skip
    missed, share = own * weights * known, weights * known
    expected = missed[:, :2].sum() / share[:, :2].sum() + missed[:, 2].sum() / share[:, 2].sum()
    torch.testing.assert_close(FactLoss(sizes, weights.tolist(), 2)(logits, facts, known), expected)


def test_cells_without_labels_teach_nothing():
    reader = TokenReader(8, fact_sizes(5, 4), seed=0)
    tokens = torch.randn(2, 6, 8)
    cells = torch.rand(2, 6, sum(CELL_SIZES))
    cells[1, :, CELL_SIZES[0] :] = 0  # a textureless image has body regions only
    tokens.requires_grad_()
    reader.cell_loss(tokens, cells).backward()
    both = tokens.grad.clone()
    cells[1] = 0
    tokens.grad = None
    reader.cell_loss(tokens, cells).backward()
    assert both[1].abs().sum() > 0
    assert tokens.grad[1].abs().sum() == 0


def test_a_mirrored_pose_is_the_same_pose_with_sides_changed():
    joints = torch.randn(2, NUM_JOINTS, 3)
    mirrored = mirror_joints(joints)
    left, right = JOINT_INDEX["left_wrist"], JOINT_INDEX["right_wrist"]
    torch.testing.assert_close(mirrored[:, left], joints[:, right] * torch.tensor([-1.0, 1.0, 1.0]))
    torch.testing.assert_close(mirrored[:, JOINT_INDEX["head"], 1:], joints[:, JOINT_INDEX["head"], 1:])
    torch.testing.assert_close(mirror_joints(mirrored), joints)


def test_joints_count_only_where_the_pose_is_seen():
    joints = torch.randn(2, NUM_JOINTS, 3)
    read = (3 * joints).flatten(1).clone()
    assert joint_error(read, joints, torch.tensor([True, True])) == 0
    read[1] += 5
    assert joint_error(read, joints, torch.tensor([True, False])) == 0
    assert joint_error(read, joints, torch.tensor([True, True])) == pytest.approx(12.5)


def test_augmentation_keeps_colours_recognisable():
    images = torch.zeros(12, 32, 32, 3)
    images[..., 0] = 0.8
    found = augment(images.clone(), torch.Generator().manual_seed(0)).mean((1, 2))
    assert (found[:, 0] > found[:, 1] + 0.4).all()


def test_unseen_words_are_in_no_caption(data):
    bank, _ = data
    garments = [word.split()[-1] for word in UNSEEN_GARMENTS.values()]
    phrases = " ".join(phrase for label in read_bank_facts(bank).labels for phrase in label.phrases)
    seen = {*grammar_words(), *phrases.split()}
    assert not seen & {*UNSEEN_COLORS.values(), *garments}


def test_a_view_shows_only_the_facts_of_what_is_in_it(data):
    _, images = data
    scene = read_image_shard(images / "images-00000.safetensors").scenes[0]
    adult = replace(scene, mode="textureless", body={**scene.body, "age": 1})

    def shown(one, name):
        return bool(known_facts(one)[fact_slot(name)])

    assert all(shown(replace(adult, kind="full"), name) for name in ("sex", "age", "weight", "muscle", "pose"))
    assert shown(replace(adult, kind="face"), "sex")
    assert not shown(replace(adult, kind="face"), "weight")
    assert not any(shown(replace(adult, kind="hand"), name) for name in ("sex", "age", "weight", "pose"))
    assert [kind for kind in VIEW_KINDS if shown(replace(adult, kind=kind), "height")] == ["standard"]
    assert not shown(replace(adult, kind="full", body={**adult.body, "age": 2}), "age")  # grey hides wrinkles


def test_recall_counts_rows_whose_own_column_leads():
    similarity = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    assert recall_at(similarity, (1, 2, 3)) == pytest.approx({"R@1": 1 / 3, "R@2": 2 / 3, "R@3": 1.0})
    last = torch.tensor([False, True, True])
    assert recall_at(similarity, (1, 2, 3), last) == pytest.approx({"R@1": 0.0, "R@2": 0.5, "R@3": 1.0})
    assert recall_at(similarity, (1,), torch.zeros(3, dtype=torch.bool)) == {}


def test_linear_readers_find_what_vectors_hold_and_no_more(data):
    _, images = data
    scenes = [s for n in range(4) for s in read_image_shard(images / f"images-{n:05d}.safetensors").scenes]
    scenes = [replace(scene, kind="full", betas=(float(n),) * 6) for n, scene in enumerate(scenes * 3)]
    sexes = np.random.default_rng(0).integers(2, size=len(scenes))
    scenes = [replace(one, body={**one.body, "sex": int(sex)}) for one, sex in zip(scenes, sexes)]
    features = torch.randn(len(scenes), 8, generator=torch.Generator().manual_seed(0))
    assert linear_readers(features, scenes)["linear reader of sex (2 values)"] < 0.65
    features[:, 3] = torch.from_numpy(sexes).float()
    assert linear_readers(features, scenes)["linear reader of sex (2 values)"] > 0.95


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_muon_steps_are_orthogonal_whatever_the_gradient_s_scale(precision):
    tall, wide, idle = (torch.nn.Parameter(torch.zeros(*size)) for size in ((12, 6), (6, 12), (6, 6)))
    generator = torch.Generator().manual_seed(0)
    optimizer = Muon([tall, wide, idle], lr=0.1, precision=precision)
    tall.grad = torch.randn(12, 6, generator=generator) * 1e-4
    wide.grad = torch.randn(6, 12, generator=generator) * 1e4
    optimizer.step()
    for parameter in (tall, wide):
        spread = torch.linalg.svdvals(parameter) / (0.1 * 0.2 * 12**0.5)
        assert (spread.detach() > 0.4).all()
        assert (spread.detach() < 1.6).all()
    assert (tall.detach() * tall.grad).sum() < 0  # downhill
    assert (idle == 0).all()


def test_retrieval_tells_textured_bodies_from_grey_ones(data):
    bank, images = data
    scenes = read_image_shard(images / "images-00000.safetensors").scenes
    captioner = Captioner(load_archetypes(), read_bank_facts(bank).labels)
    captions = [captioner.caption(scene, np.random.default_rng(number)) for number, scene in enumerate(scenes)]
    encoder = load_encoder("bodyclip")
    features = encoder.encode_texts([caption.text for caption in captions])
    grey = torch.tensor([scene.mode == "textureless" for scene in scenes])
    assert 0 < int(grey.sum()) < len(scenes)
    features[grey] *= -1  # as far as can be from what the captions of grey bodies say
    scores = retrieval(features, encoder, scenes, captions)
    assert scores["text to image, textured bodies, R@1"] == 1.0
    assert scores["text to image, grey bodies, R@1"] == 0.0


def test_the_rate_warms_up_and_cools_down():
    rates = [learning_rate(CONFIG, used) for used in np.linspace(0, 1, 50)]
    assert max(rates) == pytest.approx(CONFIG.learning_rate, rel=0.01)
    assert rates[0] < 0.1 * CONFIG.learning_rate
    assert rates[-1] < 0.03 * CONFIG.learning_rate


def _train(data, words, out, steps, budget):
    bank, images = data
    trainer = Trainer(bank, images, words, out, ARCHITECTURES["bodyclip"], CONFIG, seed=5)
    for _ in range(steps):
        trainer.train_step(trainer.step / budget)
    trainer.save()
    return trainer


def test_words_are_disturbed_in_training_only(data, words, tmp_path):
    bank, images = data
    trainer = Trainer(bank, images, words, tmp_path, ARCHITECTURES["bodyclip"], CONFIG, seed=5)
    rng = np.random.default_rng(0)
    batch = trainer.maker.make(trainer.pool.sample(8, rng), trainer.backgrounds[0], rng, keep=18)

    def said(noise, seed):
        config, generator = replace(CONFIG, word_noise=noise), torch.Generator().manual_seed(seed)
        parts = trainer.architecture, trainer.model, trainer.heads, trainer.reader
        return batch_loss(*parts, batch, config, generator)[1]["said"]

    calm = said(0.0, 1)
    assert said(0.0, 2) == calm
    assert said(1.0, 1) == said(1.0, 1)
    assert len({calm, said(1.0, 1), said(1.0, 2)}) == 3
    assert said(0.0, 3) == calm  # nothing stays behind


def test_an_interrupted_run_continues_where_it_was(data, words, tmp_path):
    straight = _train(data, words, tmp_path / "straight", 4, 8)
    _train(data, words, tmp_path / "broken", 2, 8)
    resumed = _train(data, words, tmp_path / "broken", 2, 8)
    assert resumed.step == straight.step == 4
    for name, value in straight.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, msg=name)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_lowers_the_loss_and_exports_an_encoder(data, words, tmp_path, architecture):
    bank, images = data
    config = replace(CONFIG, learning_rate=3e-3, text_every=1, keep_patches=36)
    trainer = Trainer(bank, images, words, tmp_path, ARCHITECTURES[architecture], config, seed=1)
    losses = [trainer.train_step(0.3) for _ in range(60)]
    for name in ("seen", "said", "token", "cell", "joints", "token joints"):
        course = [one[name] for one in losses]
        assert np.mean(course[-10:]) < 0.9 * np.mean(course[:10]), (name, course)
    trainer.save()
    encoder = load_encoder(str(tmp_path / "export"))
    scores = evaluate(encoder, bank, read_image_shard(images / "images-00000.safetensors"))
    assert all(0 <= value <= 1 or np.isnan(value) for value in scores.values())
    assert scores["text to image R@20"] == 1.0  # of 16


def test_too_few_images_are_an_error(data, words, tmp_path):
    bank, images = data
    with pytest.raises(ConfigError, match="too few shards: 9 are held out"):
        Trainer(bank, images, words, tmp_path, ARCHITECTURES["bodyclip"], replace(CONFIG, held_out_shards=9), seed=1)


@pytest.mark.slow
def test_two_workers_train_one_model_from_the_command_line(data, words, tmp_path):
    bank, images = data
    command = [
        sys.executable, "-m", "avatar_core.training.train_bodyclip", "--bank", str(bank), "--images", str(images),
        "--out", str(tmp_path), "--bfloat16", "--steps", "2", "--batch", "4", "--workers", "2",
    ]  # fmt: skip
    root = Path(avatar_core.__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert load_encoder(str(tmp_path / "export")).encode_texts(["a man"]).shape == (1, 256)
