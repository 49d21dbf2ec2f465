import math

import torch

from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.priors.kinematics import (
    face_forward,
    forward_kinematics,
    heading_angle,
    heading_matrix,
    stand,
    without_heading,
)


def random_motion(frames: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    rotations = axis_angle_to_matrix(torch.randn(frames, 22, 3, generator=generator) * 0.5)
    return rotations, torch.randn(frames, 3, generator=generator)


def test_the_zero_pose_is_the_rest_skeleton(rest_joints):
    joints = forward_kinematics(torch.eye(3).expand(22, 3, 3), torch.tensor([1.0, 0.92, 2.0]), rest_joints)
    assert torch.allclose(joints - joints[0], rest_joints, atol=1e-6)


def test_a_bent_elbow_moves_the_wrist_only(rest_joints):
    rotations = torch.eye(3).repeat(22, 1, 1)
    rotations[18] = axis_angle_to_matrix(torch.tensor([0.0, -math.pi / 2, 0.0]))
    joints = forward_kinematics(rotations, torch.zeros(3), rest_joints)
    moved = (joints - forward_kinematics(torch.eye(3).expand(22, 3, 3), torch.zeros(3), rest_joints)).norm(dim=-1)
    assert moved[20] > 0.2
    assert moved[torch.arange(22) != 20].max() < 1e-6
    assert joints[20, 2] > 0.2  # the left arm lies along +X, so that it bends forward


def test_heading_is_the_turn_about_up_even_when_lying():
    for tilt in (0.0, 1.2, -math.pi / 2):
        rotation = heading_matrix(torch.tensor(0.7)) @ axis_angle_to_matrix(torch.tensor([tilt, 0.0, 0.0]))
        assert torch.allclose(heading_angle(rotation), torch.tensor(0.7), atol=1e-5)


def test_a_positive_heading_turns_from_front_to_left():
    turned = heading_matrix(torch.tensor(math.pi / 2)) @ torch.tensor([0.0, 0.0, 1.0])
    assert torch.allclose(turned, torch.tensor([1.0, 0.0, 0.0]), atol=1e-6)


def test_facing_forward_keeps_the_motion_itself(rest_joints):
    rotations, translation = random_motion()
    turned, moved = face_forward(rotations, translation)
    assert abs(heading_angle(turned[0, 0]).item()) < 1e-5
    assert torch.allclose(moved[0, ::2], torch.zeros(2), atol=1e-6)
    assert torch.allclose(moved[:, 1], translation[:, 1], atol=1e-6)
    before = torch.cdist(*[forward_kinematics(rotations, translation, rest_joints).flatten(0, 1)] * 2)
    after = torch.cdist(*[forward_kinematics(turned, moved, rest_joints).flatten(0, 1)] * 2)
    assert torch.allclose(before, after, atol=2e-3)


def test_without_heading_two_turned_poses_are_one():
    rotations, _ = random_motion()
    turned = rotations.clone()
    turned[:, 0] = heading_matrix(torch.linspace(-2, 2, 7)) @ turned[:, 0]
    assert torch.allclose(without_heading(turned), without_heading(rotations), atol=1e-5)


def test_a_motion_that_stands_touches_the_ground(rest_joints):
    rotations, translation = random_motion()
    moved = stand(rotations, translation, rest_joints)
    assert abs(forward_kinematics(rotations, moved, rest_joints)[..., 1].min().item()) < 1e-5
    assert torch.equal(moved[:, ::2], translation[:, ::2])
