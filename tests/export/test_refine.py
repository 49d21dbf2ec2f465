import numpy as np
import pytest
import trimesh

from avatar_core.export.mesh import signed_volume
from avatar_core.export.refine import refine_by_color, split_faces, unique_edges
from avatar_core.export.repair import is_closed


def halves(points: np.ndarray) -> np.ndarray:
    """Red above y = 0.1, blue below."""
    red = (points[:, 1:2] > 0.1).astype(np.float32)
    return np.concatenate([red, 0 * red, 1 - red], axis=1)


@pytest.fixture
def ball():
    mesh = trimesh.creation.icosphere(3)
    vertices = np.asarray(mesh.vertices, np.float32)
    return vertices, np.asarray(mesh.faces, np.int32), vertices.copy()


def test_triangles_gather_at_the_border_of_colours(ball):
    vertices, faces, normals, colors = refine_by_color(*ball, halves, budget=10_000)
    assert is_closed(faces)
    np.testing.assert_array_equal(colors, halves(vertices))
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    edges, _ = unique_edges(faces)
    across = colors[edges[:, 0], 0] != colors[edges[:, 1], 0]
    height = np.abs(vertices[edges[:, 0], 1] - vertices[edges[:, 1], 1])
    before, _ = unique_edges(ball[1])
    crossing = halves(ball[0])[before[:, 0], 0] != halves(ball[0])[before[:, 1], 0]
    first = np.abs(ball[0][before[crossing, 0], 1] - ball[0][before[crossing, 1], 1])
    assert height[across].mean() < 0.2 * first.mean()


def test_the_shape_stays(ball):
    vertices, faces, _, _ = refine_by_color(*ball, halves, budget=10_000)
    assert len(faces) > len(ball[1])
    assert abs(signed_volume(vertices, faces) - signed_volume(ball[0], ball[1])) < 1e-5


def test_the_budget_holds(ball):
    for budget in (0, len(ball[1]) + 11, len(ball[1]) + 300):
        _, faces, _, _ = refine_by_color(*ball, halves, budget=budget)
        assert len(faces) <= max(budget, len(ball[1]))


def test_one_colour_needs_no_triangles(ball):
    _, faces, _, _ = refine_by_color(*ball, lambda p: np.full((len(p), 3), 0.3, np.float32), budget=10_000)
    np.testing.assert_array_equal(faces, ball[1])


@pytest.mark.parametrize("cut", [(True, False, False), (False, True, True), (True, False, True), (True, True, True)])
def test_a_split_triangle_keeps_its_area_and_side(cut):
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0]], float)
    middle = np.where(cut, [3, 4, 5], -1)[None]
    pieces = points[split_faces(np.array([[0, 1, 2]], np.int32), middle)]
    areas = np.cross(pieces[:, 1] - pieces[:, 0], pieces[:, 2] - pieces[:, 0])[:, 2] / 2
    assert len(areas) == 1 + sum(cut)
    assert (areas > 0).all()
    assert areas.sum() == pytest.approx(0.5)
