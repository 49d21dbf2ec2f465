"""The whole skeleton: twists shared along limbs, curled fingers, and joints where the 22-joint body has them."""

import numpy as np
import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.bodies.rig import BONE_INDEX, BONE_NAMES, BONE_PARENTS, JOINT_OF_BONE, twisted
from avatar_core.bodies.rotations import axis_angle_to_matrix, geodesic_angle
from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.errors import WeightsError


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def shaped(body):
    return body.shape(body.neutral_shape)


@pytest.fixture(scope="module")
def rig(body, shaped):
    return body.rig(shaped)


def posed(rig, joint=None, turn=(0.0, 0.0, 0.0)):
    """Transforms (66, 4, 4) of the T-pose with one joint turned."""
    poses = torch.zeros(1, 22, 3)
    if joint:
        poses[0, JOINT_INDEX[joint]] = torch.tensor(turn)
    return rig.pose(axis_angle_to_matrix(poses), torch.zeros(1, 3))[0]


def angle(first, second, bone):
    turned = second[BONE_INDEX[bone], :3, :3] @ first[BONE_INDEX[bone], :3, :3].mT
    return float(geodesic_angle(turned, torch.eye(3)))


def test_every_bone_hangs_on_one_that_comes_from_the_pelvis():
    for bone, parent in enumerate(BONE_PARENTS):
        steps = 0
        while parent >= 0:
            bone, parent, steps = parent, BONE_PARENTS[parent], steps + 1
            assert steps < 20
        assert BONE_NAMES[bone] == "pelvis"
    assert len(set(BONE_NAMES)) == len(BONE_NAMES) == 66


def test_bones_begin_where_the_joints_are(rig, shaped):
    torch.testing.assert_close(rig.heads[:22], shaped.joints, atol=1e-5, rtol=0)


def test_weights_are_those_of_the_joints_spread_over_more_bones(body, rig):
    assert torch.allclose(rig.weights.sum(1), torch.ones(len(rig.weights)), atol=1e-5)
    gathered = torch.zeros_like(body.skinning_weights)
    gathered.index_add_(1, torch.tensor(JOINT_OF_BONE), rig.weights)
    # Only vertices between two bones that carry another joint's twist, or with more influences, differ a little.
    assert (gathered - body.skinning_weights).abs().max() < 0.03


def test_joints_stay_where_the_body_has_them_in_any_pose(body, rig, shaped):
    poses = torch.randn(40, 22, 3, generator=torch.Generator().manual_seed(1)) * 0.4
    local, places = axis_angle_to_matrix(poses), torch.randn(40, 3)
    transforms = rig.pose(local, places)[:, :22]
    joints = (transforms[..., :3, :3] @ rig.heads[:22, :, None]).squeeze(-1) + transforms[..., :3, 3]
    away = (joints - body.pose(shaped, local, places).joints).norm(dim=-1)
    assert away.max() < 0.02
    assert away.mean() < 0.004


@pytest.mark.parametrize(
    ("joint", "axis", "shares"),
    [
        ("left_wrist", 0, {"left_elbow": 0.0, "left_forearm_twist": 0.5, "left_wrist": 1.0, "left_index3": 1.0}),
        ("right_wrist", 0, {"right_elbow": 0.0, "right_forearm_twist": 0.5, "right_wrist": 1.0}),
        ("left_shoulder", 0, {"left_collar": 0.0, "left_shoulder": 0.5, "left_upper_arm_twist": 1.0}),
        ("right_hip", 1, {"pelvis": 0.0, "right_hip": 0.5, "right_thigh_twist": 1.0, "right_knee": 1.0}),
        ("head", 1, {"neck": 0.0, "neck2": 1 / 3, "neck3": 2 / 3, "head": 1.0, "left_eye": 1.0}),
    ],
)
def test_twists_are_shared(rig, joint, axis, shares):
    turn = [0.0, 0.0, 0.0]
    turn[axis] = 0.8
    rest, turned = posed(rig), posed(rig, joint, turn)
    for bone, share in shares.items():
        assert angle(rest, turned, bone) == pytest.approx(0.8 * share, abs=0.1), bone


def test_bends_are_not_shared(rig):
    rest, bent = posed(rig), posed(rig, "left_elbow", (0.0, -1.0, 0.0))
    assert angle(rest, bent, "left_upper_arm_twist") < 0.02
    assert angle(rest, bent, "left_forearm_twist") == pytest.approx(1.0, abs=0.02)


def test_a_twist_fades_out_before_it_flips():
    axis = torch.tensor([1.0, 0.0, 0.0])
    swings = torch.linspace(0, torch.pi, 200)
    turned = axis_angle_to_matrix(swings[:, None] * torch.tensor([0.0, 0.6, 0.8])) @ axis_angle_to_matrix(axis * 0.9)
    found = twisted(turned, axis, 0.5)
    steps = geodesic_angle(found[1:], found[:-1])
    assert steps.max() < 0.05
    assert float(geodesic_angle(found[0], axis_angle_to_matrix(axis * 0.45))) < 1e-3
    assert float(geodesic_angle(found[-1], torch.eye(3))) < 1e-3


def test_fingers_at_rest_are_curled_to_the_palm(rig):
    tpose = posed(rig)
    heads = (tpose[:, :3, :3] @ rig.heads[..., None]).squeeze(-1) + tpose[:, :3, 3]
    for side, sign in (("left", 1.0), ("right", -1.0)):
        for finger in ("index", "middle", "ring", "little"):
            knuckle, middle, last = (heads[BONE_INDEX[f"{side}_{finger}{part}"]] for part in (1, 2, 3))
            slopes = [float((b - a)[1] / (b - a).norm()) for a, b in ((knuckle, middle), (middle, last))]
            assert -0.95 < slopes[1] < slopes[0] < 0  # palms face the ground, each bone bends further down
            assert sign * float((middle - knuckle)[0]) > 0


def test_a_missing_rig_file_is_named(body, tmp_path):
    from avatar_core.bodies.anny_compact import AnnyCompact
    from avatar_core.priors.weights import weights_folder

    for name in ("body.safetensors", "body.json"):
        (tmp_path / name).write_bytes((weights_folder("anny_compact") / name).read_bytes())
    lonely = AnnyCompact(tmp_path)
    with pytest.raises(WeightsError, match=r"rig\.safetensors"):
        lonely.rig(lonely.shape(lonely.neutral_shape))


def test_poses_of_a_body_without_turns_leave_hands_in_the_bind_pose_but_for_the_curl(body, rig, shaped):
    bind = rig.pose(body.bind_pose(shaped)[None], shaped.joints[:1])[0]
    still = [index for index, name in enumerate(BONE_NAMES) if not any(c.isdigit() for c in name) or "spine" in name]
    np.testing.assert_allclose(bind[still], torch.eye(4).expand(len(still), 4, 4), atol=2e-2)
