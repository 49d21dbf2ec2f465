import pytest
import torch
import trimesh

from avatar_core.errors import BodyError
from avatar_core.fields import BodySurface
from avatar_core.fields.garment_volume import (
    BELL,
    BLEND,
    ELLIPSOID,
    WALL,
    joined,
    volume_box,
    volume_distance,
    volume_meshes,
)
from avatar_core.fields.shell import shell_of
from avatar_core.rendering.cameras import orbit_cameras
from avatar_core.seeds import torch_generator

# From y = 0.0 to 0.4; at the bottom 0.3 by 0.2 about (0, 0), at the top 0.1 by 0.1 about (0.05, 0).
CONE = torch.tensor([[0.0, 0.4, 0.0, 0.0, 0.3, 0.2, 0.05, 0.0, 0.1, 0.1, 0.0, 0.0]])
# Half-axes 0.3, 0.2 and 0.1 about (0, 0.2, 0).
BALL = torch.tensor([[0.0, 0.4, 0.0, 0.0, 0.3, 0.1, 0.0, 0.0, 0.3, 0.1, ELLIPSOID, 0.0]])


def distance(*point: float) -> float:
    return float(volume_distance(torch.tensor([point]), CONE))


def test_the_sign_tells_inside_from_outside():
    assert distance(0.0, 0.01, 0.0) < 0
    assert distance(0.28, 0.01, 0.0) < 0
    assert distance(0.28, 0.01, 0.15) > 0
    assert distance(0.28, 0.39, 0.0) > 0
    assert distance(0.14, 0.39, 0.0) < 0
    assert distance(0.0, -0.1, 0.0) == pytest.approx(0.1)
    assert distance(0.05, 0.5, 0.0) == pytest.approx(0.1)


def test_a_cylinder_has_its_exact_distance():
    cylinder = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.2, 0.2, 0.0, 0.0, 0.2, 0.2, 0.0, 0.0]])
    points = torch.tensor([[0.3, 0.5, 0.0], [0.0, 0.5, 0.15], [0.3, 0.5, 0.4]])
    expected = torch.tensor([[0.1], [-0.05], [0.3]])
    torch.testing.assert_close(volume_distance(points, cylinder), expected, atol=1e-5, rtol=0)


def test_a_union_is_the_nearer_and_smooth_at_the_seam():
    points = torch.tensor([[0.0, 0.2, 0.0], [2.0, 0.2, 0.0]])
    alone = volume_distance(points, CONE).squeeze(1)
    far = torch.full((2,), 5.0)
    torch.testing.assert_close(joined(far, points, CONE), alone)
    torch.testing.assert_close(joined(-far, points, CONE), -far)
    assert float(joined(alone, points, CONE)[0] - alone[0]) == pytest.approx(-0.25 * BLEND, abs=1e-6)
    assert torch.equal(joined(alone, points, CONE[:0]), alone)


def test_the_mesh_is_closed_and_holds_the_volume():
    vertices, faces = volume_meshes(
        torch.cat([CONE, CONE + torch.tensor([0.0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0])]), 0.02
    )
    mesh = trimesh.Trimesh(vertices.numpy(), faces.numpy(), process=False)
    assert mesh.is_watertight
    assert mesh.volume > 0
    inside = torch.rand(2000, 3, generator=torch_generator(1)) * torch.tensor([0.7, 0.5, 0.5])
    inside = inside - torch.tensor([0.35, 0.05, 0.25])
    inside = inside[(volume_distance(inside, CONE) < 0).squeeze(1)]
    assert len(inside) > 100
    assert bool(BodySurface(vertices, faces).inside(inside).all())


def test_an_ellipsoid_has_the_distances_of_its_axes():
    points = torch.tensor([[0.35, 0.2, 0.0], [0.0, 0.45, 0.0], [0.0, 0.2, 0.05], [0.0, 0.2, 0.0]])
    expected = torch.tensor([[0.05], [0.05], [-0.05], [-0.1]])
    torch.testing.assert_close(volume_distance(points, BALL), expected, atol=1e-5, rtol=0)


