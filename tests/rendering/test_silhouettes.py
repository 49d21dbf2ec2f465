"""Silhouettes: edges of the mesh blend pixels as a finer image would, and their motion carries the true gradient."""

import math

import pytest
import torch

from avatar_core.rendering.cameras import orbit_cameras
from avatar_core.rendering.kernels import faces_towards, faces_towards_reference
from avatar_core.rendering.mesh_renderer import render_mesh
from avatar_core.rendering.rasterizer import rasterize
from avatar_core.rendering.silhouettes import silhouette_edges
from avatar_core.rendering.topology import build_topology, mesh_topology

TRIANGLE = torch.tensor([[-0.61, -0.47, 0.0], [0.53, -0.31, 0.1], [-0.07, 0.58, -0.1]])
FACE = torch.tensor([[0, 1, 2]])


def camera(size, azimuth=0.2):
    return orbit_cameras(azimuth, 0.1, 3.0, [0.0, 0.0, 0.0], 0.6, size)


def unlit(vertices, faces, cameras, colors, **options):
    background = torch.tensor([0.1, 0.9, 0.3])[:, None, None]
    return render_mesh(
        vertices, faces, cameras, vertex_colors=colors, lights=None, background=background, **options
    ).image


def mean_image_change(scene, direction, step, size):
    """Central difference of the mean image, from renders so fine that no antialiasing is needed."""
    ahead, behind = (scene(sign * step * direction, camera(size), antialias=False) for sign in (1, -1))
    return (ahead.mean((0, 2, 3)) - behind.mean((0, 2, 3))) / (2 * step)


def mean_image_gradient(scene, direction, size):
    """Directional derivative of each colour's mean over the antialiased image."""
    shift = torch.zeros_like(direction).requires_grad_()
    means = scene(shift, camera(size), antialias=True).mean((0, 2, 3))
    return torch.stack(
        [(torch.autograd.grad(mean, shift, retain_graph=True)[0] * direction).sum() for mean in means]
    )


@pytest.mark.parametrize("vertex", [0, 1, 2])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_moving_corner_changes_the_mean_image_as_it_should(vertex, axis) -> None:
    colors = torch.tensor([0.9, 0.2, 0.6]).expand(3, 3)
    direction = torch.zeros(3, 3)
    direction[vertex, axis] = 1

    def scene(shift, cameras, antialias):
        return unlit(TRIANGLE + shift, FACE, cameras, colors, antialias=antialias)

    expected = mean_image_change(scene, direction, step=0.04, size=1024)
    actual = mean_image_gradient(scene, direction, size=128)
    assert expected.abs().max() > 0.005
    torch.testing.assert_close(actual, expected, rtol=0.05, atol=5e-4)


def test_a_growing_sphere_of_tiny_faces_changes_the_mean_image_as_it_should(sphere) -> None:
    """Faces are a fraction of a pixel here: most silhouette edges belong to faces that no pixel sees."""
    vertices, faces = sphere(radius=0.5, subdivisions=5)
    colors = torch.tensor([0.9, 0.2, 0.6]).expand(len(vertices), 3)

    def scene(shift, cameras, antialias):
        return unlit(vertices + shift, faces, cameras, colors, antialias=antialias)

    expected = mean_image_change(scene, vertices, step=0.02, size=768)
    actual = mean_image_gradient(scene, vertices, size=32)
    torch.testing.assert_close(actual, expected, rtol=0.05, atol=5e-4)


def test_a_silhouette_in_front_of_another_surface_moves_too(sphere) -> None:
    """A small sphere slides over a large one: the outline between the two surfaces carries the gradient."""
    small, small_faces = sphere(radius=0.25, subdivisions=3)
    large, large_faces = sphere(radius=0.7, subdivisions=4)
    vertices = torch.cat([small + torch.tensor([0.1, 0.0, 0.9]), large])
    faces = torch.cat([small_faces, large_faces + len(small)])
    ramp = 0.5 + 0.6 * large[:, :1]
    colors = torch.cat([torch.tensor([0.9, 0.2, 0.6]).expand(len(small), 3), ramp.expand(-1, 3)])
    direction = torch.zeros_like(vertices)
    direction[: len(small), 0] = 1

    def scene(shift, cameras, antialias):
        return unlit(vertices + shift, faces, cameras, colors, antialias=antialias)

    expected = mean_image_change(scene, direction, step=0.02, size=1024)
    actual = mean_image_gradient(scene, direction, size=64)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(actual, expected, rtol=0.1, atol=1e-3)


