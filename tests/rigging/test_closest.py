import numpy as np
import trimesh

from avatar_core.rigging.closest import barycentric_closest, closest_points


def sampled_distance(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Distance of each point to its triangle, by trying many points of the triangle."""
    u, v = np.meshgrid(np.linspace(0, 1, 101), np.linspace(0, 1, 101))
    keep = u + v <= 1 + 1e-9
    weights = np.stack([1 - u[keep] - v[keep], u[keep], v[keep]], axis=1)
    tried = np.einsum("kc,ncd->nkd", weights, corners)
    return np.linalg.norm(points[:, None] - tried, axis=-1).min(axis=1)


def test_the_closest_point_of_a_triangle_is_found_inside_and_on_every_side():
    random = np.random.default_rng(0)
    corners, points = random.normal(size=(200, 3, 3)), 2 * random.normal(size=(200, 3))
    weights = barycentric_closest(points, corners)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(-1), 1)
    found = np.linalg.norm(points - (weights[..., None] * corners).sum(1), axis=1)
    expected = sampled_distance(points, corners)
    assert (found <= expected + 1e-9).all()
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_distances_to_a_mesh_match_a_search_over_all_its_triangles():
    ball = trimesh.creation.icosphere(3)
    points = np.random.default_rng(1).normal(size=(100, 3))
    found = closest_points(points, None, ball.vertices, ball.faces)
    corners = np.asarray(ball.vertices)[ball.faces]
    weights = barycentric_closest(points[:, None], np.broadcast_to(corners, (100, *corners.shape)))
    feet = (weights[..., None] * corners).sum(-2)
    np.testing.assert_allclose(found.distance, np.linalg.norm(points[:, None] - feet, axis=-1).min(1), atol=1e-9)


def test_of_two_near_sheets_the_one_that_faces_the_same_way_is_chosen():
    thighs = [trimesh.creation.box(extents=(0.1, 0.5, 0.1)).subdivide().subdivide() for _ in range(2)]
    thighs[1].apply_translation([0.11, 0, 0])
    both = trimesh.util.concatenate(thighs)
    point, outward = np.array([[0.056, 0, 0]]), np.array([[1.0, 0, 0]])
    blind = closest_points(point, None, both.vertices, both.faces)
    seeing = closest_points(point, outward, both.vertices, both.faces)
    assert blind.face[0] >= len(thighs[0].faces)
    assert seeing.face[0] < len(thighs[0].faces)


def test_no_points_give_no_answers():
    ball = trimesh.creation.icosphere(0)
    assert len(closest_points(np.zeros((0, 3)), None, ball.vertices, ball.faces).face) == 0
