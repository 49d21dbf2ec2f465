"""How hats and skirts follow the body, on a body in stride."""

import numpy as np
import pytest

from avatar_core.bodies import load_body
from avatar_core.bodies.rig import BONE_INDEX
from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.fields.garment_volume import volume_meshes
from avatar_core.stages.garment_shapes import POINTED_HAT, WIDE_SKIRT
from avatar_core.stages.loose_parts import SWING, loose_parts
from avatar_core.stages.worn_volumes import worn_volumes

REGIONS = ("skin", "wide skirt", "pointed hat")


@pytest.fixture(scope="module")
def dressed():
    body = load_body()
    shaped = body.shape(body.neutral_shape)
    volumes = worn_volumes(body, shaped, [(1, WIDE_SKIRT), (2, POINTED_HAT)])
    return body.rig(shaped), volumes


def parts_at(dressed, points):
    rig, volumes = dressed
    return loose_parts(rig, volumes, REGIONS, np.asarray(points, np.float32))


def test_a_hat_follows_the_head(dressed):
    _, volumes = dressed
    tip = [float(volumes[-1, 6]), float(volumes[-1, 1]), float(volumes[-1, 7])]
    last = parts_at(dressed, [tip])[-1]
    assert last.share[0] == pytest.approx(1.0)
    assert last.weights[0, BONE_INDEX["head"]] == 1.0


def test_a_skirt_hangs_from_the_hips_and_its_sides_follow_their_legs(dressed):
    rig, volumes = dressed
    vertices, _ = volume_meshes(volumes[:1], 0.0)
    skirt = parts_at(dressed, vertices.numpy())[0]
    np.testing.assert_allclose(skirt.weights.sum(1), 1.0, atol=1e-9)
    assert ((skirt.weights > 1e-9).sum(1) <= 4).all()
    hips = float(rig.heads[JOINT_INDEX["left_hip"], 1])
    waist = vertices[:, 1].numpy() > hips
    assert (skirt.weights[waist][:, BONE_INDEX["pelvis"]] == 1.0).all()
    lowest = vertices[:, 1].numpy() < float(volumes[0, 0]) + 1e-4
    side = lowest & (vertices[:, 0].numpy() > 0.9 * float(volumes[0, 4]))
    assert skirt.weights[side][:, BONE_INDEX["left_hip"]].min() > 0.8 * SWING
    middle = lowest & (np.abs(vertices[:, 0].numpy()) < 1e-3)
    assert middle.any()
    np.testing.assert_allclose(
        skirt.weights[middle][:, BONE_INDEX["left_hip"]], skirt.weights[middle][:, BONE_INDEX["right_hip"]], atol=0.01
    )


def test_points_away_from_a_volume_are_not_of_it(dressed):
    assert all(part.share[0] == 0.0 for part in parts_at(dressed, [[0.5, 1.2, 0.1]]))
