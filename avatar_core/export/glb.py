"""A rigged, animated avatar as one binary glTF 2.0 file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pygltflib as gltf
from numpy.typing import NDArray

from avatar_core.bodies.rig import Rig
from avatar_core.export.mesh import TriangleMesh
from avatar_core.export.provenance import GENERATOR
from avatar_core.rigging.retarget import RiggedClip, bone_offsets
from avatar_core.rigging.skinning import Skin

ROUGHNESS = 0.9
_COMPONENT = {
    "uint8": gltf.UNSIGNED_BYTE,
    "uint16": gltf.UNSIGNED_SHORT,
    "uint32": gltf.UNSIGNED_INT,
    "float32": gltf.FLOAT,
}
_TYPE = {(): gltf.SCALAR, (2,): gltf.VEC2, (3,): gltf.VEC3, (4,): gltf.VEC4, (4, 4): gltf.MAT4}


@dataclass
class _Binary:
    """The one buffer of a GLB, and the views and accessors into it."""

    data: bytearray = field(default_factory=bytearray)
    views: list[gltf.BufferView] = field(default_factory=list)
    accessors: list[gltf.Accessor] = field(default_factory=list)

    def add(self, array: NDArray, *, target: int | None = None, bounds: bool = False, normalized: bool = False) -> int:
        """Append an array (N, ...) as an accessor of its own view; returns the accessor's index."""
        array = np.ascontiguousarray(array)
        self.data.extend(b"\0" * (-len(self.data) % 4))
        self.views.append(gltf.BufferView(buffer=0, byteOffset=len(self.data), byteLength=array.nbytes, target=target))
        flat = array.reshape(len(array), -1)
        self.accessors.append(
            gltf.Accessor(
                bufferView=len(self.views) - 1,
                componentType=_COMPONENT[array.dtype.name],
                normalized=normalized,
                count=len(array),
                type=_TYPE[array.shape[1:]],
                min=[float(v) for v in flat.min(axis=0)] if bounds else None,
                max=[float(v) for v in flat.max(axis=0)] if bounds else None,
            )
        )
        self.data.extend(array.tobytes())
        return len(self.accessors) - 1

    def add_file(self, content: bytes) -> int:
        """Append a file as a view of its own; returns the view's index."""
        self.data.extend(b"\0" * (-len(self.data) % 4))
        self.views.append(gltf.BufferView(buffer=0, byteOffset=len(self.data), byteLength=len(content)))
        self.data.extend(content)
        return len(self.views) - 1


