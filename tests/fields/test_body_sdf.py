import pytest
import torch
import trimesh

from avatar_core.errors import BodyError
from avatar_core.fields import BodySdf, BodySurface, sample_body_sdf
from avatar_core.seeds import torch_generator

CENTRE, RADIUS = torch.tensor([0.1, 0.5, -0.2]), 0.3


@pytest.fixture(scope="module")
def ball_sdf(ball) -> BodySdf:
    return sample_body_sdf(ball, cell=0.02, band=0.1)


def shell_points(count: int, spread: float) -> torch.Tensor:
    generator = torch_generator(2)
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    radius = RADIUS + spread * (2 * torch.rand(count, 1, generator=generator) - 1)
    return CENTRE + radius * direction


def test_distances_of_a_ball(ball_sdf):
    points = shell_points(500, 0.07)
    expected = (points - CENTRE).norm(dim=1) - RADIUS
    torch.testing.assert_close(ball_sdf.distance(points), expected, atol=2e-3, rtol=0)


def test_distances_are_clamped_to_the_band(ball_sdf):
    centre_and_far = torch.stack([CENTRE, CENTRE + torch.tensor([0.0, 0.0, 5.0])])
    torch.testing.assert_close(ball_sdf.distance(centre_and_far), torch.tensor([-0.1, 0.1]))


def test_the_distance_is_differentiable_in_the_point(ball_sdf):
    points = shell_points(200, 0.03).requires_grad_()
    (gradient,) = torch.autograd.grad(ball_sdf.distance(points).sum(), [points])
    outward = torch.nn.functional.normalize(points.detach() - CENTRE, dim=1)
    assert float((gradient * outward).sum(1).mean()) == pytest.approx(1.0, abs=0.03)


def test_a_hollow_without_a_way_out_is_inside():
    outer = trimesh.creation.icosphere(subdivisions=3, radius=0.3)
    hollow = trimesh.creation.icosphere(subdivisions=3, radius=0.15)
    hollow.invert()
    mesh = trimesh.util.concatenate([outer, hollow])
    surface = BodySurface(torch.tensor(mesh.vertices, dtype=torch.float32), torch.tensor(mesh.faces))
    sdf = sample_body_sdf(surface, cell=0.02, band=0.1)
    assert float(sdf.distance(torch.tensor([[0.0, 0.05, 0.0]]))) < 0


def test_a_mesh_without_inside_is_refused():
    square = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    with pytest.raises(BodyError, match="encloses no space"):
        sample_body_sdf(BodySurface(square, torch.tensor([[0, 1, 2]])), cell=0.1, band=0.2)


def test_the_stored_grid_is_the_rounded_one(ball_sdf):
    rounded = ball_sdf.half_precision()
    loaded = BodySdf.from_tensors(ball_sdf.tensors())
    assert torch.equal(loaded.values, rounded.values)
    assert (loaded.lower, loaded.cell, loaded.band) == (ball_sdf.lower, ball_sdf.cell, ball_sdf.band)


def test_what_is_worn_moves_the_surface_out(ball_sdf):
    dressed = ball_sdf.offset(lambda points: torch.full((len(points),), 0.02), reach=0.05)
    points = shell_points(300, 0.03)
    torch.testing.assert_close(dressed.distance(points), ball_sdf.distance(points) - 0.02, atol=1e-4, rtol=0)


def test_anny_is_one_solid_of_a_persons_volume(body, body_field):
    sdf = body_field.body_sdf
    litres = 1000 * float((sdf.values < 0).sum()) * sdf.cell**3
    assert 45 < litres < 100
    face = body.regions == body.region_names.index("mouth")
    mouth = body.shape(body.neutral_shape).vertices[face].mean(0, keepdim=True)
    assert float(sdf.distance(mouth)) < 0


def test_closest_points_and_insides_of_a_ball(ball):
    points = shell_points(300, 0.1)
    radius = (points - CENTRE).norm(dim=1)
    torch.testing.assert_close(ball.closest(points).distance, (radius - RADIUS).abs(), atol=1.5e-3, rtol=0)
    clear = (radius - RADIUS).abs() > 2e-3
    assert torch.equal(ball.inside(points)[clear], (radius < RADIUS)[clear])


def test_values_are_interpolated_at_the_closest_point(ball):
    points = shell_points(100, 0.05)
    positions = ball.interpolate(ball.closest(points), ball.vertices)
    torch.testing.assert_close(
        (positions - CENTRE).norm(dim=1), torch.full((100,), RADIUS), atol=2e-3, rtol=0
    )
