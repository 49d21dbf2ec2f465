"""The geometry bank and its coloured images."""

import numpy as np

from avatar_core.training.geometry_bank import VIEW_KINDS, BankConfig, draw_shard, read_shard, sample_betas
from avatar_core.training.image_shards import SceneSampler, read_bank_facts, read_image_shard
from avatar_core.training.look_language import make_look
from avatar_core.training.motion_clips import read_pose_frames
from avatar_core.training.view_renderer import ViewRenderer, draw_background


def test_a_bank_is_the_same_for_the_same_seed(body, motions):
    frames, config = read_pose_frames(motions), BankConfig(image_size=32, views_per_pose=2, poses_per_shard=2)
    first, second, other = (draw_shard(body, frames, config, seed, 0) for seed in (1, 1, 2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    assert first["betas"].tolist() != other["betas"].tolist()


def test_shapes_stay_in_range_and_reach_the_ends(body):
    rng = np.random.default_rng(0)
    drawn = np.stack([sample_betas(body, rng) for _ in range(300)])
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    weight = drawn[:, body.shape_labels.index("weight")]
    assert (weight > 0.8).mean() > 0.15
    assert (weight < 0.2).mean() > 0.1


def test_a_red_shirt_shows_red_where_the_chest_is(body, painter, data):
    bank, _ = data
    shard = read_shard(next(bank.glob("shard-*.safetensors")))
    facts = read_bank_facts(bank)
    renderer = ViewRenderer(painter, facts.image_size, facts.supersample)
    chest = list(painter.chart.region_ids("chest"))
    full = [v for v in range(len(shard.kind)) if VIEW_KINDS[shard.kind[v]] == "full"]
    view = max(full, key=lambda v: shard.regions[v][chest].sum())
    look = make_look("red sweater, blue trousers", np.random.default_rng(0))
    image, cover = renderer.render(shard, view, look, "unlit", np.random.default_rng(1))
    assert image.shape == (96, 96, 3)
    assert 0.01 < cover.mean() < 0.99
    red = (image[..., 0] > image[..., 1:].max(-1) + 0.3) & (cover > 0.9)
    assert red.sum() > 0.5 * shard.regions[view][chest].sum() / facts.supersample**2


def test_image_shards_hold_an_image_a_cover_and_a_scene_each(data):
    _, images = data
    shard = read_image_shard(images / "images-00001.safetensors")
    assert shard.images.shape == (16, 96, 96, 3)
    assert shard.covers.shape == (16, 12, 12)
    assert len(shard.scenes) == 16
    assert {scene.kind for scene in shard.scenes} <= set(VIEW_KINDS)


def test_drawing_depends_on_its_generator_alone(data):
    bank, _ = data
    sampler = SceneSampler(read_bank_facts(bank))
    shard = read_shard(next(bank.glob("shard-*.safetensors")))
    first, second = (sampler.draw(shard, 0, np.random.default_rng(4)) for _ in range(2))
    assert first.scene == second.scene
    np.testing.assert_array_equal(first.image, second.image)


def test_backgrounds_stay_in_range():
    rng = np.random.default_rng(0)
    for _ in range(40):
        background = draw_background(24, rng)
        assert background.shape == (24, 24, 3)
        assert 0 <= background.min() <= background.max() <= 1
