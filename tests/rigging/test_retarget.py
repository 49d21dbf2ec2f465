import math

import numpy as np
import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.bodies.skeleton import JOINT_INDEX, PARENTS
from avatar_core.errors import DivergenceError
from avatar_core.rigging.retarget import (
    LIFT_RADIUS,
    bone_offsets,
    continuous,
    ground_facts,
    ground_shift,
    jerk,
    retarget,
)
from avatar_core.rigging.skinning import Skin, deform, strongest

FRAMES = 40


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def shaped(body):
    return body.shape(body.neutral_shape)


@pytest.fixture(scope="module")
def skin(body) -> Skin:
    return strongest(body.skinning_weights.double().numpy())


def waving(turns: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A wave of the left arm while walking forward one metre, turning about the vertical."""
    time = torch.linspace(0, 1, FRAMES)
    poses = torch.zeros(FRAMES, 22, 3)
    poses[:, JOINT_INDEX["left_shoulder"], 2] = 1.2 * torch.sin(2 * math.pi * time)
    poses[:, 0, 1] = turns * 2 * math.pi * time
    translation = torch.stack([torch.zeros(FRAMES), torch.full((FRAMES,), 0.92), time], dim=1)
    return poses, translation


@pytest.fixture(scope="module")
def clip(body, shaped, skin):
    return retarget(body, shaped, *waving(), shaped.vertices.numpy(), skin)


def chained(clip, joints: np.ndarray) -> np.ndarray:
    """Joint positions (T, 22, 3) that an engine gets from the tracks alone."""
    offsets = bone_offsets(joints)
    x, y, z, w = np.moveaxis(clip.rotations.astype(float), -1, 0)
    rotation = np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
            np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
            np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        -2,
    )
    world, places = [], []
    for joint, parent in enumerate(PARENTS):
        if parent < 0:
            world.append(rotation[:, joint])
            places.append(clip.root.astype(float))
        else:
            world.append(world[parent] @ rotation[:, joint])
            places.append(places[parent] + world[parent] @ offsets[joint])
    return np.stack(places, 1)


def test_the_tracks_alone_put_the_joints_where_the_body_model_does(clip, shaped):
    joints = shaped.joints.numpy()
    expected = np.einsum("tjab,jb->tja", clip.transforms[..., :3, :3], joints) + clip.transforms[..., :3, 3]
    np.testing.assert_allclose(chained(clip, joints), expected, atol=1e-4)


def test_quaternions_are_unit_and_never_jump_sides(body, shaped, skin):
    spun = retarget(body, shaped, *waving(turns=3), shaped.vertices.numpy(), skin)
    np.testing.assert_allclose(np.linalg.norm(spun.rotations, axis=-1), 1, atol=1e-6)
    assert (spun.rotations[1:] * spun.rotations[:-1]).sum(-1).min() > 0.8


def test_the_way_is_scaled_by_leg_length(body, skin):
    labels = list(body.shape_labels)
    ways = {}
    for height in (0.1, 0.9):
        betas = body.neutral_shape.clone()
        betas[labels.index("height")] = height
        shaped = body.shape(betas)
        clip = retarget(body, shaped, *waving(), shaped.vertices.numpy(), skin)
        ways[height] = clip.root[-1, 2] - clip.root[0, 2]
        assert ways[height] == pytest.approx(clip.scale, rel=1e-3)
        assert clip.scale == pytest.approx(float(shaped.joints[0, 1]) / 0.92, rel=0.05)
    assert ways[0.9] > 1.4 * ways[0.1]


def test_the_clip_stands_on_the_ground_and_never_sinks(body, shaped, skin):
    poses, translation = waving()
    translation[:, 1] += 0.4 + 0.1 * torch.sin(torch.linspace(0, 9, FRAMES))
    clip = retarget(body, shaped, poses, translation, shaped.vertices.numpy(), skin)
    lowest = deform(shaped.vertices.numpy(), skin, clip.transforms)[..., 1].min(axis=1)
    assert lowest.min() > -1e-4
    assert np.quantile(lowest, 0.25) < 0.07


def test_one_sinking_frame_does_not_lift_the_others():
    lowest = np.full(60, 0.05)
    lowest[30] = -0.05
    shifted = lowest + ground_shift(lowest)
    assert shifted.min() >= -1e-6
    far = np.abs(np.arange(60) - 30) > 2 * LIFT_RADIUS
    np.testing.assert_allclose(shifted[far], 0, atol=1e-6)


def test_a_jump_stays_a_jump():
    lowest = np.concatenate([np.zeros(20), 0.3 * np.sin(np.linspace(0, np.pi, 20)), np.zeros(20)])
    shifted = lowest + ground_shift(lowest)
    assert shifted.max() == pytest.approx(0.3, abs=0.01)


def test_continuity_flips_only_signs():
    random = np.random.default_rng(0).normal(size=(30, 22, 4))
    smooth = continuous(random)
    np.testing.assert_allclose(np.abs(smooth), np.abs(random))
    assert ((smooth[1:] * smooth[:-1]).sum(-1) >= 0).all()


def test_skating_feet_are_measured(body, shaped, skin):
    vertices = shaped.vertices.numpy()
    still = np.tile(vertices, (10, 1, 1))
    sliding = still + np.arange(10)[:, None, None] * np.array([0.01, 0, 0])
    assert ground_facts(still, skin).foot_skate == 0
    assert ground_facts(sliding, skin).foot_skate == pytest.approx(10.0, rel=1e-3)
    assert ground_facts(sliding, skin).contact_fraction == 1
    flying = ground_facts(still + np.array([0, 1.0, 0]), skin)
    assert flying.contact_fraction == 0
    assert flying.lowest == pytest.approx(1.0, abs=1e-4)


def test_jerk_is_the_third_derivative():
    time = np.arange(20) / 30
    path = np.zeros((20, 22, 3))
    path[..., 0] = (2.0 * time**3)[:, None]
    assert jerk(path, 30) == pytest.approx(12.0)
    assert jerk(path * 0 + (time**2)[:, None, None], 30) == pytest.approx(0.0, abs=1e-6)
    assert jerk(path[:3], 30) == 0.0


def test_a_motion_that_is_not_finite_is_refused(body, shaped, skin):
    poses, translation = waving()
    poses[3, 4] = torch.nan
    with pytest.raises(DivergenceError, match="another seed"):
        retarget(body, shaped, poses, translation, shaped.vertices.numpy(), skin)
