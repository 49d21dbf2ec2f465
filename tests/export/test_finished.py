"""A GLB read back is the avatar that was written."""

import json
import struct

import numpy as np
import pygltflib
import pytest

from avatar_core.errors import ArtifactError
from avatar_core.export.finished import parse_finished, read_finished
from avatar_core.export.glb import build_glb
from avatar_core.export.level_of_detail import reduced
from avatar_core.export.mesh import components, signed_volume
from avatar_core.export.repair import is_closed
from avatar_core.rigging.skinning import edge_stretch


def test_an_avatar_is_read_as_it_was_written(ada, tiny_library):
    report = json.loads((tiny_library / "avatars/ada/report.json").read_bytes())
    vertices, faces, _ = ada.welded
    assert len(ada.mesh.faces) == len(faces) == report["mesh"]["faces"]
    assert is_closed(faces) == report["mesh"]["watertight"]
    assert list(ada.clips) == ["walking", "idle"]
    assert len(ada.clips["walking"]) == report["motion"]["frames"]
    assert ada.prompts == report["prompts"]
    assert np.ptp(vertices[:, 1]) == pytest.approx(report["mesh"]["height_m"], abs=1e-5)
    posed = np.concatenate(list(ada.clips["walking"].posed(ada.mesh.vertices, ada.skin)))
    stretch = edge_stretch(vertices, faces, posed[:, ada.welded[2]])
    assert stretch.max() == pytest.approx(report["skin"]["worst_stretch"], rel=1e-3)


def test_writing_what_was_read_gives_the_same_bytes(ada, tiny_library):
    written = (tiny_library / "avatars/ada/avatar.glb").read_bytes()
    again = parse_finished(ada.to_glb(), name="ada", source="memory")
    assert again.to_glb() == ada.to_glb()
    first, second = (pygltflib.GLTF2.load_from_bytes(content) for content in (written, ada.to_glb()))
    assert [node.name for node in first.nodes[1:]] == [node.name for node in second.nodes[1:]]
    for one, other in zip(first.nodes[1:], second.nodes[1:]):
        assert (one.rotation, one.extras) == (other.rotation, other.extras)
        np.testing.assert_allclose(one.translation, other.translation, atol=1e-7)
    np.testing.assert_array_equal(ada.mesh.texture.image, again.mesh.texture.image)


def test_an_avatar_that_rests_in_the_t_pose_stays_so(ada):
    level = build_glb(ada.mesh, ada.skin, ada.skeleton, ada.clips, rest="T")
    read = parse_finished(level, name="ada", source="memory")
    assert (ada.rest, read.rest) == ("A", "T")
    np.testing.assert_array_equal(read.clips["walking"].transforms, ada.clips["walking"].transforms)


def damaged(content: bytes, change) -> bytes:
    length = struct.unpack("<I", content[12:16])[0]
    document = json.loads(content[20 : 20 + length])
    change(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + length :]
    header = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON")
    return header + text + rest


def forget_a_bone(document):
    document["nodes"][5]["name"] = "Tail"


def point_outside(document):
    document["bufferViews"][0]["byteOffset"] = 1 << 30


def too_many(document):
    document["accessors"][0]["count"] = 1 << 28


def no_texture(document):
    del document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]


def swap_indices(document):
    primitive = document["meshes"][0]["primitives"][0]
    primitive["indices"] = primitive["attributes"]["POSITION"]


@pytest.mark.parametrize("change", [forget_a_bone, point_outside, too_many, no_texture, swap_indices])
def test_damaged_files_are_named_with_a_remedy(tiny_library, tmp_path, change):
    path = tmp_path / "avatar.glb"
    path.write_bytes(damaged((tiny_library / "avatars/ada/avatar.glb").read_bytes(), change))
    with pytest.raises(ArtifactError, match=r"avatar\.glb: not an avatar .* make it again"):
        read_finished(path)


@pytest.mark.parametrize("content", [b"", b"glTF", b"\x89PNG\r\n" + bytes(100)])
def test_other_files_are_no_avatars(tmp_path, content):
    path = tmp_path / "avatar.glb"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="make it again"):
        read_finished(path)
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_finished(tmp_path / "none.glb")


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_level_of_detail_looks_and_moves_like_the_whole(ada, share):
    mesh, skin = reduced(ada, share)
    whole, triangles, _ = ada.welded
    assert 0.7 * share < len(mesh.faces) / len(triangles) < 1.7 * share
    assert is_closed(mesh.faces)
    assert components(len(mesh.vertices), mesh.faces) == 1
    assert signed_volume(mesh.vertices, mesh.faces) == pytest.approx(signed_volume(whole, triangles), rel=0.15)
    np.testing.assert_allclose(mesh.colors.mean(0), ada.mesh.colors.mean(0), atol=0.06)
    np.testing.assert_allclose(skin.weights.sum(1), 1, atol=1e-6)
    clip = ada.clips["walking"]
    low, high = clip.bounds(mesh.vertices, skin)
    whole_low, whole_high = clip.bounds(ada.mesh.vertices, ada.skin)
    np.testing.assert_allclose([low, high], [whole_low, whole_high], atol=0.05)
    assert mesh.normal_map.image.shape[0] <= ada.mesh.normal_map.image.shape[0]
    assert mesh.normal_map.relief_degrees() > 0
