import numpy as np
import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.rigging.relaxation import exercises, relaxed
from avatar_core.rigging.skinning import Skin, deform, edge_stretch, strongest


@pytest.fixture(scope="module")
def rig():
    body = load_body()
    return body.rig(body.shape(body.neutral_shape))


def sheet(columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """A flat sheet, 1 m by 1 m, that hangs behind the legs."""
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, columns), np.linspace(0.0, 1.0, rows), indexing="ij")
    vertices = np.stack([x.ravel(), y.ravel(), np.full(x.size, -0.2)], axis=1).astype(np.float32)
    corner = (np.arange(columns - 1)[:, None] * rows + np.arange(rows - 1)).ravel()
    faces = np.concatenate(
        [
            np.stack([corner, corner + rows, corner + 1], axis=1),
            np.stack([corner + 1, corner + rows, corner + rows + 1], axis=1),
        ]
    )
    return vertices, faces


@pytest.fixture(scope="module")
def torn(rig):
    """The sheet, its left half bound to the left leg and its right half to the right one."""
    vertices, faces = sheet(41, 21)
    weights = np.zeros((len(vertices), len(rig.names)))
    left = vertices[:, 0] > 0
    weights[left, JOINT_INDEX["left_hip"]] = 1.0
    weights[~left, JOINT_INDEX["right_hip"]] = 1.0
    return vertices, faces, strongest(weights)


def test_exercises_start_at_the_bind_pose_and_move_arms_and_legs(rig):
    poses = exercises(rig)
    moved = np.einsum("tbij,bj->tbi", poses[..., :3, :3], rig.heads.numpy()) + poses[..., :3, 3]
    down, stride = moved[0], moved[1]
    wrist, shoulder = JOINT_INDEX["left_wrist"], JOINT_INDEX["left_shoulder"]
    assert down[wrist, 1] < down[shoulder, 1] - 0.3
    ahead, behind = (stride[JOINT_INDEX[f"{side}_ankle"], 2] for side in ("left", "right"))
    assert ahead > behind + 0.4
    assert np.isfinite(poses).all()


def test_a_sheet_between_two_legs_is_no_longer_torn(rig, torn):
    vertices, faces, skin = torn
    poses = exercises(rig)
    before, after = (
        edge_stretch(vertices, faces, deform(vertices, one, poses))
        for one in (skin, relaxed(skin, vertices, faces, poses))
    )
    assert before.max() > 8
    assert after.max() < 0.5 * before.max()


def test_what_does_not_tear_stays_as_it_is(rig, torn):
    vertices, faces, skin = torn
    poses = exercises(rig)
    after = relaxed(skin, vertices, faces, poses)
    far = (np.abs(vertices[:, 0]) > 0.45) | (vertices[:, 1] > 0.995)
    still = far & (np.abs(vertices[:, 0]) > 0.3)
    np.testing.assert_allclose(after.dense(len(rig.names))[still], skin.dense(len(rig.names))[still], atol=0.05)
    whole = strongest(np.eye(len(rig.names))[np.zeros(len(vertices), int)])
    same = relaxed(whole, vertices, faces, poses)
    assert isinstance(same, Skin)
    assert (same.joints == whole.joints).all()
    assert (same.weights == whole.weights).all()


def test_relaxing_is_deterministic(rig, torn):
    vertices, faces, skin = torn
    first, second = (relaxed(skin, vertices, faces, exercises(rig)) for _ in range(2))
    assert (first.weights == second.weights).all()
    assert (first.joints == second.joints).all()
    torch.testing.assert_close(torch.from_numpy(first.weights.sum(1)), torch.ones(len(vertices)))