def test_hidden_outlines_leave_the_image_alone(sphere) -> None:
    small, faces = sphere(radius=0.2, subdivisions=3)
    wall = torch.tensor([[-3.0, -3.0, 0.8], [3.0, -3.0, 0.8], [0.0, 5.0, 0.8]])
    vertices = torch.cat([small, wall])
    together = torch.cat([faces, torch.tensor([[len(small), len(small) + 1, len(small) + 2]])])
    raster = rasterize(vertices, together, camera(48), silhouettes=True)
    assert (raster.face == len(faces)).all()
    assert len(raster.crossings) == 0


@pytest.mark.parametrize("azimuth", [0.2, 1.3])
def test_antialiasing_comes_close_to_a_supersampled_image(sphere, azimuth) -> None:
    vertices, faces = sphere(radius=0.5, subdivisions=4)
    vertices = vertices * torch.tensor([0.5, 1.0, 0.3])
    cameras = camera(32, azimuth)
    colors = torch.tensor([0.9, 0.2, 0.6]).expand(len(vertices), 3)
    exact = unlit(vertices, faces, cameras, colors, antialias=False, supersample=12)
    jagged = unlit(vertices, faces, cameras, colors, antialias=False)
    smooth = unlit(vertices, faces, cameras, colors, antialias=True)
    assert (smooth - exact).abs().sum() < 0.2 * (jagged - exact).abs().sum()
    assert (smooth - exact).abs().max() < 0.15


def test_the_part_covered_follows_the_edge_from_pixel_to_pixel() -> None:
    size = 16
    cameras = orbit_cameras(0.0, 0.0, 10.0, [0.0, 0.0, 0.0], 2 * math.atan(0.1), size)
    for column in (5.1, 5.4, 5.9, 6.0, 6.3, 6.75):
        edge = column / (size / 2) - 1
        vertices = torch.tensor([[edge, -9.0, 0.0], [edge, 9.0, 0.0], [-9.0, 0.0, 0.0]])
        mask = render_mesh(vertices, FACE, cameras, lights=None).mask[0, 0]
        torch.testing.assert_close(mask.sum(1), torch.full((size,), column), atol=2e-3, rtol=0)
        assert mask.min() >= 0
        assert mask.max() <= 1


def test_edges_of_a_tetrahedron_and_of_an_open_sheet() -> None:
    tetrahedron = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    closed = build_topology(tetrahedron)
    assert closed.edges.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert not closed.boundary.any()
    assert not closed.flipped.any()
    for edge, faces, opposite in zip(closed.edges, closed.edge_faces, closed.opposite):
        assert set(edge.tolist()) <= set(tetrahedron[faces[0]].tolist()) & set(tetrahedron[faces[1]].tolist())
        assert set([*edge.tolist(), int(opposite)]) == set(tetrahedron[faces[0]].tolist())
    sheet = build_topology(torch.tensor([[0, 1, 2], [0, 3, 2]]))
    assert sheet.boundary.tolist() == [True, False, True, True, True]
    assert sheet.flipped.tolist() == [False, True, False, False, False]


def test_topology_is_remembered_until_the_faces_change() -> None:
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    first = mesh_topology(faces)
    assert mesh_topology(faces) is first
    faces[1, 2] = 4
    assert mesh_topology(faces).edges.max() == 4


def test_silhouettes_do_not_depend_on_how_faces_are_wound(sphere) -> None:
    vertices, faces = sphere(subdivisions=2)
    shuffled = faces.clone()
    shuffled[::3] = shuffled[::3].flip(1)
    found = []
    for given in (faces, shuffled):
        topology = build_topology(given)
        _, edges = silhouette_edges(faces_towards(vertices[None], given, camera(8).eye), topology)
        found.append({tuple(edge) for edge in topology.edges[edges].tolist()})
    assert found[0] == found[1]
    assert 10 < len(found[0]) < 100


def test_the_kernel_of_face_sides_agrees_with_its_reference(soup) -> None:
    vertices, faces = soup
    eyes = torch.randn(5, 3, generator=torch.Generator().manual_seed(4))
    sets = vertices + torch.randn(5, 1, 3, generator=torch.Generator().manual_seed(5))
    assert torch.equal(faces_towards(sets, faces, eyes), faces_towards_reference(sets, faces, eyes))
    shared = faces_towards(vertices[None], faces, eyes)
    assert torch.equal(shared, faces_towards_reference(vertices[None], faces, eyes))
    assert 0 < shared.float().mean() < 1
