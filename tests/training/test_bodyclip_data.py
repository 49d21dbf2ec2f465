"""The geometry bank and its coloured images."""

import numpy as np

from avatar_core.bodies.skeleton import JOINT_INDEX, NUM_JOINTS
from avatar_core.bodies.surface_chart import SurfaceChart
from avatar_core.training.garments import CATEGORY_INDEX
from avatar_core.training.geometry_bank import VIEW_KINDS, BankConfig, draw_shard, read_shard, sample_betas
from avatar_core.training.image_shards import SceneSampler, read_bank_facts, read_image_shard
from avatar_core.training.look_language import make_look
from avatar_core.training.motion_clips import read_pose_frames
from avatar_core.training.palette import BASE_INDEX
from avatar_core.training.relief import Relief, ReliefFields
from avatar_core.training.view_renderer import CELL_REGIONS, CELL_SIZES, ViewRenderer, draw_background


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


def test_relief_stands_out_where_it_belongs(body):
    chart = SurfaceChart(body)
    fields, points = ReliefFields(chart), chart.vertices()
    plain = body.shape(body.neutral_shape)

    def moved(relief):
        return (fields.apply(plain, relief).vertices - plain.vertices).norm(dim=-1).numpy()

    scalp, foot, neck = (np.isin(points.region, chart.region_ids(name)) for name in ("scalp", "foot", "neck"))
    short, long = moved(Relief(hair=1, hair_volume=0.03)), moved(Relief(hair=2, hair_volume=0.03))
    assert np.median(short[scalp]) > 0.02
    assert short[foot].max() == 0
    nape = neck & (points.position[:, 2] < -0.02)
    assert long[nape].mean() > 2 * short[nape].mean()
    belly = moved(Relief(belly=0.1))
    front = np.isin(points.region, chart.region_ids("belly"))
    assert belly[front].max() > 0.08
    assert belly[scalp].max() < 1e-4


def test_close_views_look_at_their_part(body, motions):
    """Each hand view shows a hand, each face view the face, in more pixels than most other regions."""
    config = BankConfig(image_size=32, views_per_pose=12, poses_per_shard=8)
    shard = draw_shard(body, read_pose_frames(motions), config, 2, 0)
    names = [name.split("_", 1)[-1] if name.startswith(("left_", "right_")) else name for name in body.region_names]
    for kind, part in (("hand", "hand"), ("face", "face")):
        views = shard["regions"][shard["kind"] == VIEW_KINDS.index(kind)].astype(float)
        assert len(views) > 0
        share = views[:, [name == part for name in names]].sum(1) / views.sum(1)
        assert np.median(share) > 0.15, (kind, share)


def test_joints_lie_where_the_view_shows_the_body(data):
    """The head is above the pelvis in the image, and seen from behind the left hand is on the left."""
    bank, _ = data
    shard = read_shard(next(bank.glob("shard-*.safetensors")))
    upright = shard.joints[:, JOINT_INDEX["head"], 1]
    assert shard.joints.shape == (len(shard.kind), NUM_JOINTS, 3)
    assert (upright > 0.3).all()
    facing = np.cos(shard.azimuth)
    left = shard.joints[:, JOINT_INDEX["left_shoulder"], 0].astype(float)
    seen = np.abs(facing) > 0.5
    assert (np.sign(left[seen]) == np.sign(facing[seen])).all()


def test_a_red_shirt_shows_red_where_the_chest_is(body, painter, data):
    bank, _ = data
    shard = read_shard(next(bank.glob("shard-*.safetensors")))
    facts = read_bank_facts(bank)
    renderer = ViewRenderer(painter, facts.image_size, facts.supersample)
    chest = list(painter.chart.region_ids("chest"))
    full = [v for v in range(len(shard.kind)) if VIEW_KINDS[shard.kind[v]] == "full"]
    view = max(full, key=lambda v: shard.regions[v][chest].sum())
    look = make_look("red sweater, blue trousers", np.random.default_rng(0))
    drawn = renderer.render(shard, view, look, "unlit", np.random.default_rng(1))
    assert drawn.color.shape == (96, 96, 3)
    assert 0.01 < drawn.cover.mean() < 0.99
    red = (drawn.color[..., 0] > drawn.color[..., 1:].max(-1) + 0.3) & (drawn.cover > 0.9)
    assert red.sum() > 0.5 * shard.regions[view][chest].sum() / facts.supersample**2
    regions, categories, colors = np.split(drawn.cells, np.cumsum(CELL_SIZES)[:-1], axis=1)
    for labels in (regions, categories, colors):
        np.testing.assert_allclose(labels.sum(1), 1, atol=1e-5)  # every cell's labels add up, background included
        np.testing.assert_allclose(labels[:, -1].mean(), 1 - drawn.cover.mean(), atol=1e-5)
    sweater = categories[:, CATEGORY_INDEX["top"]]
    np.testing.assert_allclose(colors[:, BASE_INDEX["red"]], sweater, atol=1e-5)
    assert sweater.sum() > 0.5 * regions[:, CELL_REGIONS.index("chest")].sum()


def test_image_shards_hold_an_image_a_cover_and_a_scene_each(data):
    _, images = data
    shard = read_image_shard(images / "images-00001.safetensors")
    assert shard.images(0).shape == (16, 96, 96, 3)
    assert shard.covers.shape == (16, 96, 96)
    assert shard.cells.shape == (16, 36, sum(CELL_SIZES))
    assert shard.joints.shape == (16, NUM_JOINTS, 3)
    bare = shard.covers == 255
    np.testing.assert_array_equal(shard.images(0)[bare], shard.colors[bare])
    assert len(shard.scenes) == 16
    assert {scene.kind for scene in shard.scenes} <= set(VIEW_KINDS)


def test_drawing_depends_on_its_generator_alone(data):
    bank, _ = data
    sampler = SceneSampler(read_bank_facts(bank))
    shard = read_shard(next(bank.glob("shard-*.safetensors")))
    first, second = (sampler.draw(shard, 0, np.random.default_rng(4)) for _ in range(2))
    assert first.scene == second.scene
    np.testing.assert_array_equal(first.color, second.color)
    np.testing.assert_array_equal(first.cells, second.cells)


def test_backgrounds_stay_in_range():
    rng = np.random.default_rng(0)
    for _ in range(40):
        background = draw_background(24, rng)
        assert background.shape == (24, 24, 3)
        assert 0 <= background.min() <= background.max() <= 1
