import io
import json
import os
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import torch
import trimesh
from PIL import Image

from avatar_core.bodies import load_body
from avatar_core.bodies.skeleton import JOINT_NAMES
from avatar_core.export.glb import build_glb, json_extras
from avatar_core.export.mesh import TriangleMesh, vertex_normals
from avatar_core.export.normal_map import bake_normals
from avatar_core.export.texture import bake, unwrap
from avatar_core.rigging.retarget import retarget
from avatar_core.rigging.skinning import deform, strongest

EXTRAS = {"prompts": {"shape": "a man", "motion": "waving ☂"}, "seed": 7, "keys": {"motion": "ab" * 16}}


def two_colors(points: np.ndarray) -> np.ndarray:
    return np.where(points[:, 1:2] > 1, [[0.8, 0.1, 0.1]], [[0.1, 0.2, 0.8]]).astype(np.float32)


def ribbed(points: np.ndarray) -> np.ndarray:
    """Normals that lean up and down in turn, every few centimetres of height."""
    normals = points * [1, 0, 1] + 1e-3
    normals[:, 1] = 0.1 * np.sin(300 * points[:, 1])
    return (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def rigged():
    """The body itself, in two colours, with ribs in its normal map, waving."""
    body = load_body()
    shaped = body.shape(body.neutral_shape)
    vertices, faces = shaped.vertices.numpy(), body.faces.numpy().astype(np.int32)
    texture = bake(two_colors, vertices, faces, unwrap(vertices, faces, 256), 256)
    normals = vertex_normals(vertices, faces)
    relief = bake_normals(ribbed, vertices, normals, faces, texture.charts, 128)
    mesh = TriangleMesh(vertices, faces, normals, two_colors(vertices), texture, relief)
    rig = body.rig(shaped)
    skin = strongest(rig.weights.double().numpy())
    poses = torch.zeros(60, 22, 3)
    poses[:, 16, 2] = torch.linspace(0, 5, 60)
    poses[:, 5, 0] = torch.linspace(0, 1, 60)
    translation = torch.tensor([0.0, 0.92, 0.0]) + torch.linspace(0, 1, 60)[:, None] * torch.tensor([0.2, 0, 1])
    clip = retarget(body, rig, poses, translation, vertices, skin)
    return mesh, skin, rig, clip


@pytest.fixture(scope="module")
def glb(rigged) -> bytes:
    return build_glb(*rigged, clip_name="waving", extras=json_extras(EXTRAS))


@pytest.fixture(scope="module")
def document(glb) -> pygltflib.GLTF2:
    return pygltflib.GLTF2.load_from_bytes(glb)


def values(document: pygltflib.GLTF2, index: int) -> np.ndarray:
    accessor = document.accessors[index]
    view = document.bufferViews[accessor.bufferView]
    kinds = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor.type]
    blob = document.binary_blob()
    raw = np.frombuffer(blob, kinds[accessor.componentType], accessor.count * width, view.byteOffset)
    return raw.reshape(accessor.count, width)


def picture(document: pygltflib.GLTF2, info) -> np.ndarray:
    """The image (H, W, 3) that a material's texture shows."""
    image = document.images[document.textures[info.index].source]
    view = document.bufferViews[image.bufferView]
    blob = document.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    return np.asarray(Image.open(io.BytesIO(blob)))


def rotation(quaternion: np.ndarray) -> np.ndarray:
    return trimesh.transformations.quaternion_matrix(quaternion[[3, 0, 1, 2]])


