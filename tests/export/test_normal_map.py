"""Normal maps give a coarse mesh the normals of the surface that it stands for."""

import io

import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.ndimage import distance_transform_edt

from avatar_core.errors import DivergenceError
from avatar_core.export.mesh import vertex_normals
from avatar_core.export.normal_map import NEUTRAL, REACH, bake_normals, encoded, in_frames
from avatar_core.export.tangents import frames
from avatar_core.export.texels import Atlas
from avatar_core.export.texture import unwrap

SIZE = 512


def height(directions: np.ndarray) -> np.ndarray:
    x, y, z = 9 * directions.T
    return 0.5 + 0.012 * np.sin(x) * np.sin(y + 1) * np.sin(z + 2)


def bumpy(points: np.ndarray) -> np.ndarray:
    """Exact unit normals of the ball of radius `height`, by the gradient of |p| - height(p / |p|)."""
    step, wide = 1e-5, points.astype(np.float64)

    def level(p):
        radius = np.linalg.norm(p, axis=1)
        return radius - height(p / radius[:, None])

    slope = np.stack([level(wide + step * axis) - level(wide - step * axis) for axis in np.eye(3)], axis=1)
    return (slope / np.linalg.norm(slope, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def low():
    """A ball of 1,280 triangles over bumps that they are too coarse for."""
    shape = trimesh.creation.icosphere(3)
    directions, faces = np.asarray(shape.vertices), np.asarray(shape.faces, np.int32)
    vertices = (directions * height(directions)[:, None]).astype(np.float32)
    return vertices, vertex_normals(vertices, faces), faces, unwrap(vertices, faces, SIZE)


@pytest.fixture(scope="module")
def baked(low):
    return bake_normals(bumpy, *low, SIZE)


def degrees(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip((a * b).sum(1), -1, 1)))


def shader(low, baked, u: np.ndarray, v: np.ndarray):
    """What an engine reads at places (L,) of the texture: world normals of the map and of the mesh, and the points."""
    vertices, normals, faces, charts = low
    places = Atlas(charts).at(u, v)
    row, column = ((part[places.seen] * SIZE).astype(int) for part in (v, u))
    local = baked.image[row, column] / 255 * 2 - 1
    axes = frames(normals, baked.tangents, faces, charts, places)
    world = np.einsum("mk,mkc->mc", local, axes)
    return world / np.linalg.norm(world, axis=1, keepdims=True), axes[:, 2], places.interpolate(vertices, faces)


def test_a_shader_sees_the_surface_s_normals_instead_of_the_mesh_s(low, baked):
    row, column = (part.ravel() for part in np.mgrid[:SIZE, :SIZE])
    world, own, points = shader(low, baked, (column + 0.5) / SIZE, (row + 0.5) / SIZE)
    expected = bumpy(points)
    assert degrees(world, expected).mean() < 0.4  # eight bits
    assert degrees(world, expected).max() < 1.5
    assert degrees(own, expected).mean() > 3


def test_between_texels_and_at_seams_too(low, baked):
    rng = np.random.default_rng(1)
    world, own, points = shader(low, baked, *rng.random((2, 20000)))
    off = degrees(world, bumpy(points))
    assert off.mean() < 0.2 * degrees(own, bumpy(points)).mean()
    assert np.quantile(off, 0.99) < 5


def test_between_charts_the_map_is_neutral_beyond_its_borders(low, baked):
    row, column = (part.ravel() for part in np.mgrid[:SIZE, :SIZE])
    seen = Atlas(low[3]).at((column + 0.5) / SIZE, (row + 0.5) / SIZE).seen.reshape(SIZE, SIZE)
    far = distance_transform_edt(~seen) > REACH
    assert far.any()
    assert (baked.image[far] == NEUTRAL).all()
    border = ~seen & ~far
    assert (baked.image[border] != NEUTRAL).any()  # what a bilinear sample at the border mixes in


def test_a_surface_that_is_the_mesh_gives_a_neutral_map(low):
    vertices, _, faces, charts = low
    axis = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    ball = bake_normals(lambda p: p / np.linalg.norm(p, axis=1, keepdims=True), vertices, axis, faces, charts, 128)
    assert np.abs(ball.image.astype(int) - NEUTRAL).max() <= 3  # interpolated normals are not quite the radii
    assert ball.relief_degrees() < 1


def test_normals_below_the_surface_leave_the_mesh_s_own(low):
    inward = bake_normals(lambda p: -p / np.linalg.norm(p, axis=1, keepdims=True), *low, 64)
    assert (inward.image == NEUTRAL).all()
    assert inward.relief_degrees() == 0


def test_slanted_frames_are_inverted_exactly():
    rng = np.random.default_rng(2)
    axes = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]]) + 0.1 * rng.standard_normal((100, 3, 3))
    axes /= np.linalg.norm(axes, axis=2, keepdims=True)
    axes[:, 1] = np.cross(axes[:, 2], axes[:, 0])
    axes[:, 1] /= np.linalg.norm(axes[:, 1], axis=1, keepdims=True)
    wanted = axes[:, 2] + 0.4 * rng.standard_normal((100, 3))
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    wanted[(wanted * axes[:, 2]).sum(1) < 0.6] = [0, 0, 1]
    world = np.einsum("mk,mkc->mc", in_frames(wanted, axes), axes)
    np.testing.assert_allclose(world / np.linalg.norm(world, axis=1, keepdims=True), wanted, atol=1e-5)


def test_colours_are_gltf_s():
    vectors = np.array([[0, 0, 1], [1, 0, 0], [-1, 0, 0], [0, 1, 0]], np.float32)
    np.testing.assert_array_equal(encoded(vectors), [[128, 128, 255], [255, 128, 128], [0, 128, 128], [128, 255, 128]])


def test_equal_surfaces_give_equal_files(low, baked):
    assert bake_normals(bumpy, *low, SIZE).png() == baked.png()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(baked.png()))), baked.image)


def test_normals_that_are_not_finite_are_an_error(low):
    with pytest.raises(DivergenceError, match="another seed"):
        bake_normals(lambda p: np.full_like(p, np.nan), *low, 64)
