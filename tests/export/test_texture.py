"""Charts that cover a mesh once, and textures that show its colours wherever they are sampled."""

import io

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from avatar_core.export.mesh import extract_mesh
from avatar_core.export.texture import bake, unwrap
from avatar_core.rendering.mesh_renderer import sample_texture

SIZE = 256


@pytest.fixture(scope="module")
def ball():
    shape = trimesh.creation.icosphere(4, radius=0.5)
    return np.asarray(shape.vertices, np.float32), np.asarray(shape.faces, np.int32)


@pytest.fixture(scope="module")
def charts(ball):
    return unwrap(*ball, SIZE)


def slopes(points: np.ndarray) -> np.ndarray:
    return (points + 0.5).astype(np.float32)


def halves(points: np.ndarray) -> np.ndarray:
    return np.where(points[:, :1] > 0, [[0.9, 0.1, 0.1]], [[0.1, 0.1, 0.9]]).astype(np.float32)


def surface_samples(ball, charts, count=4000):
    """Random points on the mesh, and where they lie in the texture."""
    rng = np.random.default_rng(0)
    face = rng.integers(0, len(ball[1]), count)
    weights = rng.dirichlet((1, 1, 1), count)[..., None]
    points = (ball[0][ball[1][face]] * weights).sum(1)
    return points, (charts.uvs[charts.face_uvs[face]] * weights).sum(1)


def sampled(texture, uvs):
    image = torch.from_numpy(texture.image).float() / 255
    return sample_texture(image, torch.from_numpy(uvs).float()).numpy()


def test_charts_belong_to_the_mesh_and_do_not_overlap(ball, charts):
    faces = ball[1]
    assert charts.face_uvs.shape == faces.shape
    np.testing.assert_array_equal(charts.vertex[charts.face_uvs], faces)
    assert charts.uvs.min() >= 0
    assert charts.uvs.max() <= 1
    a, b, c = (charts.uvs[charts.face_uvs[:, i]] for i in range(3))
    area = 0.5 * np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    assert 0.4 < area.sum() < 1
    assert area.min() > 0


def test_samples_show_the_colour_of_their_point(ball, charts):
    texture = bake(slopes, *ball, charts, SIZE)
    points, uvs = surface_samples(ball, charts)
    off = np.abs(sampled(texture, uvs) - slopes(points)).max(axis=1)
    assert np.quantile(off, 0.99) < 0.02
    assert off.max() < 0.06


def test_edges_are_smooth_and_in_place(ball, charts):
    texture = bake(halves, *ball, charts, SIZE)
    points, uvs = surface_samples(ball, charts)
    shown = sampled(texture, uvs)
    far = np.abs(points[:, 0]) > 0.02
    assert np.abs(shown - halves(points))[far].max() < 0.02
    between = (texture.image[..., 0] > 60) & (texture.image[..., 0] < 200)
    assert between.any()  # texels that the edge runs through are mixed


def test_texels_between_charts_continue_the_nearest_chart(ball, charts):
    texture = bake(lambda points: np.full((len(points), 3), 0.4, np.float32), *ball, charts, SIZE)
    assert (texture.image == 102).all()


def test_equal_meshes_give_equal_textures(ball, charts, capsule_man):
    again = unwrap(*ball, SIZE)
    np.testing.assert_array_equal(again.uvs, charts.uvs)
    np.testing.assert_array_equal(again.face_uvs, charts.face_uvs)
    assert bake(halves, *ball, again, SIZE).png() == bake(halves, *ball, charts, SIZE).png()


def test_a_png_holds_the_image(ball, charts):
    texture = bake(slopes, *ball, charts, SIZE)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(texture.png()))), texture.image)


def test_a_mesh_from_a_field_is_textured_to_a_texel(capsule_man):
    mesh = extract_mesh(capsule_man, voxel=0.015, faces=4000, texture_size=512)
    points, uvs = surface_samples((mesh.vertices, mesh.faces), mesh.texture.charts)
    expected = capsule_man.color(torch.from_numpy(points.astype(np.float32))).numpy()
    wrong = np.abs(sampled(mesh.texture, uvs) - expected).max(axis=1) > 0.1
    assert wrong.mean() < 0.03  # along the hems only