def build_glb(
    mesh: TriangleMesh,
    skin: Skin,
    rig: Rig,
    clip: RiggedClip | None,
    *,
    name: str = "avatar",
    clip_name: str = "motion",
    extras: Mapping[str, object] | None = None,
) -> bytes:
    """Return the bytes of a GLB with one mesh, one skin of named bones and one animation.

    The nodes rest in the bind pose without rotation, so inverse bind matrices are translations only. Colours are
    a texture in the file, and so is the mesh's normal map, with tangents, where it has one. Equal inputs give equal
    bytes.

    Args:
        mesh: in the bind pose, Y up, metres.
        skin: the mesh's weights.
        rig: the skeleton; its first bone is the root.
        clip: the animation, or None for none.
        name: of the mesh and scene.
        clip_name: of the animation.
        extras: JSON values kept in the asset (prompts, seed, keys, licences).
    """
    binary = _Binary()
    primitive = _primitive(binary, mesh, skin)
    mesh_node = gltf.Node(name=name, mesh=0, skin=0)
    nodes = [mesh_node, *_bone_nodes(rig)]
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(rig.names), 1, 1))
    # glTF stores matrices by column, so the translation is the last row of the array.
    inverse[:, 3, :3] = -rig.heads.cpu().numpy().astype(np.float32)
    document = gltf.GLTF2(
        asset=gltf.Asset(version="2.0", generator=GENERATOR, extras=dict(extras or {})),
        scene=0,
        scenes=[gltf.Scene(name=name, nodes=[0, 1])],
        nodes=nodes,
        meshes=[gltf.Mesh(name=name, primitives=[primitive])],
        materials=[
            gltf.Material(
                name="skin and clothes",
                pbrMetallicRoughness=gltf.PbrMetallicRoughness(
                    baseColorFactor=[1.0, 1.0, 1.0, 1.0],
                    baseColorTexture=gltf.TextureInfo(index=0),
                    metallicFactor=0.0,
                    roughnessFactor=ROUGHNESS,
                ),
                alphaCutoff=None,
                alphaMode=gltf.OPAQUE,
            )
        ],
        skins=[
            gltf.Skin(
                name="skeleton",
                skeleton=1,
                joints=list(range(1, 1 + len(rig.names))),
                inverseBindMatrices=binary.add(inverse),
            )
        ],
        animations=[_animation(binary, clip, clip_name)] if clip is not None else [],
    )
    pictures = {"albedo": mesh.texture.png()}
    if mesh.normal_map is not None:
        pictures["normals"] = mesh.normal_map.png()
        document.materials[0].normalTexture = gltf.NormalMaterialTexture(index=1)
    document.images = [
        gltf.Image(name=picture, mimeType="image/png", bufferView=binary.add_file(content))
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
    document.bufferViews, document.accessors = binary.views, binary.accessors
    document.buffers = [gltf.Buffer(byteLength=len(binary.data))]
    document.set_binary_blob(bytes(binary.data))
    return b"".join(document.save_to_bytes())


def json_extras(values: Mapping[str, object]) -> dict[str, object]:
    """Return values as plain JSON in a fixed order; raises TypeError or ValueError on what JSON cannot hold."""
    return json.loads(json.dumps(values, sort_keys=True, allow_nan=False))


def _primitive(binary: _Binary, mesh: TriangleMesh, skin: Skin) -> gltf.Primitive:
    charts, vertex = mesh.texture.charts, gltf.ARRAY_BUFFER
    split = charts.vertex  # a vertex on a seam is written once for each of its places in the texture
    tangents = None if mesh.normal_map is None else binary.add(mesh.normal_map.tangents, target=vertex)
    return gltf.Primitive(
        attributes=gltf.Attributes(
            POSITION=binary.add(mesh.vertices[split].astype(np.float32), target=vertex, bounds=True),
            NORMAL=binary.add(mesh.normals[split].astype(np.float32), target=vertex),
            TANGENT=tangents,
            TEXCOORD_0=binary.add(charts.uvs, target=vertex),
            JOINTS_0=binary.add(skin.joints[split].astype(np.uint8), target=vertex),
            WEIGHTS_0=binary.add(skin.weights[split].astype(np.float32), target=vertex),
        ),
        indices=binary.add(charts.face_uvs.astype(np.uint32).ravel(), target=gltf.ELEMENT_ARRAY_BUFFER),
        material=0,
        mode=gltf.TRIANGLES,
    )


def _bone_nodes(rig: Rig) -> list[gltf.Node]:
    offsets = bone_offsets(rig)
    return [
        gltf.Node(
            name=name,
            translation=[float(np.float32(value)) for value in offsets[index]],
            rotation=[0.0, 0.0, 0.0, 1.0],
            children=[child + 1 for child, parent in enumerate(rig.parents) if parent == index],
        )
        for index, name in enumerate(rig.names)
    ]


def _animation(binary: _Binary, clip: RiggedClip, name: str) -> gltf.Animation:
    times = binary.add((np.arange(len(clip)) / clip.fps).astype(np.float32), bounds=True)
    tracks = [("translation", 0, clip.root.astype(np.float32))]
    tracks += [("rotation", bone, clip.rotations[:, bone]) for bone in range(clip.rotations.shape[1])]
    return gltf.Animation(
        name=name,
        samplers=[
            gltf.AnimationSampler(input=times, output=binary.add(values), interpolation=gltf.ANIM_LINEAR)
            for _, _, values in tracks
        ],
        channels=[
            gltf.AnimationChannel(sampler=index, target=gltf.AnimationChannelTarget(node=bone + 1, path=path))
            for index, (path, bone, _) in enumerate(tracks)
        ],
    )
