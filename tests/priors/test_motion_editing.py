"""Motions joined and closed into loops."""

import torch

from avatar_core.bodies.rotations import axis_angle_to_matrix, geodesic_angle
from avatar_core.priors.kinematics import heading_angle
from avatar_core.priors.motion_editing import OVERLAP, Sequence, between, close_loop, join, move_to


def swinging(frames=60, period=20.0, speed=1.0, turn=0.0):
    """Arms and legs that swing while the pelvis goes along +Z and turns."""
    time = torch.arange(frames, dtype=torch.float32)
    bend = torch.zeros(frames, 22, 3)
    bend[:, 1, 0] = 0.5 * torch.sin(2 * torch.pi * time / period)
    bend[:, 16, 2] = -1.0 + 0.3 * torch.cos(2 * torch.pi * time / period)
    bend[:, 0, 1] = turn * time / frames
    path = torch.stack([torch.zeros(frames), torch.full((frames,), 0.9), speed * time / 30], 1)
    standing = torch.stack([bend[:, 1, 0] < 0, bend[:, 1, 0] >= 0], 1)
    return Sequence(axis_angle_to_matrix(bend), path, standing)


def test_half_way_between_two_rotations_is_half_the_turn():
    turned = axis_angle_to_matrix(torch.tensor([0.0, 0.0, 2.0]))
    half = between(torch.eye(3), turned, torch.tensor(0.5))
    torch.testing.assert_close(half, axis_angle_to_matrix(torch.tensor([0.0, 0.0, 1.0])))


def test_a_moved_motion_faces_and_stands_where_it_is_told():
    moved = move_to(swinging(), torch.tensor(torch.pi / 2), torch.tensor([2.0, 5.0, 3.0]))
    assert abs(float(heading_angle(moved.rotations[0, 0])) - torch.pi / 2) < 1e-5
    torch.testing.assert_close(moved.translation[0], torch.tensor([2.0, 0.9, 3.0]))
    way = moved.translation[30] - moved.translation[0]
    torch.testing.assert_close(way, torch.tensor([1.0, 0.0, 0.0]), atol=1e-5, rtol=0)


def test_joined_motions_go_on_without_a_jump():
    first, second = swinging(turn=1.0), swinging(period=33.0, speed=0.5)
    joined = join(first, second)
    rotations, path = joined.rotations, joined.translation
    assert len(joined) == len(path) == len(joined.standing) == 120 - OVERLAP
    torch.testing.assert_close(rotations[: 60 - OVERLAP], first.rotations[: 60 - OVERLAP])
    assert torch.equal(joined.standing[60:], second.standing[OVERLAP:])
    steps = (path[1:] - path[:-1]).norm(dim=-1)
    assert steps.max() < 0.06
    assert geodesic_angle(rotations[1:], rotations[:-1]).max() < 0.25
    assert geodesic_angle(rotations[-1, 1:], second.rotations[-1, 1:]).max() < 2e-3


def test_a_loop_is_cut_where_the_motion_repeats():
    looped = close_loop(swinging())
    rotations, path = looped.rotations, looped.translation
    assert len(rotations) in (39, 40, 41)  # two periods
    step = geodesic_angle(rotations[1:], rotations[:-1]).mean(1)
    assert geodesic_angle(rotations[0], rotations[-1]).mean() < 1.3 * step.max()
    assert (path[1:, 2] > path[:-1, 2]).all()


def test_a_motion_that_never_repeats_is_blended_into_a_loop():
    time = torch.linspace(0, 1, 60)
    bend = torch.zeros(60, 22, 3)
    bend[:, 16, 2] = 2.5 * time
    raised = Sequence(axis_angle_to_matrix(bend), torch.zeros(60, 3), torch.ones(60, 2, dtype=torch.bool))
    looped = close_loop(raised)
    rotations, path = looped.rotations, looped.translation
    step = geodesic_angle(rotations[1:], rotations[:-1]).mean(1)
    assert len(looped) == len(path) >= 24
    assert looped.standing.all()
    assert geodesic_angle(rotations[0], rotations[-1]).mean() <= step.max() + 1e-4
