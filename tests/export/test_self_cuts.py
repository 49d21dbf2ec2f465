"""Triangles that cut through others of the same mesh."""

import numpy as np
import pytest
import trimesh

from avatar_core.export.self_cuts import cut_triangles, cut_triangles_reference


def soup(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Small triangles at random places, some of which share corners."""
    generator = np.random.default_rng(seed)
    corners = np.repeat(generator.random((60, 1, 3)), 3, axis=1) + 0.15 * generator.random((60, 3, 3))
    faces = np.arange(180).reshape(60, 3)
    faces[1:30:3, 0] = faces[:29:3, 1]
    return corners.reshape(-1, 3), faces


@pytest.mark.parametrize("seed", range(4))
def test_the_kernel_finds_what_asking_every_edge_finds(seed):
    vertices, faces = soup(seed)
    found = cut_triangles(vertices, faces)
    np.testing.assert_array_equal(found, cut_triangles_reference(vertices, faces))
    assert 0 < found.sum() < len(faces)


def test_a_ball_does_not_cut_itself_and_two_that_overlap_do_along_their_circle():
    ball = trimesh.creation.icosphere(3)
    assert not cut_triangles(ball.vertices, ball.faces).any()
    moved = ball.copy().apply_translation([1.0, 0.03, 0.02])
    both = trimesh.util.concatenate([ball, moved])
    cut = cut_triangles(both.vertices, both.faces)
    places = both.triangles_center[cut]
    np.testing.assert_allclose(places[:, 0], 0.5, atol=0.13)
    assert 100 < cut.sum() < 300


def test_touching_is_not_cutting():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    fold = np.array([[0, 1, 2], [0, 1, 3]])
    assert not cut_triangles(vertices, fold).any()


def test_nothing_cuts_nothing():
    assert cut_triangles(np.zeros((0, 3)), np.zeros((0, 3), int)).shape == (0,)