def played(document: pygltflib.GLTF2, frame: int) -> np.ndarray:
    """What an engine makes of the file: skinned vertices (V, 3) at a keyframe."""
    skin, animation = document.skins[0], document.animations[0]
    local = {}
    for index in skin.joints:
        node = document.nodes[index]
        local[index] = [np.array(node.translation), np.array(node.rotation)]
    for channel in animation.channels:
        track = values(document, animation.samplers[channel.sampler].output)[frame]
        local[channel.target.node][0 if channel.target.path == "translation" else 1] = track.astype(float)
    world: dict[int, np.ndarray] = {}

    def visit(index: int, parent: np.ndarray) -> None:
        matrix = rotation(local[index][1])
        matrix[:3, 3] = local[index][0]
        world[index] = parent @ matrix
        for child in document.nodes[index].children:
            visit(child, world[index])

    visit(skin.skeleton, np.eye(4))
    inverse = values(document, skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
    matrices = np.stack([world[index] for index in skin.joints]) @ inverse
    primitive = document.meshes[0].primitives[0].attributes
    joints, weights = values(document, primitive.JOINTS_0), values(document, primitive.WEIGHTS_0)
    points = np.pad(values(document, primitive.POSITION), ((0, 0), (0, 1)), constant_values=1)
    return np.einsum("vk,vkab,vb->va", weights, matrices[joints], points)[:, :3]


def test_there_is_one_mesh_one_skin_of_named_bones_and_one_clip(document, rigged):
    rig = rigged[2]
    assert len(document.meshes) == len(document.skins) == len(document.animations) == 1
    joints = document.skins[0].joints
    assert [document.nodes[index].name for index in joints] == list(rig.names)
    assert list(rig.names)[:22] == list(JOINT_NAMES)
    for child, parent in enumerate(rig.parents):
        if parent >= 0:
            assert joints[child] in document.nodes[joints[parent]].children
    assert document.animations[0].name == "waving"
    assert document.asset.generator.startswith("avatar-foundry")
    assert document.asset.extras == EXTRAS


def test_an_engine_plays_what_was_rigged(document, rigged):
    mesh, skin, _, clip = rigged
    for frame in (0, 30, 59):
        expected = deform(mesh.vertices, skin, clip.transforms[frame])[mesh.texture.charts.vertex]
        np.testing.assert_allclose(played(document, frame), expected, atol=2e-4)


def test_keyframes_are_at_thirty_a_second_with_unit_quaternions_on_one_side(document):
    animation = document.animations[0]
    times = values(document, animation.samplers[0].input).ravel()
    np.testing.assert_allclose(times, np.arange(60) / 30, atol=1e-6)
    for channel in animation.channels:
        sampler = animation.samplers[channel.sampler]
        assert sampler.interpolation == "LINEAR"
        if channel.target.path == "rotation":
            track = values(document, sampler.output)
            np.testing.assert_allclose(np.linalg.norm(track, axis=1), 1, atol=1e-6)
            assert ((track[1:] * track[:-1]).sum(1) > 0).all()


def test_the_texture_in_the_file_shows_the_mesh_s_colours_at_its_coordinates(document, rigged):
    mesh = rigged[0]
    pixels = picture(document, document.materials[0].pbrMetallicRoughness.baseColorTexture) / 255
    primitive = document.meshes[0].primitives[0]
    uvs = values(document, primitive.attributes.TEXCOORD_0)
    places = values(document, primitive.attributes.POSITION)
    row, column = (np.clip((uvs[:, i] * 256).astype(int), 0, 255) for i in (1, 0))
    far = np.abs(places[:, 1] - 1) > 0.03
    wrong = np.abs(pixels[row, column] - two_colors(places)).max(axis=1) > 0.02
    assert wrong[far].mean() < 0.01  # corners of charts that are smaller than a texel
    assert len(mesh.vertices) < len(places) < 1.8 * len(mesh.vertices)


def test_the_normal_map_in_the_file_comes_with_tangents(document, rigged):
    mesh = rigged[0]
    np.testing.assert_array_equal(picture(document, document.materials[0].normalTexture), mesh.normal_map.image)
    attributes = document.meshes[0].primitives[0].attributes
    tangents, normals = values(document, attributes.TANGENT), values(document, attributes.NORMAL)
    np.testing.assert_array_equal(tangents, mesh.normal_map.tangents)
    np.testing.assert_allclose(np.linalg.norm(tangents[:, :3], axis=1), 1, atol=1e-5)
    assert np.abs((tangents[:, :3] * normals).sum(1)).max() < 1e-4


def test_a_mesh_without_a_normal_map_has_no_tangents(rigged):
    plain = pygltflib.GLTF2.load_from_bytes(build_glb(replace(rigged[0], normal_map=None), *rigged[1:3], None))
    assert plain.materials[0].normalTexture is None
    assert plain.meshes[0].primitives[0].attributes.TANGENT is None
    assert [image.name for image in plain.images] == ["albedo"]


def test_bounds_and_sizes_are_declared_as_they_are(document, rigged):
    accessor = document.accessors[document.meshes[0].primitives[0].attributes.POSITION]
    np.testing.assert_array_equal(np.float32(accessor.min), rigged[0].vertices.min(0))
    np.testing.assert_array_equal(np.float32(accessor.max), rigged[0].vertices.max(0))
    assert document.buffers[0].byteLength == len(document.binary_blob())
    assert all(view.byteOffset % 4 == 0 for view in document.bufferViews)


def test_trimesh_reads_the_same_mesh_y_up(glb, rigged):
    scene = trimesh.load(trimesh.util.wrap_as_stream(glb), file_type="glb", process=False)
    (loaded,) = scene.geometry.values()
    assert loaded.faces.shape == rigged[0].faces.shape
    np.testing.assert_allclose(scene.extents, np.ptp(rigged[0].vertices, axis=0), atol=1e-4)
    assert scene.extents.argmax() == 1


def test_equal_inputs_give_equal_bytes(glb, rigged):
    assert build_glb(*rigged, clip_name="waving", extras=json_extras(EXTRAS)) == glb


def test_a_still_avatar_has_no_animation(rigged):
    still = pygltflib.GLTF2.load_from_bytes(build_glb(*rigged[:3], None))
    assert not still.animations
    assert len(still.skins) == 1


def test_the_container_is_well_formed(glb):
    magic, version, length = struct.unpack("<4sII", glb[:12])
    assert (magic, version, length) == (b"glTF", 2, len(glb))
    assert length % 4 == 0


def test_extras_hold_only_what_json_can():
    assert json_extras({"b": 1, "a": [1.5]}) == {"a": [1.5], "b": 1}
    with pytest.raises(ValueError, match="JSON"):
        json_extras({"score": float("nan")})


VALIDATE = """
const validator = require('gltf-validator');
validator.validateBytes(new Uint8Array(require('fs').readFileSync(process.argv[1])))
  .then(report => console.log(JSON.stringify(report.issues)));
"""


@pytest.mark.service
def test_khronos_validator_has_nothing_to_say(glb, tmp_path):
    """Needs node and `npm i gltf-validator`, in a folder named by GLTF_VALIDATOR or where node looks."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    places = [Path(os.environ["GLTF_VALIDATOR"]) / "node_modules"] if "GLTF_VALIDATOR" in os.environ else []
    environment = os.environ | {"NODE_PATH": os.pathsep.join([*map(str, places), os.environ.get("NODE_PATH", "")])}
    found = subprocess.run([node, "-e", "require('gltf-validator')"], env=environment, capture_output=True, check=False)
    if found.returncode:
        pytest.skip("npm's gltf-validator is not installed; set GLTF_VALIDATOR to the folder where it is")
    path = tmp_path / "avatar.glb"
    path.write_bytes(glb)
    done = subprocess.run(
        [node, "-e", VALIDATE, str(path)], env=environment, capture_output=True, check=True, text=True
    )
    issues = json.loads(done.stdout)
    assert (issues["numErrors"], issues["numWarnings"], issues["messages"]) == (0, 0, [])
