from dataclasses import dataclass

import numpy as np
import pytest
import torch
import trimesh

from avatar_core.errors import DivergenceError
from avatar_core.export.lens import Lens
from avatar_core.export.mesh import (
    components,
    decimate,
    extract_mesh,
    largest_component,
    ply_bytes,
    signed_volume,
    vertex_normals,
    with_surface_normals,
)
from avatar_core.export.repair import is_closed


@pytest.fixture(scope="module")
def man(capsule_man):
    return extract_mesh(capsule_man, voxel=0.012, faces=6000, texture_size=256)


@dataclass
class Field:
    """A surface made of a function."""

    function: object
    tint: object = None
    bounds = (torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([1.0, 1.0, 1.0]))

    def sdf(self, points):
        return self.function(points)

    def color(self, points):
        return torch.full((len(points), 3), 0.5) if self.tint is None else self.tint(points)


def test_the_mesh_is_one_closed_piece_that_faces_outward(man):
    assert is_closed(man.faces)
    assert components(len(man.vertices), man.faces) == 1
    assert signed_volume(man.vertices, man.faces) > 0
    assert trimesh.Trimesh(man.vertices, man.faces, process=False).is_watertight


def test_the_mesh_lies_on_the_surface(capsule_man, man):
    off = capsule_man.sdf(torch.from_numpy(man.vertices)).abs()
    assert float(off.mean()) < 0.001
    assert float(off.max()) < 0.006
    assert abs(man.vertices[:, 1].max() - 1.76) < 0.004
    assert abs(man.vertices[:, 1].min()) < 0.004


def test_normals_point_away_from_the_surface(capsule_man, man):
    step = torch.from_numpy(man.vertices + 0.02 * man.normals)
    outside = capsule_man.sdf(step) > 0.008
    assert float(outside.float().mean()) > 0.97
    np.testing.assert_allclose(np.linalg.norm(man.normals, axis=1), 1, atol=1e-5)


def test_colours_are_the_surface_s_at_the_vertices(capsule_man, man):
    np.testing.assert_array_equal(man.colors, capsule_man.color(torch.from_numpy(man.vertices)).numpy())


def test_loose_crumbs_are_left_out(littered_man, man):
    kept = extract_mesh(littered_man, voxel=0.012, faces=6000)
    assert kept.vertices[:, 0].max() < 0.66
    assert abs(signed_volume(kept.vertices, kept.faces) / signed_volume(man.vertices, man.faces) - 1) < 0.01


def test_the_face_count_is_what_was_asked(capsule_man):
    plain = extract_mesh(capsule_man, voxel=0.012, faces=2000)
    assert 1900 <= len(plain.faces) <= 2100
    coarse = extract_mesh(capsule_man, voxel=0.05, faces=10_000)
    assert len(coarse.faces) < 5000


def test_equal_fields_give_equal_bytes(capsule_man, man):
    again = extract_mesh(capsule_man, voxel=0.012, faces=6000, texture_size=256)
    assert ply_bytes(again) == ply_bytes(man)


def test_a_lens_moves_triangles_to_where_it_looks(capsule_man, man):
    center = (0.0, 1.64, 0.0)
    seen = extract_mesh(capsule_man, voxel=0.012, faces=6000, lens=Lens(center, 0.16, 2.5))
    plain = extract_mesh(capsule_man, voxel=0.012, faces=6000)

    def in_head(mesh):
        return int((np.linalg.norm(mesh.vertices - np.array(center), axis=1) < 0.13).sum())

    def texels_in_head(mesh):
        charts = mesh.texture.charts
        a, b, c = (charts.uvs[charts.face_uvs[:, i]] for i in range(3))
        area = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
        near = np.linalg.norm(mesh.vertices[mesh.faces].mean(1) - np.array(center), axis=1) < 0.13
        return area[near].sum() / area.sum()

    assert in_head(seen) > 2 * in_head(plain)
    assert texels_in_head(seen) > 2 * texels_in_head(plain)
    assert float(capsule_man.sdf(torch.from_numpy(seen.vertices)).abs().max()) < 0.006
    assert is_closed(seen.faces)


def test_a_mesh_takes_over_its_surface_s_normals_where_its_triangles_agree(man):
    @dataclass
    class Facing(Field):
        def normal(self, points):
            toward = torch.nn.functional.normalize(torch.from_numpy(man.normals) + 0.1, dim=1)
            return torch.where(points[:, 1:2] > 1.0, toward, -toward)

    shaded = with_surface_normals(man, Facing(None))
    upper = man.vertices[:, 1] > 1.0
    np.testing.assert_array_equal(shaded.normals[~upper], man.normals[~upper])
    np.testing.assert_allclose(np.linalg.norm(shaded.normals, axis=1), 1, atol=1e-5)
    turned = (shaded.normals[upper] * man.normals[upper]).sum(1)
    assert 0.97 < turned.mean() < 0.999
    assert shaded.vertices is man.vertices


def test_a_ply_holds_positions_normals_and_colours(man, tmp_path):
    path = tmp_path / "man.ply"
    path.write_bytes(ply_bytes(man))
    loaded = trimesh.load(path, process=False)
    np.testing.assert_allclose(loaded.vertices, man.vertices, atol=1e-6)
    np.testing.assert_allclose(loaded.visual.vertex_colors[:, :3] / 255, man.colors, atol=0.003)
    np.testing.assert_array_equal(loaded.faces, man.faces)


def test_a_field_without_a_surface_is_an_error_that_says_what_to_do():
    with pytest.raises(DivergenceError, match=r"no surface.*another seed"):
        extract_mesh(Field(lambda p: torch.ones(len(p))), voxel=0.1, faces=100)


def test_a_field_that_is_not_finite_is_an_error():
    with pytest.raises(DivergenceError, match="not finite"):
        extract_mesh(Field(lambda p: p.norm(dim=1) * torch.nan), voxel=0.1, faces=100)
    ball = Field(lambda p: p.norm(dim=1) - 0.5, tint=lambda p: torch.full((len(p), 3), torch.nan))
    with pytest.raises(DivergenceError, match="colour"):
        extract_mesh(ball, voxel=0.1, faces=100)


def test_the_largest_component_is_renumbered():
    box, ball = trimesh.creation.box(), trimesh.creation.icosphere(2)
    both = trimesh.util.concatenate([box, ball.apply_translation([5, 0, 0])])
    vertices, faces = largest_component(np.asarray(both.vertices), np.asarray(both.faces))
    assert len(vertices) == len(ball.vertices)
    np.testing.assert_allclose(vertices[faces].mean(), np.asarray(ball.vertices)[ball.faces].mean())


def test_decimation_keeps_volume_and_closedness():
    ball = trimesh.creation.icosphere(5)
    vertices, faces = decimate(np.asarray(ball.vertices), np.asarray(ball.faces, dtype=np.int32), 1000)
    assert len(faces) <= 1010
    assert is_closed(faces)
    assert abs(signed_volume(vertices, faces) / ball.volume - 1) < 0.02


def test_vertex_normals_of_a_ball_are_its_radii():
    ball = trimesh.creation.icosphere(3)
    normals = vertex_normals(np.asarray(ball.vertices), np.asarray(ball.faces))
    assert (normals * ball.vertices).sum(1).min() > 0.999
