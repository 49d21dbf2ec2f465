"""A rigged, animated avatar as one binary glTF 2.0 file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pygltflib as gltf
from numpy.typing import NDArray

from avatar_core.export.bone_names import FILE_NAMES
from avatar_core.export.glb_buffer import GlbBuffer
from avatar_core.export.mesh import TriangleMesh
from avatar_core.export.provenance import GENERATOR
from avatar_core.export.skeleton import Skeleton
from avatar_core.rigging.clip import Clip
from avatar_core.rigging.skinning import Skin, deform

ROUGHNESS = 0.9
MATERIAL = "skin and clothes"
RestPose = Literal["A", "T"]
"""How an avatar stands when no clip plays: as it was made, arms hanging out to the sides, or with level arms."""
FIRST_BONE = 1
"""Node of the first bone; the others follow in the rig's order."""
TPOSE = "tpose"
"""Extra of a bone's node: the turn (x, y, z, w), in the world's axes, that takes it from the A-pose to the T-pose."""
_STILL = 1e-6
"""Change of a quaternion that is rounding: a bone that turns no more over a clip needs one key."""


def build_glb(
    mesh: TriangleMesh,
    skin: Skin,
    skeleton: Skeleton,
    clips: Mapping[str, Clip],
    *,
    name: str = "avatar",
    rest: RestPose = "A",
    extras: Mapping[str, object] | None = None,
) -> bytes:
    """Return the bytes of a GLB; arguments as in `build_document`. Equal inputs give equal bytes."""
    return document_bytes(build_document(mesh, skin, skeleton, clips, name=name, rest=rest, extras=extras))


def document_bytes(document: gltf.GLTF2) -> bytes:
    """Return a document with its buffer as one binary file."""
    return b"".join(document.save_to_bytes())


def build_document(
    mesh: TriangleMesh,
    skin: Skin,
    skeleton: Skeleton,
    clips: Mapping[str, Clip],
    *,
    name: str = "avatar",
    rest: RestPose = "A",
    extras: Mapping[str, object] | None = None,
) -> gltf.GLTF2:
    """Return a document with one mesh, one material, one skin of named bones and an animation for each clip.

    The mesh is stored in the A-pose and inverse bind matrices are translations only, whatever the rest pose: a clip
    looks the same to the last bit. Colours are a texture in the file, and so is the mesh's normal map, with tangents,
    where it has one. Each animation's extras hold `fps`, `loops` and `bounds`, the box that the mesh moves in, since
    an accessor's bounds are those of the A-pose.

    Args:
        mesh: in the A-pose, Y up, metres.
        skin: the mesh's weights.
        skeleton: its first bone is the root.
        clips: the animations by their names; viewers play the first one.
        name: of the mesh and scene.
        rest: how the bones stand when no clip plays.
        extras: JSON values kept in the asset (prompts, seed, keys, licences).
    """
    buffer = GlbBuffer()
    primitive = _primitive(buffer, mesh, skin)
    mesh_node = gltf.Node(name=name, mesh=0, skin=0)
    bones = _bone_nodes(skeleton) if rest == "A" else _tpose_nodes(skeleton, mesh, skin)
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(skeleton.names), 1, 1))
    # glTF stores matrices by column, so the translation is the last row of the array.
    inverse[:, 3, :3] = -skeleton.heads.astype(np.float32)
    document = gltf.GLTF2(
        asset=gltf.Asset(version="2.0", generator=GENERATOR, extras=dict(extras or {})),
        scene=0,
        scenes=[gltf.Scene(name=name, nodes=[0, FIRST_BONE])],
        nodes=[mesh_node, *bones],
        meshes=[gltf.Mesh(name=name, primitives=[primitive])],
        skins=[
            gltf.Skin(
                name="skeleton",
                skeleton=FIRST_BONE,
                joints=list(range(FIRST_BONE, FIRST_BONE + len(bones))),
                inverseBindMatrices=buffer.add(inverse),
            )
        ],
        animations=[_animation(buffer, clip, title, mesh, skin) for title, clip in clips.items()],
    )
    _add_material(document, buffer, mesh)
    document.bufferViews, document.accessors = buffer.views, buffer.accessors
    document.buffers = [gltf.Buffer(byteLength=len(buffer.data))]
    document.set_binary_blob(bytes(buffer.data))
    return document


def json_extras(values: Mapping[str, object]) -> dict[str, object]:
    """Return values as plain JSON in a fixed order; raises TypeError or ValueError on what JSON cannot hold."""
    return json.loads(json.dumps(values, sort_keys=True, allow_nan=False))


