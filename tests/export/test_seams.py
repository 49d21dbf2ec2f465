"""Seams are found where charts part, and told by how much the texture differs across them."""

import numpy as np
import pytest
import trimesh

from avatar_core.export.seams import find_seams, seam_difference
from avatar_core.export.texels import Charts
from avatar_core.export.texture import bake, unwrap

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
HALVES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def test_two_triangles_that_lie_together_have_no_seam():
    charts = Charts(SQUARE[:, :2].copy(), HALVES, np.arange(4, dtype=np.int32))
    seams = find_seams(SQUARE, HALVES, charts)
    assert len(seams.length) == 0
    assert seam_difference(np.zeros((4, 4, 3), np.uint8), seams) == 0


def test_two_triangles_that_lie_apart_have_their_diagonal_as_seam():
    uvs = np.array([[0, 0.1], [0.4, 0.1], [0.4, 0.9], [0.6, 0.1], [1, 0.9], [0.6, 0.9]], np.float32)
    charts = Charts(uvs, np.array([[0, 1, 2], [3, 4, 5]], np.int32), np.array([0, 1, 2, 0, 2, 3], np.int32))
    seams = find_seams(SQUARE, HALVES, charts)
    np.testing.assert_allclose(seams.length, [2**0.5])
    np.testing.assert_allclose(seams.sides[0], [[[0, 0.1], [0.4, 0.9]], [[0.6, 0.1], [1, 0.9]]])
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = 51  # the second triangle's half of the image
    assert seam_difference(image, seams) == pytest.approx(0.2, abs=0.02)


def test_a_baked_ball_hardly_shows_its_seams():
    ball = trimesh.creation.icosphere(4, radius=0.5)
    vertices, faces = np.asarray(ball.vertices, np.float32), np.asarray(ball.faces, np.int32)
    charts = unwrap(vertices, faces, 256)
    texture = bake(lambda points: (points + 0.5).astype(np.float32), vertices, faces, charts, 256)
    seams = find_seams(vertices, faces, charts)
    assert len(seams.length) > 50
    assert seam_difference(texture.image, seams) < 0.005
    noise = np.random.default_rng(0).integers(0, 256, texture.image.shape).astype(np.uint8)
    assert seam_difference(noise, seams) > 0.1
