"""Motions joined and closed into loops."""

import torch

from avatar_core.bodies.rotations import axis_angle_to_matrix, geodesic_angle
from avatar_core.priors.kinematics import heading_angle
from avatar_core.priors.motion_editing import OVERLAP, between, close_loop, join, move_to


def swinging(frames=60, period=20.0, speed=1.0, turn=0.0):
    """Arms and legs that swing while the pelvis goes along +Z and turns."""
    time = torch.arange(frames, dtype=torch.float32)
    bend = torch.zeros(frames, 22, 3)
    bend[:, 1, 0] = 0.5 * torch.sin(2 * torch.pi * time / period)
    bend[:, 16, 2] = -1.0 + 0.3 * torch.cos(2 * torch.pi * time / period)
    bend[:, 0, 1] = turn * time / frames
    path = torch.stack([torch.zeros(frames), torch.full((frames,), 0.9), speed * time / 30], 1)
    return axis_angle_to_matrix(bend), path


def test_half_way_between_two_rotations_is_half_the_turn():
    turned = axis_angle_to_matrix(torch.tensor([0.0, 0.0, 2.0]))
    half = between(torch.eye(3), turned, torch.tensor(0.5))
    torch.testing.assert_close(half, axis_angle_to_matrix(torch.tensor([0.0, 0.0, 1.0])))


def test_a_moved_motion_faces_and_stands_where_it_is_told():
    moved = move_to(swinging(), torch.tensor(torch.pi / 2), torch.tensor([2.0, 5.0, 3.0]))
    assert abs(float(heading_angle(moved[0][0, 0])) - torch.pi / 2) < 1e-5
    torch.testing.assert_close(moved[1][0], torch.tensor([2.0, 0.9, 3.0]))
    torch.testing.assert_close(moved[1][30] - moved[1][0], torch.tensor([1.0, 0.0, 0.0]), atol=1e-5, rtol=0)


def test_joined_motions_go_on_without_a_jump():
    first, second = swinging(turn=1.0), swinging(period=33.0, speed=0.5)
    rotations, path = join(first, second)
    assert len(rotations) == len(path) == 120 - OVERLAP
    torch.testing.assert_close(rotations[: 60 - OVERLAP], first[0][: 60 - OVERLAP])
    steps = (path[1:] - path[:-1]).norm(dim=-1)
    assert steps.max() < 0.06
    assert geodesic_angle(rotations[1:], rotations[:-1]).max() < 0.25
    torch.testing.assert_close(geodesic_angle(rotations[-1, 1:], second[0][-1, 1:]), torch.zeros(21), atol=2e-3, rtol=0)


def test_a_loop_is_cut_where_the_motion_repeats():
    rotations, path = close_loop(swinging())
    assert len(rotations) in (39, 40, 41)  # two periods
    step = geodesic_angle(rotations[1:], rotations[:-1]).mean(1)
    assert geodesic_angle(rotations[0], rotations[-1]).mean() < 1.3 * step.max()
    assert (path[1:, 2] > path[:-1, 2]).all()


def test_a_motion_that_never_repeats_is_blended_into_a_loop():
    time = torch.linspace(0, 1, 60)
    bend = torch.zeros(60, 22, 3)
    bend[:, 16, 2] = 2.5 * time
    rotations, path = close_loop((axis_angle_to_matrix(bend), torch.zeros(60, 3)))
    step = geodesic_angle(rotations[1:], rotations[:-1]).mean(1)
    assert len(rotations) == len(path) >= 24
    assert geodesic_angle(rotations[0], rotations[-1]).mean() <= step.max() + 1e-4
