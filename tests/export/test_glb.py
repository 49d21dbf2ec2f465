import io
import struct
from dataclasses import replace

import numpy as np
import pygltflib
import pytest
import torch
import trimesh
from PIL import Image

from avatar_core.bodies import load_body
from avatar_core.bodies.rig import BONE_NAMES, BONE_PARENTS
from avatar_core.export.bone_names import FILE_NAMES
from avatar_core.export.glb import build_glb, json_extras
from avatar_core.export.mesh import TriangleMesh, vertex_normals
from avatar_core.export.normal_map import bake_normals
from avatar_core.export.skeleton import Skeleton
from avatar_core.export.texture import bake, unwrap
from avatar_core.priors.bvh_joints import find_joints
from avatar_core.rigging.idle import idle
from avatar_core.rigging.retarget import RiggedClip, retarget
from avatar_core.rigging.self_contact import self_penetration
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
def standing(rigged) -> RiggedClip:
    mesh, skin, rig, _ = rigged
    return idle(load_body(), rig, mesh.vertices, skin)


@pytest.fixture(scope="module")
def parts(rigged, standing) -> tuple:
    mesh, skin, rig, clip = rigged
    return mesh, skin, Skeleton.of(rig), {"waving": clip, "idle": standing}


@pytest.fixture(scope="module")
def glb(parts) -> bytes:
    return build_glb(*parts, extras=json_extras(EXTRAS))


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


def played(document: pygltflib.GLTF2, frame: int | None, clip: int = 0) -> np.ndarray:
    """What an engine makes of the file: skinned vertices (V, 3) at a keyframe, or at rest where that is None."""
    skin = document.skins[0]
    local = {}
    for index in skin.joints:
        node = document.nodes[index]
        local[index] = [np.array(node.translation), np.array(node.rotation)]
    for channel in document.animations[clip].channels if frame is not None else []:
        track = values(document, document.animations[clip].samplers[channel.sampler].output)
        key = track[min(frame, len(track) - 1)].astype(float)  # a bone that keeps still has one key
        local[channel.target.node][0 if channel.target.path == "translation" else 1] = key
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


def test_there_is_one_mesh_one_material_one_skin_of_named_bones_and_the_clips(document, rigged):
    rig = rigged[2]
    assert len(document.meshes) == len(document.materials) == len(document.skins) == 1
    joints = document.skins[0].joints
    assert [document.nodes[index].name for index in joints] == [FILE_NAMES[name] for name in rig.names]
    for child, parent in enumerate(rig.parents):
        if parent >= 0:
            assert joints[child] in document.nodes[joints[parent]].children
    assert [animation.name for animation in document.animations] == ["waving", "idle"]
    assert document.asset.generator.startswith("avatar-foundry")
    assert document.asset.extras == EXTRAS


def test_bones_are_called_as_mixamo_calls_them(document):
    """What Unity, Unreal and retargeting add-ons look for; the prefix that Mixamo puts before does not count there."""
    wanted = {"Hips", "Spine", "Spine1", "Spine2", "Neck", "Head"}
    wanted |= {
        side + part
        for side in ("Left", "Right")
        for part in (
            "Shoulder", "Arm", "ForeArm", "Hand", "UpLeg", "Leg", "Foot", "ToeBase", "Eye",
            *(f"Hand{finger}{n}" for finger in ("Thumb", "Index", "Middle", "Ring", "Pinky") for n in (1, 2, 3)),
        )
    }  # fmt: skip
    nodes = document.nodes
    names = {nodes[index].name for index in document.skins[0].joints}
    assert names >= wanted
    assert all("Twist" in name for name in names - wanted)
    found = find_joints("avatar", [FILE_NAMES[name] for name in BONE_NAMES], BONE_PARENTS)
    assert BONE_NAMES[found.pelvis] == "pelvis"
    assert BONE_NAMES[found.sided["upper_arm"][0]] == "left_shoulder"
    assert BONE_NAMES[found.sided["collar"][1]] == "right_collar"
    assert BONE_NAMES[found.sided["toe"][1]] == "right_foot"


def test_weights_are_at_most_four_a_vertex_and_sum_to_one(document):
    attributes = document.meshes[0].primitives[0].attributes
    joints, weights = values(document, attributes.JOINTS_0), values(document, attributes.WEIGHTS_0)
    assert joints.shape == weights.shape
    assert joints.shape[1] == 4
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    assert (joints[weights == 0] == 0).all()


def test_an_engine_plays_what_was_rigged(document, rigged):
    mesh, skin, _, clip = rigged
    for frame in (0, 30, 59):
        expected = deform(mesh.vertices, skin, clip.transforms[frame])[mesh.texture.charts.vertex]
        np.testing.assert_allclose(played(document, frame), expected, atol=2e-4)


