"""Small meshes that the rendering tests share."""

from collections.abc import Callable

import pytest
import torch
import trimesh
from torch import Tensor

Mesh = tuple[Tensor, Tensor]


@pytest.fixture
def sphere() -> Callable[..., Mesh]:
    """Make an icosphere: (radius, subdivisions) -> vertices (V, 3), faces (F, 3), wound outwards."""

    def make(radius: float = 0.5, subdivisions: int = 3) -> Mesh:
        mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
        return torch.tensor(mesh.vertices, dtype=torch.float32), torch.tensor(mesh.faces, dtype=torch.int64)

    return make


@pytest.fixture
def soup() -> Mesh:
    """Twenty random triangles about the origin that hide and pierce each other."""
    generator = torch.Generator().manual_seed(3)
    centres = torch.rand(20, 1, 3, generator=generator) - 0.5
    corners = centres + 0.6 * (torch.rand(20, 3, 3, generator=generator) - 0.5)
    return corners.reshape(-1, 3), torch.arange(60).reshape(20, 3)
