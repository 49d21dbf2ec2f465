import numpy as np
import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.errors import BodyError
from avatar_core.export.mesh import vertex_normals
from avatar_core.rigging.skinning import (
    Skin,
    deform,
    edge_stretch,
    normals_posed,
    smooth,
    strongest,
    transfer_weights,
)


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def shaped(body):
    return body.shape(body.neutral_shape)


@pytest.fixture(scope="module")
def grown(body, shaped):
    """The body one centimetre thicker: a mesh near the body that is not the body."""
    vertices = shaped.vertices.numpy()
    normals = vertex_normals(vertices, body.faces.numpy())
    return vertices + 0.01 * normals, normals


@pytest.fixture(scope="module")
def skin(body, shaped, grown) -> Skin:
    return transfer_weights(
        *grown, body.faces.numpy(), shaped.vertices.numpy(), body.faces.numpy(), body.skinning_weights.numpy()
    )


def test_a_mesh_that_is_the_body_gets_the_body_s_weights(body, shaped):
    vertices, faces = shaped.vertices.numpy(), body.faces.numpy()
    weights = body.skinning_weights.numpy()
    normals = vertex_normals(vertices, faces)
    own = transfer_weights(vertices, normals, faces, vertices, faces, weights, smoothing=0).dense(22)
    off = np.abs(own - weights).sum(axis=1)
    assert np.quantile(off, 0.95) < 1e-3
    assert off.max() < 0.35


def test_weights_are_at_most_four_sorted_and_sum_to_one(skin):
    assert skin.weights.shape[1] == skin.joints.shape[1] == 4
    assert skin.joints.dtype == np.uint8
    np.testing.assert_allclose(skin.weights.sum(1), 1, atol=1e-6)
    assert (np.diff(skin.weights, axis=1) <= 1e-6).all()
    assert (skin.joints[skin.weights == 0] == 0).all()


def test_a_thicker_body_moves_with_the_body(body, shaped, grown, skin):
    pose = torch.zeros(1, 22, 3)
    pose[0, JOINT_INDEX["left_shoulder"]] = torch.tensor([0.0, 0.0, 1.0])
    pose[0, JOINT_INDEX["right_knee"]] = torch.tensor([1.2, 0.0, 0.0])
    posed = body.pose(shaped, axis_angle_to_matrix(pose))
    moved = deform(grown[0], skin, posed.transforms.numpy())[0]
    away = np.linalg.norm(moved - posed.vertices[0].numpy(), axis=1)
    assert np.median(away) < 0.012
    assert np.quantile(away, 0.99) < 0.03


def test_left_and_right_legs_stay_apart(skin, grown):
    right_leg = [JOINT_INDEX[f"right_{joint}"] for joint in ("hip", "knee", "ankle", "foot")]
    left_calf = (grown[0][:, 1] < 0.45) & (grown[0][:, 0] > 0.02)
    assert left_calf.sum() > 500
    assert skin.dense(22)[left_calf][:, right_leg].max() < 0.02


def test_bind_transforms_leave_a_mesh_where_it_is(grown, skin):
    identity = np.tile(np.eye(4), (3, 22, 1, 1))
    np.testing.assert_allclose(deform(grown[0], skin, identity), np.tile(grown[0], (3, 1, 1)), atol=1e-5)


def test_normals_turn_with_the_body_and_ignore_its_place(grown, skin):
    turn = np.eye(4)
    turn[:3, :3] = axis_angle_to_matrix(torch.tensor([0.0, 1.0, 0.0])).numpy()
    turn[:3, 3] = (5, 6, 7)
    turned = normals_posed(grown[1], skin, np.tile(turn, (22, 1, 1)))
    np.testing.assert_allclose(turned, grown[1] @ turn[:3, :3].T, atol=1e-4)


def test_smoothing_spreads_weights_and_keeps_their_sum(body, shaped):
    vertices = shaped.vertices.numpy()
    weights = np.zeros((len(body.template), 2))
    weights[:, 0] = 1
    weights[0] = (0, 1)
    once, often = (smooth(weights, vertices, body.faces.numpy(), rounds=rounds) for rounds in (1, 6))
    assert (often[:, 1] > 0).sum() > (once[:, 1] > 0).sum() > 3
    np.testing.assert_allclose(often.sum(1), 1)


def test_only_the_four_strongest_joints_stay():
    weights = np.array([[0.05, 0.3, 0.1, 0.25, 0.2, 0.1], [0.0, 0.4, 0.1, 0.3, 0.2, 0.0]])
    skin, fading = strongest(weights), strongest(weights, fading=True)
    assert skin.joints.tolist() == [[1, 3, 4, 2]] * 2
    np.testing.assert_allclose(skin.weights[0], np.array([0.3, 0.25, 0.2, 0.1]) / 0.85, rtol=1e-5)
    np.testing.assert_allclose(fading.weights[0], np.array([0.2, 0.15, 0.1, 0.0]) / 0.45, rtol=1e-5)
    for one in (skin, fading):
        np.testing.assert_allclose(one.weights[1], [0.4, 0.3, 0.2, 0.1], rtol=1e-5)


def test_a_joint_that_falls_behind_another_has_faded_out():
    """From the fourth place of one to that of another over the surface, no weight jumps."""
    along = np.linspace(0, 1, 201)[:, None]
    ends = np.array([[0.3, 0.25, 0.2, 0.15, 0.1], [0.3, 0.25, 0.2, 0.1, 0.15]])
    weights = (1 - along) * ends[0] + along * ends[1]
    kept = strongest(weights, fading=True).dense(5)
    assert np.abs(np.diff(kept, axis=0)).max() < 0.003
    np.testing.assert_allclose(kept.sum(axis=1), 1, atol=1e-6)


def test_five_equal_joints_leave_four():
    skin = strongest(np.full((1, 5), 0.2), fading=True)
    np.testing.assert_allclose(skin.weights[0], 0.25, rtol=1e-6)


def test_stretch_is_the_worst_over_the_clip():
    vertices, faces = np.eye(3), np.array([[0, 1, 2]])
    posed = np.stack([vertices, 3 * vertices, 0.5 * vertices])
    np.testing.assert_allclose(edge_stretch(vertices, faces, posed), 3, rtol=0.01)
    np.testing.assert_allclose(edge_stretch(vertices, faces, vertices[None]), 1)


def test_weights_that_do_not_fit_the_body_are_refused(body, shaped, grown):
    with pytest.raises(BodyError, match="do not fit"):
        transfer_weights(*grown, body.faces.numpy(), shaped.vertices.numpy(), body.faces.numpy(), np.ones((10, 22)))
