"""OBJ and PLY show the same mesh and colours as the GLB."""

import numpy as np
import pytest
import trimesh

from avatar_core.export.finished import texture_colors
from avatar_core.export.formats import obj, ply


def test_obj_is_the_closed_mesh_with_its_texture(ada, tmp_path):
    obj.write(ada, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"avatar.obj", "avatar.mtl", "albedo.png"}
    loaded = trimesh.load(tmp_path / "avatar.obj", force="mesh")
    assert len(loaded.faces) == len(ada.mesh.faces)
    np.testing.assert_allclose(loaded.bounds, [ada.mesh.vertices.min(0), ada.mesh.vertices.max(0)], atol=1e-5)
    image = np.asarray(loaded.visual.material.image.convert("RGB"))
    np.testing.assert_array_equal(image, ada.mesh.texture.image)
    found = texture_colors(image, loaded.visual.uv * [1, -1] + [0, 1])
    nearest = [np.linalg.norm(ada.mesh.vertices - place, axis=1).argmin() for place in loaded.vertices[::50]]
    same = np.abs(found[::50] - ada.mesh.colors[nearest]).max(1) < 0.1
    assert same.mean() > 0.9  # vertices on seams have several places in the texture


def test_obj_names_each_vertex_once_however_many_places_it_has_in_the_texture(ada, tmp_path):
    obj.write(ada, tmp_path)
    lines = (tmp_path / "avatar.obj").read_text().splitlines()
    count = {kind: sum(line.startswith(kind + " ") for line in lines) for kind in ("v", "vt", "vn", "f")}
    assert count["v"] == count["vn"] == len(np.unique(ada.mesh.vertices, axis=0))
    assert count["vt"] == len(ada.mesh.texture.charts.uvs)
    assert count["f"] == len(ada.mesh.faces)


def test_ply_has_the_colours_of_the_texture(bob, tmp_path):
    ply.write(bob, tmp_path)
    loaded = trimesh.load(tmp_path / "mesh.ply", process=False)
    np.testing.assert_allclose(loaded.vertices, bob.mesh.vertices, atol=1e-6)
    np.testing.assert_allclose(loaded.visual.vertex_colors[:, :3] / 255, bob.mesh.colors, atol=0.003)
    assert loaded.visual.vertex_colors[:, :3].std() == pytest.approx(255 * bob.mesh.colors.std(), rel=0.05)