def _primitive(buffer: GlbBuffer, mesh: TriangleMesh, skin: Skin) -> gltf.Primitive:
    charts, vertex = mesh.texture.charts, gltf.ARRAY_BUFFER
    split = charts.vertex  # a vertex on a seam is written once for each of its places in the texture
    tangents = None if mesh.normal_map is None else buffer.add(mesh.normal_map.tangents, target=vertex)
    return gltf.Primitive(
        attributes=gltf.Attributes(
            POSITION=buffer.add(mesh.vertices[split].astype(np.float32), target=vertex, bounds=True),
            NORMAL=buffer.add(mesh.normals[split].astype(np.float32), target=vertex),
            TANGENT=tangents,
            TEXCOORD_0=buffer.add(charts.uvs, target=vertex),
            JOINTS_0=buffer.add(skin.joints[split].astype(np.uint8), target=vertex),
            WEIGHTS_0=buffer.add(skin.weights[split].astype(np.float32), target=vertex),
        ),
        indices=buffer.add(charts.face_uvs.astype(np.uint32).ravel(), target=gltf.ELEMENT_ARRAY_BUFFER),
        material=0,
        mode=gltf.TRIANGLES,
    )


def _add_material(document: gltf.GLTF2, buffer: GlbBuffer, mesh: TriangleMesh) -> None:
    """Add the one material with its pictures."""
    material = gltf.Material(
        name=MATERIAL,
        pbrMetallicRoughness=gltf.PbrMetallicRoughness(
            baseColorFactor=[1.0, 1.0, 1.0, 1.0],
            baseColorTexture=gltf.TextureInfo(index=0),
            metallicFactor=0.0,
            roughnessFactor=ROUGHNESS,
        ),
        alphaCutoff=None,
        alphaMode=gltf.OPAQUE,
    )
    pictures = {"albedo": mesh.texture.png()}
    if mesh.normal_map is not None:
        pictures["normals"] = mesh.normal_map.png()
        material.normalTexture = gltf.NormalMaterialTexture(index=1)
    document.materials = [material]
    document.images = [
        gltf.Image(name=picture, mimeType="image/png", bufferView=buffer.add_file(content))
        for picture, content in pictures.items()
    ]
    document.samplers = [
        gltf.Sampler(
            magFilter=gltf.LINEAR,
            minFilter=gltf.LINEAR_MIPMAP_LINEAR,
            wrapS=gltf.CLAMP_TO_EDGE,
            wrapT=gltf.CLAMP_TO_EDGE,
        )
    ]
    document.textures = [
        gltf.Texture(name=picture, sampler=0, source=index) for index, picture in enumerate(pictures)
    ]


def _bone_nodes(skeleton: Skeleton) -> list[gltf.Node]:
    nodes = [
        gltf.Node(
            name=FILE_NAMES[name],
            translation=_floats(offset),
            rotation=[0.0, 0.0, 0.0, 1.0],
            children=[FIRST_BONE + child for child, parent in enumerate(skeleton.parents) if parent == index],
        )
        for index, (name, offset) in enumerate(zip(skeleton.names, skeleton.offsets))
    ]
    for node, turn in zip(nodes, skeleton.tpose):
        if abs(turn[3]) < 1 - _STILL:
            node.extras = {TPOSE: _floats(turn)}
    return nodes


def _tpose_nodes(skeleton: Skeleton, mesh: TriangleMesh, skin: Skin) -> list[gltf.Node]:
    """Bones that rest in the T-pose, with the feet on the ground."""
    nodes, turns = _bone_nodes(skeleton), skeleton.local_tpose()
    root = skeleton.heads[:1].copy()
    standing = deform(mesh.vertices, skin, skeleton.transforms(turns[None], root))
    root[0, 1] -= float(standing[..., 1].min())
    for node, turn in zip(nodes, turns):
        node.rotation = _floats(turn)
    nodes[0].translation = _floats(root[0])
    return nodes


def _animation(buffer: GlbBuffer, clip: Clip, name: str, mesh: TriangleMesh, skin: Skin) -> gltf.Animation:
    times = (np.arange(len(clip)) / clip.fps).astype(np.float32)
    moving, still = buffer.add(times, bounds=True), buffer.add(times[:1], bounds=True)
    tracks = [("translation", 0, clip.root.astype(np.float32), moving)]
    for bone in range(clip.rotations.shape[1]):
        turns = clip.rotations[:, bone]
        changes = bool((np.abs(turns - turns[:1]) > _STILL).any())
        tracks.append(("rotation", bone, turns, moving) if changes else ("rotation", bone, turns[:1], still))
    low, high = clip.bounds(mesh.vertices, skin)
    return gltf.Animation(
        name=name,
        samplers=[
            gltf.AnimationSampler(input=keys, output=buffer.add(values), interpolation=gltf.ANIM_LINEAR)
            for _, _, values, keys in tracks
        ],
        channels=[
            gltf.AnimationChannel(sampler=index, target=gltf.AnimationChannelTarget(node=FIRST_BONE + bone, path=path))
            for index, (path, bone, _, _) in enumerate(tracks)
        ],
        extras={
            "fps": clip.fps,
            "loops": clip.loops,
            "bounds": {"min": _floats(low), "max": _floats(high)},
        },
    )


def _floats(values: NDArray[np.floating]) -> list[float]:
    """Numbers as a float32 holds them, so that text and buffers agree."""
    return [float(np.float32(value)) for value in values]
