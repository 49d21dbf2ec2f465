"""Rotation conversions agree with scipy and have finite gradients where formulas are singular."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from avatar_core.bodies.rotations import (
    axis_angle_to_matrix,
    geodesic_angle,
    matrix_to_6d,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    rotation_between,
    sixd_to_matrix,
)
from avatar_core.bodies.skeleton import global_rotations, local_rotations


@pytest.fixture
def axis_angles() -> torch.Tensor:
    generator = np.random.default_rng(0)
    vectors = Rotation.random(200, random_state=generator).as_rotvec()
    vectors[0], vectors[1], vectors[2] = 0, [1e-7, 0, 0], [0, np.pi - 1e-6, 0]
    return torch.tensor(vectors)


def test_matrices_agree_with_scipy(axis_angles):
    expected = torch.tensor(Rotation.from_rotvec(axis_angles.numpy()).as_matrix())
    assert torch.allclose(axis_angle_to_matrix(axis_angles), expected, atol=1e-9)


def test_axis_angle_quaternion_and_sixd_come_back(axis_angles):
    matrices = axis_angle_to_matrix(axis_angles)
    assert torch.allclose(axis_angle_to_matrix(matrix_to_axis_angle(matrices)), matrices, atol=1e-7)
    assert torch.allclose(sixd_to_matrix(matrix_to_6d(matrices)), matrices, atol=1e-9)
    expected = Rotation.from_matrix(matrices.numpy()).as_quat(canonical=True)
    assert np.abs(np.sum(matrix_to_quaternion(matrices).numpy() * expected, -1)) == pytest.approx(1, abs=1e-9)


def test_gradients_are_finite_at_the_identity():
    vector = torch.zeros(4, 3, requires_grad=True)
    matrix = axis_angle_to_matrix(vector)
    (matrix_to_axis_angle(matrix).sum() + geodesic_angle(matrix, torch.eye(3)).sum()).backward()
    assert torch.isfinite(vector.grad).all()


def test_geodesic_angle_is_the_angle_of_the_relative_rotation(axis_angles):
    matrices = axis_angle_to_matrix(axis_angles[3:])
    assert torch.allclose(geodesic_angle(matrices, torch.eye(3).double()), axis_angles[3:].norm(dim=1), atol=2e-3)


def test_rotation_between_turns_one_direction_onto_the_other():
    source = torch.nn.functional.normalize(torch.tensor([[1.0, 2, 3], [0, 1, 0]]), dim=-1)
    target = torch.nn.functional.normalize(torch.tensor([[-1.0, 0.5, 2], [0, 1, 0]]), dim=-1)
    turned = (rotation_between(source, target) @ source.unsqueeze(-1)).squeeze(-1)
    assert torch.allclose(turned, target, atol=1e-6)


def test_local_and_global_rotations_are_inverse(axis_angles):
    local = axis_angle_to_matrix(axis_angles[:22])
    assert torch.allclose(local_rotations(global_rotations(local)), local, atol=1e-9)