def test_the_mesh_and_the_box_of_an_ellipsoid_hold_it():
    vertices, faces = volume_meshes(BALL, 0.0)
    assert trimesh.Trimesh(vertices.numpy(), faces.numpy(), process=False).is_watertight
    low, high = volume_box(BALL)
    inside = low + (high - low) * torch.rand(4000, 3, generator=torch_generator(1))
    inside = inside[(volume_distance(inside, BALL) < 0).squeeze(1)]
    assert len(inside) > 1500
    assert bool(BodySurface(vertices, faces).inside(inside).all())


def test_the_box_of_a_cone_holds_both_ends():
    low, high = volume_box(CONE)
    torch.testing.assert_close(low, torch.tensor([[-0.3, 0.0, -0.2]]))
    torch.testing.assert_close(high, torch.tensor([[0.3, 0.4, 0.2]]))


def test_a_bell_is_a_cone_outside_and_open_below():
    bell = CONE.clone()
    bell[:, 10] = BELL
    points = torch.rand(500, 3, generator=torch_generator(2)) - 0.5
    torch.testing.assert_close(volume_distance(points, bell), volume_distance(points, CONE))
    outside = (volume_distance(points, CONE) > 0).squeeze(1) & (points[:, 1] > 0)
    hollow = volume_distance(points, bell, hollow=True)
    torch.testing.assert_close(hollow[outside], volume_distance(points[outside], CONE))
    within = torch.tensor([[0.0, 0.01, 0.0], [0.3 - 0.5 * WALL, 0.001, 0.0], [0.05, 0.38, 0.0]])
    empty, wall, lid = volume_distance(within, bell, hollow=True).squeeze(1).tolist()
    assert empty > 0.05
    assert wall < 0
    assert lid < 0


def test_a_field_wears_it(ball_field):
    skirt = torch.tensor([[0.1, 0.5, 0.1, -0.2, 0.35, 0.33, 0.1, -0.2, 0.3, 0.3, 0.0, 1.0]])
    vertices = len(ball_field.surface.vertices)
    bare = torch.stack([torch.ones(vertices), torch.zeros(vertices)], dim=1)
    colors = torch.tensor([[0.8, 0.6, 0.5], [0.1, 0.1, 0.9]])
    ball_field.dress(bare, colors, torch.zeros(2), skirt)
    below_the_ball = torch.tensor([[0.3, 0.15, -0.2]])
    assert bool((ball_field.sdf(below_the_ball) < 0).all())
    assert bool((ball_field.sdf_sampled(below_the_ball) < 0).all())
    cameras = orbit_cameras([0.0], [0.0], [2.0], [0.1, 0.2, -0.2], [0.5], 32)
    rays = shell_of(ball_field).rays(cameras, ball_field.dressed_sdf)
    passes_below = ~rays.on_body & ((rays.origins + 2.0 * rays.directions)[:, 1] < 0.25)
    assert int(passes_below.sum()) > 10


def test_the_cloth_has_its_regions_colour_and_the_body_keeps_its_own(ball_field):
    skirt = torch.tensor([[0.1, 0.5, 0.1, -0.2, 0.35, 0.33, 0.1, -0.2, 0.3, 0.3, 0.0, 1.0]])
    vertices = len(ball_field.surface.vertices)
    bare = torch.stack([torch.ones(vertices), torch.zeros(vertices)], dim=1)
    colors = torch.tensor([[0.8, 0.6, 0.5], [0.1, 0.1, 0.9]])
    ball_field.dress(bare, colors, torch.zeros(2), skirt)
    hem, top = torch.tensor([[0.445, 0.12, -0.2]]), torch.tensor([[0.1, 0.8, -0.2]])
    torch.testing.assert_close(ball_field.color(hem), colors[1:], atol=0.01, rtol=0)
    torch.testing.assert_close(ball_field.color(top), colors[:1], atol=0.01, rtol=0)


OTHER_REGION = CONE + torch.tensor([0.0] * 11 + [3.0])


@pytest.mark.parametrize("broken", [CONE[:, :4], OTHER_REGION, CONE * torch.tensor([1.0, -1.0] + [1.0] * 10)])
def test_volumes_without_extent_are_refused(ball_field, broken):
    with pytest.raises(BodyError, match="garment volume"):
        ball_field.dress(torch.ones(len(ball_field.surface.vertices), 1), torch.zeros(1, 3), torch.zeros(1), broken)
