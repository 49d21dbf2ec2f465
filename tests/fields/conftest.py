"""Bodies and fields that the tests of this folder share, small enough to build in a second."""

import pytest
import torch
import trimesh

from avatar_core.bodies import load_body
from avatar_core.fields import AvatarField, BodySurface, FieldConfig, HashConfig, outer_faces
from avatar_core.seeds import torch_generator

SMALL = FieldConfig(
    sdf_cell=0.02,
    geometry=HashConfig(levels=2, coarsest_cell=0.2, finest_cell=0.1, log2_table_size=10),
    color=HashConfig(levels=3, coarsest_cell=0.2, finest_cell=0.05, log2_table_size=10),
    hidden=8,
)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def ball() -> BodySurface:
    """A ball of radius 0.3 m about (0.1, 0.5, -0.2)."""
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=0.3)
    vertices = torch.tensor(mesh.vertices, dtype=torch.float32) + torch.tensor([0.1, 0.5, -0.2])
    return BodySurface(vertices, torch.tensor(mesh.faces))


@pytest.fixture
def ball_field(ball: BodySurface) -> AvatarField:
    """An untrained field over the ball."""
    return AvatarField(ball, SMALL, torch_generator(0, "ball"))


@pytest.fixture
def learned_field(ball_field: AvatarField) -> AvatarField:
    """A field over the ball whose heads and tables hold something."""
    generator = torch_generator(1, "learned")
    with torch.no_grad():
        for parameter in ball_field.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return ball_field


@pytest.fixture(scope="session")
def body():
    return load_body()


@pytest.fixture(scope="session")
def body_field(body) -> AvatarField:
    """An untrained field over the neutral body, on a coarse grid."""
    surface = BodySurface(body.shape(body.neutral_shape).vertices, outer_faces(body))
    return AvatarField(surface, SMALL, torch_generator(0, "body"))
