"""Limbs that go through the body are found; limbs beside it are not."""

import numpy as np
import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.rigging.self_contact import _between, self_penetration
from avatar_core.rigging.skinning import strongest


@pytest.fixture(scope="module")
def depth_of():
    body = load_body()
    shaped = body.shape(body.neutral_shape)
    skin = strongest(body.skinning_weights.numpy())

    def depth(angles: dict[str, tuple[float, float, float]]) -> float:
        bend = torch.zeros(22, 3)
        for name, angle in angles.items():
            bend[JOINT_INDEX[name]] = torch.tensor(angle)
        posed = body.pose(shaped, axis_angle_to_matrix(bend)[None])
        found = self_penetration(shaped.vertices.numpy(), shaped.joints.numpy(), skin, posed.transforms.numpy())
        return float(found[0])

    return depth


def test_a_t_pose_touches_nothing(depth_of):
    assert depth_of({}) < 0.005


def test_arms_that_hang_beside_the_body_are_no_fault(depth_of):
    assert depth_of({"left_shoulder": (0, 0, -1.35), "right_shoulder": (0, 0, 1.35)}) < 0.03


def test_an_arm_through_the_chest_is_found(depth_of):
    inside = {"left_shoulder": (0, -1.4, -0.6), "left_elbow": (0, -2.8, 0)}
    assert depth_of(inside) > 0.05


def test_crossed_shins_are_found(depth_of):
    assert depth_of({"left_hip": (0, 0, -0.35), "right_hip": (0, 0, 0.35)}) > 0.05


@pytest.mark.parametrize(
    ("second", "distance"),
    [
        ([[0, 1, -1], [0, 1, 1]], 1.0),  # crosses above the middle
        ([[3, 0, 0], [5, 0, 0]], 2.0),  # goes on in line
        ([[-1, 2, 0], [1, 2, 0]], 2.0),  # parallel
        ([[2, 1, 0], [2, 5, 0]], np.hypot(1, 1)),  # stands off one end
    ],
)
def test_distances_of_segments(second, distance):
    first = np.array([[[-1.0, 0, 0], [1.0, 0, 0]]])
    assert _between(first, np.array([second], dtype=float))[0] == pytest.approx(distance)
    assert _between(np.array([second], dtype=float), first)[0] == pytest.approx(distance)
