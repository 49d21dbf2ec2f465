"""A finished avatar, read back from its GLB: what every other format is written from."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib as gltf
from numpy.typing import NDArray

from avatar_core.bodies.armatures import ARMATURES
from avatar_core.errors import ArtifactError
from avatar_core.export.bone_names import FILE_NAMES
from avatar_core.export.glb import TPOSE, RestPose, build_glb
from avatar_core.export.glb_buffer import COMPONENTS, SHAPES
from avatar_core.export.mesh import TriangleMesh
from avatar_core.export.normal_map import NormalMap
from avatar_core.export.skeleton import Skeleton
from avatar_core.export.texels import Charts
from avatar_core.export.texture import Texture
from avatar_core.pictures import open_png
from avatar_core.rigging.clip import Clip
from avatar_core.rigging.skinning import Skin, deform

MAX_BYTES = 1 << 30
"""Of a file that is read."""
FASTEST = 1000
"""Frames a second of a clip, at most."""
FARTHEST = 1000.0
"""Metres from the origin, of bones and of a clip."""
_NUMBERS = {number: np.dtype(name) for name, number in COMPONENTS.items()}
_ELEMENTS = {name: shape for shape, name in SHAPES.items()}
_TORN = (
    KeyError, IndexError, TypeError, ValueError, AttributeError, OSError, OverflowError, RecursionError, struct.error,
    AssertionError, ArithmeticError,
)  # fmt: skip
"""What parts of a damaged document raise when they are looked up."""


@dataclass(frozen=True)
class FinishedAvatar:
    """A skinned, textured mesh in the A-pose with its clips."""

    name: str
    mesh: TriangleMesh
    """Its vertices are split at the texture's seams."""
    skin: Skin
    skeleton: Skeleton
    clips: Mapping[str, Clip]
    """By name; the first is the prompt's."""
    extras: Mapping[str, Any]
    """What the file says of its making: prompts, seed, keys, weights with their licences."""
    rest: RestPose = "A"
    """How it stands when no clip plays."""

    @property
    def prompts(self) -> Mapping[str, str]:
        """The row's texts by column; empty where the file does not say."""
        prompts = self.extras.get("prompts")
        return prompts if isinstance(prompts, dict) else {}

    def to_glb(self) -> bytes:
        """Return the avatar as a GLB like the one that it was read from."""
        return build_glb(
            self.mesh, self.skin, self.skeleton, self.clips, name=self.name, rest=self.rest, extras=self.extras
        )

    @property
    def pelvis_height(self) -> float:
        """Height of the pelvis over the soles in the T-pose, metres."""
        level = self.skeleton.transforms(self.skeleton.local_tpose()[None], np.zeros((1, 3)))
        return -float(deform(self.mesh.vertices, self.skin, level)[..., 1].min())

    @property
    def welded(self) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]:
        """The mesh without its seams: vertices (W, 3), faces (F, 3), and the row of each in the split vertices."""
        _, rows, back = np.unique(self.mesh.vertices, axis=0, return_index=True, return_inverse=True)
        return self.mesh.vertices[rows], back.reshape(-1)[self.mesh.faces].astype(np.int32), rows


def read_finished(path: Path, *, name: str = "avatar") -> FinishedAvatar:
    """Read a GLB that this project's export wrote.

    Raises ArtifactError when it cannot be read, is damaged, or was written by something else.
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); make the avatar again") from error
    return parse_finished(content, name=name, source=str(path))


def parse_finished(content: bytes, *, name: str, source: str) -> FinishedAvatar:
    """Read the bytes of a GLB that this project's export wrote, called `source` in messages; see `read_finished`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it says of a damaged file, the error below says once
            document = gltf.GLTF2.load_from_bytes(content)
        if document is None:
            raise ValueError("it is no GLB")
        return _avatar(_Document(document), name)
    except _TORN as error:
        raise ArtifactError(
            f"{source}: not an avatar that this version exports ({error}); make it again: the same `avatars run` or "
            "`avatars make` only computes what is missing"
        ) from error


class _Document:
    """The arrays and pictures of a document."""

    def __init__(self, document: gltf.GLTF2) -> None:
        self.json = document
        self._blob = document.binary_blob() or b""

    def array(self, index: int) -> NDArray:
        """Values (N, ...) of an accessor, finite if they are real numbers."""
        accessor = self.json.accessors[index]
        start, size = self._span(accessor.bufferView)
        dtype, shape = _NUMBERS[accessor.componentType], _ELEMENTS[accessor.type]
        start += accessor.byteOffset or 0
        count = accessor.count * int(np.prod(shape, dtype=int))
        if accessor.count < 0 or (accessor.byteOffset or 0) < 0 or count * dtype.itemsize > size:
            raise ValueError(f"accessor {index} does not fit its data")
        values = np.frombuffer(self._blob, dtype, count, start).reshape(accessor.count, *shape).copy()
        if dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"accessor {index} holds values that are not finite")
        return values

    def picture(self, texture: int) -> NDArray[np.uint8]:
        """The pixels (H, W, 3) of a texture."""
        start, size = self._span(self.json.images[self.json.textures[texture].source].bufferView)
        return np.array(open_png(self._blob[start : start + size]))

    def _span(self, index: int) -> tuple[int, int]:
        view = self.json.bufferViews[index]
        start, size = view.byteOffset or 0, view.byteLength
        if start < 0 or size < 0 or start + size > len(self._blob):
            raise ValueError(f"buffer view {index} is outside the file")
        return start, size


