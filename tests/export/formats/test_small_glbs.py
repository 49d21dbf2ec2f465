"""Levels of detail and compressed GLBs keep bones and clips, and are valid."""

import shutil

import pygltflib
import pytest

from avatar_core.export.finished import read_finished
from avatar_core.export.formats import draco, lods, meshopt
from avatar_core.export.formats.compression import PROGRAM

pytestmark = pytest.mark.service


def test_levels_of_detail_are_avatars_of_fewer_triangles(bob, tmp_path, validate_glb):
    lods.write(bob, tmp_path)
    paths = sorted(tmp_path.iterdir())
    levels = [read_finished(path) for path in paths]
    faces = [len(bob.mesh.faces), *(len(level.mesh.faces) for level in levels)]
    assert faces == sorted(faces, reverse=True)
    assert [round(count / faces[0], 2) for count in faces[1:]] == pytest.approx(lods.SHARES, rel=0.5)
    for path, level in zip(paths, levels):
        assert level.clips.keys() == bob.clips.keys()
        issues = validate_glb(path.read_bytes())
        assert (issues["numErrors"], issues["numWarnings"]) == (0, 0)


@pytest.mark.parametrize(
    ("module", "extension"),
    [(meshopt, "EXT_meshopt_compression"), (draco, "KHR_draco_mesh_compression")],
)
def test_compressed_files_are_smaller_and_keep_names_and_clips(bob, tmp_path, validate_glb, module, extension):
    if shutil.which(PROGRAM) is None:
        pytest.skip("gltf-transform is not installed: npm install --global @gltf-transform/cli")
    module.write(bob, tmp_path)
    content = (tmp_path / module.FILE).read_bytes()
    document = pygltflib.GLTF2.load_from_bytes(content)
    assert extension in document.extensionsUsed
    assert len(content) < 0.8 * len(bob.to_glb())
    assert [animation.name for animation in document.animations] == list(bob.clips)
    assert len(document.skins[0].joints) == len(bob.skeleton.names)
    assert "LeftHandIndex1" in {node.name for node in document.nodes}
    assert validate_glb(content)["numErrors"] == 0


@pytest.mark.parametrize("name", ["ada", "bob"])
def test_khronos_validator_has_nothing_to_say_about_finished_avatars(tiny_library, validate_glb, name):
    issues = validate_glb((tiny_library / f"avatars/{name}/avatar.glb").read_bytes())
    assert (issues["numErrors"], issues["numWarnings"], issues["messages"]) == (0, 0, [])