def test_the_rest_pose_is_the_mesh_s_own(document, rigged):
    mesh = rigged[0]
    np.testing.assert_allclose(played(document, None), mesh.vertices[mesh.texture.charts.vertex], atol=1e-5)


def test_a_t_pose_has_level_arms_feet_on_the_ground_and_the_same_clips(document, parts, rigged):
    level = pygltflib.GLTF2.load_from_bytes(build_glb(*parts, rest="T"))
    points = played(level, None)
    rig = rigged[2]
    lead = rigged[1].joints[rigged[0].texture.charts.vertex, 0]
    hands, shoulders = (
        points[np.isin(lead, [i for i, name in enumerate(rig.names) if name.startswith(prefix)])]
        for prefix in (("left_wrist", "left_index"), ("left_shoulder", "left_upper_arm"))
    )
    assert abs(hands[:, 1].mean() - shoulders[:, 1].mean()) < 0.05
    assert np.ptp(points[:, 0]) > 0.95 * np.ptp(points[:, 1])
    assert abs(points[:, 1].min()) < 1e-4
    for clip, frame in ((0, 30), (1, 60)):
        np.testing.assert_array_equal(played(level, frame, clip), played(document, frame, clip))


def test_idling_loops_without_a_jump_and_keeps_the_feet_where_they_are(document, standing, rigged):
    mesh, skin = rigged[:2]
    assert document.animations[1].extras["loops"]
    first, last = played(document, 0, 1), played(document, len(standing) - 1, 1)
    np.testing.assert_allclose(last, first, atol=1e-6)
    posed = np.concatenate(list(standing.posed(mesh.vertices, skin)))
    feet = mesh.vertices[:, 1] < 0.03
    assert np.abs(posed[:, feet] - posed[:1, feet]).max() < 1e-3
    assert abs(posed[..., 1].min()) < 1e-3
    assert 0.002 < np.abs(posed - posed[:1]).max() < 0.06
    hands = np.isin(skin.joints[:, 0], [20, 21])
    assert posed[:, hands, 1].mean() < 0.95 * posed[:, :, 1].max() - 0.7
    depth = self_penetration(
        mesh.vertices, rigged[2].shaped.joints.numpy(), skin.renamed(rigged[2].joint_of_bone), standing.transforms
    )
    assert depth.max() < 0.01


def test_animations_tell_the_box_that_the_mesh_moves_in(document, rigged):
    mesh, skin, _, clip = rigged
    told = document.animations[0].extras["bounds"]
    posed = deform(mesh.vertices, skin, clip.transforms)
    np.testing.assert_allclose(told["min"], posed.min((0, 1)), atol=1e-5)
    np.testing.assert_allclose(told["max"], posed.max((0, 1)), atol=1e-5)
    for animation in document.animations:
        for sampler in animation.samplers:
            times = document.accessors[sampler.input]
            keys = values(document, sampler.input)
            assert (times.min, times.max) == ([float(keys.min())], [float(keys.max())])


def test_keyframes_are_at_thirty_a_second_with_unit_quaternions_on_one_side(document):
    animation = document.animations[0]
    times = values(document, animation.samplers[0].input).ravel()
    np.testing.assert_allclose(times, np.arange(60) / 30, atol=1e-6)
    assert animation.extras["fps"] == 30
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


def test_a_mesh_without_a_normal_map_has_no_tangents(parts):
    plain = pygltflib.GLTF2.load_from_bytes(build_glb(replace(parts[0], normal_map=None), *parts[1:3], {}))
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


def test_equal_inputs_give_equal_bytes(glb, parts):
    assert build_glb(*parts, extras=json_extras(EXTRAS)) == glb


def test_a_still_avatar_has_no_animation(parts):
    still = pygltflib.GLTF2.load_from_bytes(build_glb(*parts[:3], {}))
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


@pytest.mark.service
@pytest.mark.parametrize("rest", ["A", "T"])
@pytest.mark.parametrize("what", ["all", "no normal map", "no clips"])
def test_khronos_validator_has_nothing_to_say(parts, validate_glb, rest, what):
    mesh, skin, skeleton, clips = parts
    mesh = replace(mesh, normal_map=None) if what == "no normal map" else mesh
    clips = {} if what == "no clips" else clips
    issues = validate_glb(build_glb(mesh, skin, skeleton, clips, rest=rest, extras=json_extras(EXTRAS)))
    assert (issues["numErrors"], issues["numWarnings"], issues["messages"]) == (0, 0, [])