def _avatar(file: _Document, name: str) -> FinishedAvatar:
    document = file.json
    skin, primitive = document.skins[0], document.meshes[0].primitives[0].attributes
    nodes = [document.nodes[index] for index in skin.joints]
    names = [node.name for node in nodes]
    armature = next((one for one in ARMATURES if [FILE_NAMES[bone] for bone in one.names] == names), None)
    if armature is None:
        raise ValueError("its bones are others")
    tpose = [(node.extras or {}).get(TPOSE, (0.0, 0.0, 0.0, 1.0)) for node in nodes]
    heads = -file.array(skin.inverseBindMatrices)[:, 3, :3].astype(np.float64)
    turns = np.array(tpose, np.float64).reshape(-1, 4)
    if not (np.abs(turns) <= 1.001).all() or not (np.abs(heads) < FARTHEST).all():
        raise ValueError("its bones are nowhere")
    skeleton = Skeleton(heads, turns, armature)
    joints, weights = file.array(primitive.JOINTS_0), file.array(primitive.WEIGHTS_0)
    if joints.max(initial=0) >= len(nodes):
        raise ValueError("its weights name bones that do not exist")
    clips = {animation.name: _clip(file, animation, skin.joints, skeleton) for animation in document.animations}
    turned = any(abs(node.rotation[3]) < 1 for node in nodes if node.rotation)
    return FinishedAvatar(
        name=name,
        mesh=_mesh(file),
        skin=Skin(joints, weights),
        skeleton=skeleton,
        clips=clips,
        extras=document.asset.extras or {},
        rest="T" if turned else "A",
    )


def _mesh(file: _Document) -> TriangleMesh:
    document = file.json
    primitive, material = document.meshes[0].primitives[0], document.materials[0]
    places = primitive.attributes
    vertices, normals, uvs = (file.array(index) for index in (places.POSITION, places.NORMAL, places.TEXCOORD_0))
    indices = file.array(primitive.indices)
    faces = indices.reshape(-1, 3).astype(np.int32)
    if indices.dtype.kind != "u" or indices.max(initial=0) >= len(vertices):
        raise ValueError("its triangles name vertices that do not exist")
    if not len(vertices) == len(normals) == len(uvs):
        raise ValueError("its vertices are incomplete")
    image = file.picture(material.pbrMetallicRoughness.baseColorTexture.index)
    texture = Texture(Charts(uvs, faces, np.arange(len(vertices), dtype=np.int32)), image)
    relief = None
    if material.normalTexture is not None:
        relief = NormalMap(file.array(places.TANGENT), file.picture(material.normalTexture.index))
    return TriangleMesh(vertices, faces, normals, texture_colors(image, uvs), texture, relief)


def texture_colors(image: NDArray[np.uint8], uvs: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the colours (N, 3) in [0, 1] of an image (H, W, 3) at coordinates (N, 2), the nearest texel's."""
    height, width = image.shape[:2]
    column = np.clip((uvs[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip((uvs[:, 1] * height).astype(int), 0, height - 1)
    return image[row, column].astype(np.float32) / 255


def _clip(file: _Document, animation: gltf.Animation, joints: list[int], skeleton: Skeleton) -> Clip:
    facts = animation.extras or {}
    bones = {node: bone for bone, node in enumerate(joints)}
    root, rotations = None, {}
    for channel in animation.channels:
        track = file.array(animation.samplers[channel.sampler].output)
        if channel.target.path == "translation":
            root = track
        else:
            rotations[bones[channel.target.node]] = track
    if root is None or len(rotations) != len(joints):
        raise ValueError("an animation lacks bones")
    frames = len(root)
    tracks = [rotations[bone] for bone in range(len(joints))]
    turns = np.stack([np.broadcast_to(track, (frames, 4)) for track in tracks], axis=1)
    transforms = skeleton.transforms(turns, root).astype(np.float32)
    fps = int(facts["fps"])
    if not 1 <= fps <= FASTEST or not frames:
        raise ValueError(f"an animation of {frames} frames at {fps} a second")
    if not np.abs(root).max(initial=0) < FARTHEST or not (np.abs(turns) <= 1.001).all():
        raise ValueError("an animation leads nowhere")
    return Clip(transforms, turns, root, fps, loops=bool(facts.get("loops")))
