import math

import numpy as np
import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.errors import DivergenceError
from avatar_core.rigging.retarget import (
    LIFT_RADIUS,
    bone_offsets,
    continuous,
    direction_error,
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
def rig(body, shaped):
    return body.rig(shaped)


@pytest.fixture(scope="module")
def skin(rig) -> Skin:
    return strongest(rig.weights.double().numpy())


def waving(turns: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A wave of the left arm while walking forward one metre, turning about the vertical."""
    time = torch.linspace(0, 1, FRAMES)
    poses = torch.zeros(FRAMES, 22, 3)
    poses[:, JOINT_INDEX["left_shoulder"], 2] = 1.2 * torch.sin(2 * math.pi * time)
    poses[:, 0, 1] = turns * 2 * math.pi * time
    translation = torch.stack([torch.zeros(FRAMES), torch.full((FRAMES,), 0.92), time], dim=1)
    return poses, translation


@pytest.fixture(scope="module")
def clip(body, rig, shaped, skin):
    return retarget(body, rig, *waving(), shaped.vertices.numpy(), skin)


def chained(clip, rig) -> np.ndarray:
    """Places of the bones' heads (T, 66, 3) that an engine gets from the tracks alone."""
    offsets = bone_offsets(rig)
    x, y, z, w = np.moveaxis(clip.rotations.astype(float), -1, 0)
    rotation = np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
            np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
            np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        -2,
    )
    world, places = {}, {}

    def place(bone: int) -> None:
        parent = rig.parents[bone]
        if parent < 0:
            world[bone], places[bone] = rotation[:, bone], clip.root.astype(float)
            return
        if parent not in world:
            place(parent)
        world[bone] = world[parent] @ rotation[:, bone]
        places[bone] = places[parent] + world[parent] @ offsets[bone]

    for bone in range(len(rig.names)):
        place(bone)
    return np.stack([places[bone] for bone in range(len(rig.names))], 1)


def test_the_tracks_alone_put_the_bones_where_the_rig_does(clip, rig):
    heads = rig.heads.numpy()
    expected = np.einsum("tjab,jb->tja", clip.transforms[..., :3, :3], heads) + clip.transforms[..., :3, 3]
    np.testing.assert_allclose(chained(clip, rig), expected, atol=1e-4)


def test_limbs_point_where_the_priors_skeleton_points_them(body, rig, shaped, skin):
    generator = torch.Generator().manual_seed(0)
    poses = torch.randn(FRAMES, 22, 3, generator=generator) * 0.5
    _, translation = waving()
    clip = retarget(body, rig, poses, translation, shaped.vertices.numpy(), skin)
    assert clip.direction_error < 3.0  # degrees
    bent = axis_angle_to_matrix(poses)
    knee = JOINT_INDEX["left_knee"]
    bent[:, knee] = bent[:, knee] @ axis_angle_to_matrix(torch.tensor([0.3, 0, 0]))
    assert direction_error(rig, torch.from_numpy(clip.transforms), bent) > 15


def test_quaternions_are_unit_and_never_jump_sides(body, rig, shaped, skin):
    spun = retarget(body, rig, *waving(turns=3), shaped.vertices.numpy(), skin)
    np.testing.assert_allclose(np.linalg.norm(spun.rotations, axis=-1), 1, atol=1e-6)
    assert (spun.rotations[1:] * spun.rotations[:-1]).sum(-1).min() > 0.8


def test_the_way_is_scaled_by_leg_length(body, skin):
    labels = list(body.shape_labels)
    ways = {}
    for height in (0.1, 0.9):
        betas = body.neutral_shape.clone()
        betas[labels.index("height")] = height
        shaped = body.shape(betas)
        clip = retarget(body, body.rig(shaped), *waving(), shaped.vertices.numpy(), skin)
        ways[height] = clip.root[-1, 2] - clip.root[0, 2]
        assert ways[height] == pytest.approx(clip.scale, rel=1e-3)
        assert clip.scale == pytest.approx(float(shaped.joints[0, 1]) / 0.92, rel=0.05)
    assert ways[0.9] > 1.4 * ways[0.1]


def test_the_clip_stands_on_the_ground_and_never_sinks(body, rig, shaped, skin):
    poses, translation = waving()
    translation[:, 1] += 0.4 + 0.1 * torch.sin(torch.linspace(0, 9, FRAMES))
    clip = retarget(body, rig, poses, translation, shaped.vertices.numpy(), skin)
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


def test_standing_feet_meet_the_ground_wherever_the_motion_drifts():
    drift = np.linspace(0, 0.08, 90)
    standing = np.where(np.arange(90) % 30 < 20, drift, np.inf)
    shifted = drift + ground_shift(drift, standing)
    np.testing.assert_allclose(shifted[:80], 0, atol=0.006)  # after the last stand nobody knows
    assert shifted.min() >= -1e-6


def test_a_jump_between_two_stands_stays_a_jump():
    lowest = np.concatenate([np.zeros(20), 0.3 * np.sin(np.linspace(0, np.pi, 20)), np.zeros(20)])
    shifted = lowest + ground_shift(lowest, np.where(lowest < 1e-9, lowest, np.inf))
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
    assert ground_facts(still, skin, 30).foot_skate == 0
    assert ground_facts(sliding, skin, 30).foot_skate == pytest.approx(10.0, rel=1e-3)
    assert ground_facts(sliding, skin, 30).contact_fraction == 1
    hurrying = still + np.arange(10)[:, None, None] * np.array([0.05, 0, 0])
    assert ground_facts(hurrying, skin, 30).contact_fraction == 0  # swings close to the ground
    flying = ground_facts(still + np.array([0, 1.0, 0]), skin, 30)
    assert flying.contact_fraction == 0
    assert flying.lowest == pytest.approx(1.0, abs=1e-4)


def test_feet_that_stand_are_held_on_the_avatar_s_own_legs(body, skin):
    time = torch.arange(FRAMES) / 30
    lift = torch.stack([torch.sin(2 * torch.pi * time + phase).clamp_min(0) for phase in (0.0, torch.pi)])
    poses = torch.zeros(FRAMES, 22, 3)
    for side, up in zip(("left", "right"), lift):
        poses[:, JOINT_INDEX[f"{side}_hip"], 0] = -0.8 * up
        poses[:, JOINT_INDEX[f"{side}_knee"], 0] = 1.1 * up
    translation = torch.stack([torch.zeros(FRAMES), torch.full((FRAMES,), 0.92), 0.25 * time], 1)
    betas = body.neutral_shape.clone()
    betas[list(body.shape_labels).index("height")] = 0.95
    tall = body.shape(betas)
    skated = []
    for standing in (None, lift.T == 0):
        clip = retarget(body, body.rig(tall), poses, translation, tall.vertices.numpy(), skin, standing=standing)
        posed = deform(tall.vertices.numpy(), skin, clip.transforms)
        skated.append(ground_facts(posed, skin, 30).foot_skate)
    assert skated[1] < 0.35 * skated[0]


def test_jerk_is_the_third_derivative():
    time = np.arange(20) / 30
    path = np.zeros((20, 22, 3))
    path[..., 0] = (2.0 * time**3)[:, None]
    assert jerk(path, 30) == pytest.approx(12.0)
    assert jerk(path * 0 + (time**2)[:, None, None], 30) == pytest.approx(0.0, abs=1e-6)
    assert jerk(path[:3], 30) == 0.0


def test_a_motion_that_is_not_finite_is_refused(body, rig, shaped, skin):
    poses, translation = waving()
    poses[3, 4] = torch.nan
    with pytest.raises(DivergenceError, match="another seed"):
        retarget(body, rig, poses, translation, shaped.vertices.numpy(), skin)
