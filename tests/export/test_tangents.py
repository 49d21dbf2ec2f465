"""Tangents that a shader of glTF can trust: unit, upright, of the right hand, one for each side of a seam."""

import numpy as np
import pytest
import trimesh

from avatar_core.export.mesh import vertex_normals
from avatar_core.export.tangents import frames, vertex_tangents
from avatar_core.export.texels import Atlas, Charts
from avatar_core.export.texture import unwrap

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
HALVES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
UP = np.tile(np.array([[0, 0, 1]], np.float32), (4, 1))
ONE = np.arange(4, dtype=np.int32)


def square(uvs) -> Charts:
    return Charts(np.array(uvs, np.float32), HALVES, ONE)


@pytest.fixture(scope="module")
def ball():
    shape = trimesh.creation.icosphere(3, radius=0.5)
    vertices, faces = np.asarray(shape.vertices, np.float32), np.asarray(shape.faces, np.int32)
    charts = unwrap(vertices, faces, 256)
    normals = vertex_normals(vertices, faces)
    return vertices, normals, faces, charts, vertex_tangents(vertices, normals, faces, charts)


def test_a_picture_that_hangs_upright_has_its_tangent_to_the_right():
    tangents = vertex_tangents(SQUARE, UP, HALVES, square([[0, 1], [1, 1], [1, 0], [0, 0]]))
    np.testing.assert_allclose(tangents, np.tile([[1, 0, 0, 1]], (4, 1)), atol=1e-6)


def test_a_mirrored_picture_has_the_other_hand():
    tangents = vertex_tangents(SQUARE, UP, HALVES, square([[1, 1], [0, 1], [0, 0], [1, 0]]))
    np.testing.assert_allclose(tangents, np.tile([[-1, 0, 0, -1]], (4, 1)), atol=1e-6)


def test_a_turned_picture_turns_its_tangent():
    tangents = vertex_tangents(SQUARE, UP, HALVES, square([[0, 0], [0, 1], [1, 1], [1, 0]]))
    np.testing.assert_allclose(tangents, np.tile([[0, 1, 0, 1]], (4, 1)), atol=1e-6)


def test_tangents_are_unit_and_upright_whatever_the_charts(ball):
    _, normals, _, charts, tangents = ball
    assert tangents.shape == (len(charts.uvs), 4)
    np.testing.assert_allclose(np.linalg.norm(tangents[:, :3], axis=1), 1, atol=1e-5)
    assert np.abs((tangents[:, :3] * normals[charts.vertex]).sum(1)).max() < 1e-5
    assert set(np.unique(tangents[:, 3])) <= {-1.0, 1.0}


def test_frames_point_along_the_image_s_axes(ball):
    vertices, normals, faces, charts, tangents = ball
    atlas = Atlas(charts)
    rng = np.random.default_rng(0)
    u, v = rng.random((2, 4000))
    here = atlas.at(u, v)
    step = 1e-3
    for axis, (du, dv) in enumerate(((step, 0), (0, -step))):
        there = atlas.at(u + du, v + dv)
        both = here.seen & there.seen
        start = here.interpolate(vertices, faces)[both[here.seen]]
        end = there.interpolate(vertices, faces)[both[there.seen]]
        moved = end - start
        near = np.linalg.norm(moved, axis=1) < 0.01  # not across a gap between charts
        way = moved[near] / np.linalg.norm(moved[near], axis=1, keepdims=True)
        turned = frames(normals, tangents, faces, charts, here)[both[here.seen]][near, axis]
        assert (way * turned).sum(1).mean() > 0.98


def test_a_uv_without_area_still_has_a_tangent():
    tangents = vertex_tangents(SQUARE, UP, HALVES, square([[0.5, 0.5]] * 4))
    np.testing.assert_allclose(np.linalg.norm(tangents[:, :3], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(tangents[:, 2], 0, atol=1e-6)
