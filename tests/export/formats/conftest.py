import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.bodies.rotations import axis_angle_to_matrix


@pytest.fixture(scope="session")
def small_rig():
    """The neutral body's rig, four poses of its joints, and the transforms that these give."""
    body = load_body()
    rig = body.rig(body.shape(body.neutral_shape))
    generator = torch.Generator().manual_seed(1)
    rotations = axis_angle_to_matrix(0.4 * torch.randn(4, 22, 3, generator=generator))
    return rig, rotations, rig.pose(rotations, torch.randn(4, 3, generator=generator))
