"""The naive NeuS does what NeuS does."""

import pytest
import torch

from avatar_core.seeds import torch_generator

from .naive_neus import (
    FREQUENCIES,
    INITIAL_RADIUS,
    NaiveNeus,
    positional_encoding,
    render_rays,
    section_opacities,
    section_weights,
    sphere_depths,
)

RADIUS = 0.3  # metres, of the analytic sphere about the origin
SHARPNESS = torch.tensor(400.0)


@pytest.fixture(scope="module")
def field() -> NaiveNeus:
    """A field in a sphere of 2 m about (0, 1, 0)."""
    return NaiveNeus(torch.tensor([0.0, 1.0, 0.0]), 2.0, torch_generator(0, "naive"))


def sphere_weights(origins: torch.Tensor, directions: torch.Tensor, samples: int = 400) -> tuple[torch.Tensor, ...]:
    """Return the depths (R, S) of rays and their weights for the analytic sphere."""
    depths = sphere_depths(origins, directions, torch.zeros(3), 1.0, samples, torch_generator(0, "depths"))
    points = origins[:, None] + depths[..., None] * directions[:, None]
    distances, gradients = points.norm(dim=-1) - RADIUS, torch.nn.functional.normalize(points, dim=-1)
    lengths = torch.full_like(depths, 2.0 / samples)
    return depths, section_weights(section_opacities(distances, gradients, directions, lengths, SHARPNESS))


def test_the_field_starts_as_a_sphere(field: NaiveNeus) -> None:
    directions = torch.nn.functional.normalize(torch.randn(200, 3, generator=torch_generator(1, "on")), dim=1)
    on_sphere = field.centre + INITIAL_RADIUS * field.radius * directions
    outside = field.centre + 0.9 * field.radius * directions
    assert field.sdf(field.centre[None])[0].item() < -0.3
    assert field.sdf(on_sphere)[0].abs().mean() < 0.1 * field.radius
    assert field.sdf(outside)[0].min() > 0


def test_its_gradient_is_the_slope_of_its_distance(field: NaiveNeus) -> None:
    points = field.centre + torch.randn(50, 3, generator=torch_generator(2, "points"))
    gradient = field.double().sdf_and_gradient(points.double(), trained=False)[2]
    step = 1e-5
    for axis in range(3):
        shift = step * torch.eye(3, dtype=torch.float64)[axis]
        slope = (field.sdf(points + shift)[0] - field.sdf(points - shift)[0]) / (2 * step)
        assert torch.allclose(slope, gradient[:, axis], atol=1e-5)
    field.float()


def test_a_loss_of_the_gradient_reaches_the_weights(field: NaiveNeus) -> None:
    gradient = field.sdf_and_gradient(torch.randn(8, 3, generator=torch_generator(3, "points")), trained=True)[2]
    (gradient.norm(dim=1) - 1).square().sum().backward()
    slopes = [layer.weight.grad for layer in field.sdf_layers]
    assert all(slope is not None and slope.abs().sum() > 0 for slope in slopes)
    field.zero_grad()


def test_rays_that_hit_a_sphere_end_on_it_and_others_see_nothing() -> None:
    origins = torch.tensor([[0.0, 0.0, 2.0], [0.1, 0.0, 2.0], [0.5, 0.0, 2.0]])
    directions = torch.tensor([[0.0, 0.0, -1.0]]).expand(3, 3)
    depths, weights = sphere_weights(origins, directions)
    assert torch.allclose(weights.sum(1), torch.tensor([1.0, 1.0, 0.0]), atol=0.01)
    seen = (weights * depths).sum(1) / weights.sum(1)
    expected = 2.0 - (RADIUS**2 - origins[:2, 0].square()).sqrt()
    assert torch.allclose(seen[:2], expected, atol=0.005)


def test_sections_that_leave_the_surface_are_clear() -> None:
    distances = torch.tensor([[-0.01, 0.0, 0.01]])
    outward = torch.tensor([[0.0, 0.0, 1.0]])
    opacities = section_opacities(
        distances, outward.expand(1, 3, 3), outward, torch.full((1, 3), 0.01), torch.tensor(400.0)
    )
    assert opacities.max() < 1e-3


def test_the_encoding_has_every_octave() -> None:
    encoded = positional_encoding(torch.tensor([[0.1, 0.2, 0.3]]))
    assert encoded.shape == (1, 3 + 6 * FREQUENCIES)
    assert encoded[0, -3:] == pytest.approx(torch.cos(torch.tensor([0.1, 0.2, 0.3]) * 2**5).tolist())


def test_rendered_rays_are_the_same_alone_and_together(field: NaiveNeus) -> None:
    origins = torch.tensor([[0.0, 1.0, 3.0], [0.3, 1.2, 3.0]])
    directions = torch.tensor([[0.0, 0.0, -1.0]]).expand(2, 3)
    depths = sphere_depths(origins, directions, field.centre, 2.0, 12, torch_generator(4, "depths"))
    both = render_rays(field, origins, directions, depths, SHARPNESS)
    alone = [
        render_rays(field, origins[i : i + 1], directions[i : i + 1], depths[i : i + 1], SHARPNESS) for i in (0, 1)
    ]
    assert torch.allclose(both.color, torch.cat([one.color for one in alone]), atol=1e-5)
    assert torch.allclose(both.eikonal, alone[0].eikonal + alone[1].eikonal, rtol=1e-4)
