"""Captions say what the scene shows, and hard negatives say what it does not."""

from dataclasses import replace

import numpy as np
import pytest

from avatar_core.training.captions import Captioner, article
from avatar_core.training.look_language import load_archetypes, make_look
from avatar_core.training.motion_clips import REST_LABELS, pose_family, read_pose_frames
from avatar_core.training.scene import LookSampler, Scene, body_classes, fact_slot, fits

BODY = {"sex": 0, "age": 1, "height": 1, "weight": 2, "muscle": 1, "belly": 0}


@pytest.fixture(scope="module")
def captioner(motions):
    return Captioner(load_archetypes(), (*read_pose_frames(motions).labels, *REST_LABELS))


@pytest.fixture
def scene():
    look = make_look("red shirt, blue trousers, black boots", np.random.default_rng(0))
    visible = ("chest", "belly", "face", "foot", "hand", "hips", "scalp", "shin", "thigh", "neck")
    return Scene((0.0,) * 6, 30.0, BODY, 1, 1, "front", "full", "lit", -1, look, visible)


def test_a_scene_survives_json(scene):
    assert Scene.from_json(scene.to_json()) == scene


def test_garment_words_follow_the_colours_of_their_own_garment(captioner, scene):
    seen = 0
    for seed in range(400):
        text = captioner.caption(scene, np.random.default_rng(seed)).text
        for word, garment in (("red", "shirt"), ("blue", "trousers")):
            if f"{word} {garment}" in text:
                seen += 1
        assert "blue shirt" not in text
        assert "red trousers" not in text
    assert seen > 20


def test_captions_vary_but_not_for_one_seed(captioner, scene):
    texts = [captioner.caption(scene, np.random.default_rng(seed)).text for seed in range(60)]
    assert len(set(texts)) > 45
    assert texts[7] == captioner.caption(scene, np.random.default_rng(7)).text


def test_true_captions_contradict_nothing(captioner, scene):
    for seed in range(200):
        caption = captioner.caption(scene, np.random.default_rng(seed))
        np.testing.assert_array_equal(caption.facts[caption.claimed], scene.facts()[caption.claimed])


def test_hard_negatives_keep_the_wording_and_change_a_claim(captioner, scene):
    changed = 0
    for seed in range(100):
        rng = np.random.default_rng(1000 + seed)
        true = captioner.caption(scene, np.random.default_rng(seed))
        false = captioner.hard_negative(scene, seed, rng)
        wrong = (false.facts != scene.facts()) & false.claimed
        changed += bool(wrong.any())
        if true.text == false.text:
            assert not wrong.any()
    assert changed > 30


def test_textureless_renders_are_never_said_to_be_clothed(captioner, scene):
    grey = replace(scene, mode="textureless")
    for seed in range(200):
        words = captioner.caption(grey, np.random.default_rng(seed)).text.split()
        assert not {"shirt", "trousers", "pants", "boots", "red", "blue"}.intersection(words)


def test_round_bellies_are_named_by_sex_and_claimed(captioner, scene):
    pregnant = replace(scene, body={**BODY, "sex": 1, "belly": 1})
    captions = [captioner.caption(pregnant, np.random.default_rng(seed)) for seed in range(200)]
    named = [caption for caption in captions if "pregnant" in caption.text]
    assert len(named) > 20
    assert all(caption.claimed[fact_slot("belly")] and caption.facts[fact_slot("belly")] == 1 for caption in named)
    assert not any("pot-bellied" in caption.text for caption in captions)


def test_a_hand_is_called_a_hand_and_said_to_be_of_a_person(captioner, scene):
    hand = replace(scene, kind="hand")
    texts = [captioner.caption(hand, np.random.default_rng(seed)).text for seed in range(200)]
    assert sum("hand" in text for text in texts) > 60
    assert sum(" man" in text for text in texts) < 60  # a hand does not tell


def test_bodies_are_called_what_they_measure():
    man = np.asarray([0, 0.66, 0.1, 0.9, 0.5, 0.5])
    assert body_classes(man, 1.8, 35.0)["weight"] == 2
    assert body_classes(man, 1.8, 22.0)["weight"] == 1
    assert body_classes(man, 1.5, 16.0) == {"sex": 0, "age": 1, "height": 0, "weight": 0, "muscle": 0}
    assert body_classes(np.asarray([1, 0.2, 0.5, 0.5, 0.5, 0.5]), 1.2, 15.0)["age"] == 0


def test_looks_fit_the_body():
    archetypes = load_archetypes()
    sampler = LookSampler(archetypes, archetype_share=1.0)
    thin_woman = {"sex": 1, "age": 1, "height": 1, "weight": 0, "muscle": 1}
    for seed in range(100):
        look, index = sampler.sample(thin_woman, np.random.default_rng(seed))
        assert fits(archetypes[index], thin_woman)
        assert archetypes[index].name not in ("sumo wrestler", "king")
        categories = [layer.kind.category for layer in look.layers]
        assert len(categories) == len(set(categories))


def test_hair_that_the_body_shows_is_the_hair_of_the_look():
    archetypes = load_archetypes()
    sampler = LookSampler(archetypes)
    woman = {"sex": 1, "age": 1, "height": 1, "weight": 1, "muscle": 1}
    for seed in range(100):
        look, index = sampler.sample(woman, np.random.default_rng(seed), "long hair")
        assert look.layer("hair").garment == "long hair"
        assert index < 0 or fits(archetypes[index], woman)


def test_alike_actions_share_a_family():
    assert pose_family("jogging in place") == pose_family("running")
    assert pose_family("walking like a zombie") != pose_family("walking slowly")
    assert pose_family("praying on the knees") == pose_family("praying")
    assert pose_family("bowling") != pose_family("bowing")
    assert pose_family("lifting a barbell from the floor") != pose_family("hanging from a bar")


def test_facts_have_a_slot_each():
    assert fact_slot("top", "color") != fact_slot("bottom", "color")
    assert article("orange hat") == "an orange hat"
