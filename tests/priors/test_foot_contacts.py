"""Feet that stand, slide and are kept from sliding, on a marching skeleton made here."""

import pytest
import torch

from avatar_core.bodies.rotations import axis_angle_to_matrix, geodesic_angle
from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.priors.captured_motion import REST_JOINTS
from avatar_core.priors.foot_contacts import LEGS, find_contacts, foot_skate, lower_feet, plant_feet
from avatar_core.priors.kinematics import forward_kinematics, stand

FPS = 30


@pytest.fixture(scope="module")
def rest():
    return torch.from_numpy(REST_JOINTS.copy())


def march(rest, drift):
    """Two seconds of lifting left and right foot in turn, while everything drifts along +Z, metres a second."""
    time = torch.arange(60) / FPS
    bend = torch.zeros(60, 22, 3)
    for side, phase in (("left", 0.0), ("right", torch.pi)):
        lift = torch.sin(2 * torch.pi * time + phase).clamp_min(0)
        bend[:, JOINT_INDEX[f"{side}_hip"], 0] = -0.9 * lift
        bend[:, JOINT_INDEX[f"{side}_knee"], 0] = 0.05 + 1.2 * lift
    rotations = axis_angle_to_matrix(bend)
    translation = torch.stack([torch.zeros(60), torch.full((60,), 0.92), drift * time], 1)
    return rotations, stand(rotations, translation, rest)


def test_the_foot_that_is_down_stands(rest):
    rotations, translation = march(rest, 0.0)
    standing = find_contacts(forward_kinematics(rotations, translation, rest), rest, FPS).standing
    assert standing[20:28].tolist() == [[True, False]] * 8
    assert standing[5:12].tolist() == [[False, True]] * 7


def test_feet_that_hover_or_hurry_do_not_stand(rest):
    rotations, translation = march(rest, 0.0)
    hovering = forward_kinematics(rotations, translation + torch.tensor([0.0, 0.2, 0.0]), rest)
    hurrying = forward_kinematics(*march(rest, 2.0), rest)
    for joints in (hovering, hurrying):
        assert not find_contacts(joints, rest, FPS).standing.any()
        assert foot_skate(joints, rest, FPS) == 0.0


def test_skate_is_measured_in_millimetres_a_frame(rest):
    joints = forward_kinematics(*march(rest, 0.3), rest)
    assert foot_skate(joints, rest, FPS) == pytest.approx(10.0, rel=0.15)


def test_planted_feet_stay_and_keep_their_attitude(rest):
    rotations, translation = march(rest, 0.3)
    planted, moved = plant_feet(rotations, translation, rest, FPS)
    before = forward_kinematics(rotations, translation, rest)
    after = forward_kinematics(planted, moved, rest)
    assert foot_skate(after, rest, FPS) < 0.15 * foot_skate(before, rest, FPS)
    torch.testing.assert_close(moved[:, 1], translation[:, 1])
    for _, _, ankle, foot in LEGS:
        torch.testing.assert_close(
            after[:, foot] - after[:, ankle], before[:, foot] - before[:, ankle], atol=1e-3, rtol=0
        )
    upper = [joint for joint in range(1, 22) if joint not in {j for leg in LEGS for j in leg}]
    assert geodesic_angle(planted[:, upper], rotations[:, upper]).max() < 1e-2


def test_a_motion_without_slides_is_left_alone(rest):
    rotations, translation = march(rest, 0.0)
    planted, moved = plant_feet(rotations, translation, rest, FPS)
    assert (moved - translation).norm(dim=-1).max() < 0.03
    assert geodesic_angle(planted, rotations).max() < 0.1


def test_stances_are_found_in_many_motions_at_once(rest):
    motions = [forward_kinematics(*march(rest, drift), rest) for drift in (0.0, 0.2)]
    together = find_contacts(torch.stack(motions), rest, FPS)
    for number, joints in enumerate(motions):
        alone = find_contacts(joints, rest, FPS)
        assert torch.equal(together.standing[number], alone.standing)
        torch.testing.assert_close(together.speed[number], alone.speed)


def test_a_single_frame_has_contacts_and_no_speed(rest):
    joints = forward_kinematics(*march(rest, 0.0), rest)[:1]
    found = find_contacts(joints, rest, FPS)
    assert found.standing.tolist() == [[True, True]]
    assert found.speed.tolist() == [[0.0, 0.0]]


def test_known_stances_are_kept_whatever_the_motion_does(rest):
    rotations, translation = march(rest, 1.0)  # too fast to be found
    standing = torch.zeros(60, 2, dtype=torch.bool)
    standing[20:28, 0] = True
    planted, moved = plant_feet(rotations, translation, rest, FPS, standing)
    after = forward_kinematics(planted, moved, rest)
    ankle = after[21:27, LEGS[0][2]]
    assert (ankle[1:] - ankle[:-1])[:, [0, 2]].norm(dim=-1).max() < 0.004


def test_standing_feet_are_let_down_and_the_rest_stays(rest):
    rotations, translation = march(rest, 0.0)
    bent = rotations.clone()
    knees = [leg[1] for leg in LEGS]
    bent[:, knees] = bent[:, knees] @ axis_angle_to_matrix(torch.tensor([0.3, 0.0, 0.0]))
    joints = forward_kinematics(bent, translation, rest)
    standing = torch.zeros(60, 2, dtype=torch.bool)
    standing[20:28, 0] = True
    drops = torch.full((60, 2), 0.02)
    lowered = forward_kinematics(lower_feet(bent, translation, rest, drops, standing), translation, rest)
    _, _, ankle, foot = LEGS[0]
    fallen = joints[:, [ankle, foot]] - lowered[:, [ankle, foot]]
    down = torch.tensor([0.0, 0.02, 0.0]).expand(8, 2, 3)
    torch.testing.assert_close(fallen[20:28], down, atol=1e-3, rtol=0)
    steps = fallen[15:33, :, 1].diff(dim=0).abs()
    assert 0 < steps.max() < 0.005  # comes and goes over several frames
    others = [joint for joint in range(22) if joint not in LEGS[0][1:]]
    torch.testing.assert_close(lowered[:, others], joints[:, others], atol=1e-5, rtol=0)
    torch.testing.assert_close(lowered[:15], joints[:15], atol=1e-5, rtol=0)


def test_a_leg_that_is_straight_lets_its_foot_down_no_further_than_it_reaches(rest):
    rotations = torch.eye(3).expand(12, 22, 3, 3)
    translation = stand(rotations, torch.tensor([0.0, 0.92, 0.0]).expand(12, 3), rest)
    standing, drops = torch.ones(12, 2, dtype=torch.bool), torch.full((12, 2), 0.03)
    lowered = lower_feet(rotations, translation, rest, drops, standing)
    before, after = (forward_kinematics(local, translation, rest) for local in (rotations, lowered))
    assert torch.isfinite(after).all()
    assert (before - after).norm(dim=-1).max() < 0.03
