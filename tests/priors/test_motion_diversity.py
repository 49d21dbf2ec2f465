import math

import torch

from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.priors.motion_diversity import diversity
from avatar_core.priors.motion_vae import MotionVAE


def test_motions_that_differ_are_diverse():
    rest = MotionVAE.load().rest_joints
    still = torch.zeros(2, 8, 22, 3)
    assert diversity(axis_angle_to_matrix(still), rest) == 0
    assert diversity(axis_angle_to_matrix(still[:1]), rest) == 0
    lifted = still.clone()
    lifted[1, :, 18, 2] = math.pi / 2  # a forearm is turned up: the wrist alone leaves its place
    forearm = float((rest[20] - rest[18]).norm())
    expected = math.sqrt(2) * forearm / 22
    assert abs(diversity(axis_angle_to_matrix(lifted), rest) - expected) < 0.2 * expected
