import pytest
import torch

from avatar_core.bodies.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from avatar_core.stages.pose_generators.base import ScoredPoses, distinct


def poses(*turns: float, joint: int = 16, axis: int = 0) -> torch.Tensor:
    """T-poses with one joint turned by each angle, radians."""
    turned = torch.zeros(len(turns), 22, 3)
    turned[:, joint, axis] = torch.tensor(turns)
    return axis_angle_to_matrix(turned)


def test_near_duplicates_are_left_out():
    limit = 0.1 / 22
    assert distinct(poses(0.0, 0.09, 0.5, 0.55, -0.3), limit, 5) == [0, 2, 4]
    assert distinct(poses(0.0, 0.09, 0.5, 0.55, -0.3), 0.0, 3) == [0, 1, 2]
    assert distinct(poses(0.0, 0.0), limit, 5) == [0]


def test_rotations_near_half_a_turn_are_as_near_as_they_look():
    """Turned by a little less and a little more than half a turn: their axis-angles point opposite ways."""
    found = poses(3.1, 3.18)
    components = matrix_to_axis_angle(found)
    assert (components[0] - components[1]).abs().mean() > 0.07
    assert distinct(found, 0.15, 5) == [0]


@pytest.mark.parametrize("away", [0.14, 0.16])
def test_the_limit_is_a_mean_angle_in_radians(away):
    turned = torch.zeros(2, 22, 3)
    turned[1, :, 1] = away
    assert len(distinct(axis_angle_to_matrix(turned), 0.15, 5)) == (1 if away < 0.15 else 2)


def test_poses_that_fit_much_worse_than_the_best_are_no_candidates():
    found = ScoredPoses(poses(0.0, 0.5, 1.0), torch.tensor([0.5, 0.9, 0.8]), torch.tensor([7, 8, 9]))
    assert found.best(3, 0.0, 0.85).entries.tolist() == [8, 9]
    below = ScoredPoses(found.rotations, torch.tensor([-0.11, -0.1, -0.2]), found.entries)
    assert below.best(3, 0.0, 0.85).entries.tolist() == [8, 7]


def test_the_best_are_kept_best_first_with_their_scores_and_entries():
    found = ScoredPoses(poses(0.0, 0.5, 1.0, 1.01), torch.tensor([0.1, 0.9, 0.4, 0.5]), torch.tensor([7, 8, 9, 10]))
    best = found.best(3, 0.1 / 22)
    assert best.entries.tolist() == [8, 10, 7]
    assert best.scores.tolist() == pytest.approx([0.9, 0.5, 0.1])
    assert torch.equal(best.rotations, found.rotations[[1, 3, 0]])
