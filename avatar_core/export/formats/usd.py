"""USD: a SkelRoot with skeleton, skinned mesh, preview material and an animation for each clip.

Source: the UsdSkel and UsdPreviewSurface schemas of OpenUSD. Needs the package usd-core.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatar_core.errors import ConfigError
from avatar_core.export.bone_names import FILE_NAMES
from avatar_core.export.finished import FinishedAvatar
from avatar_core.export.glb import ROUGHNESS
from avatar_core.export.skeleton import Skeleton
from avatar_core.rigging.clip import Clip

FILE, PICTURE, NORMALS = "avatar.usdc", "albedo.png", "normals.png"
_NORMAL_SCALE, _NORMAL_BIAS = (2.0, 2.0, 2.0, 1.0), (-1.0, -1.0, -1.0, 0.0)
"""What takes an 8-bit tangent-space normal to a vector, as UsdPreviewSurface wants it."""


def write(avatar: FinishedAvatar, folder: Path) -> None:
    """Write avatar.usdc and its pictures; raises ConfigError when usd-core is missing."""
    write_stage(avatar, folder / FILE)


def load_pxr() -> ModuleType:
    """Return OpenUSD's Python package; raises ConfigError where it is not installed."""
    try:
        package = importlib.import_module("pxr")
        for name in ("Gf", "Sdf", "Usd", "UsdGeom", "UsdShade", "UsdSkel", "UsdUtils", "Vt"):
            importlib.import_module(f"pxr.{name}")
    except ImportError as error:
        raise ConfigError(
            "USD files need the package usd-core: install this package's extra usd, or: pip install usd-core"
        ) from error
    return package


def write_stage(avatar: FinishedAvatar, path: Path) -> None:
    """Write a USD file, and its pictures beside it."""
    pxr: Any = load_pxr()
    stage = pxr.Usd.Stage.CreateNew(str(path))
    pxr.UsdGeom.SetStageUpAxis(stage, pxr.UsdGeom.Tokens.y)
    pxr.UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    root = pxr.UsdSkel.Root.Define(stage, f"/{prim_name(avatar.name)}")
    stage.SetDefaultPrim(root.GetPrim())
    binding = pxr.UsdSkel.BindingAPI.Apply(root.GetPrim())
    skeleton = _skeleton(pxr, stage, root.GetPath(), avatar.skeleton)
    mesh = _mesh(pxr, stage, root.GetPath(), avatar)
    pxr.UsdSkel.BindingAPI.Apply(mesh.GetPrim()).CreateSkeletonRel().SetTargets([skeleton.GetPath()])
    material = _material(pxr, stage, root.GetPath(), avatar, path.parent)
    pxr.UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)
    animations = [
        _animation(pxr, stage, root.GetPath(), name, clip, avatar.skeleton) for name, clip in _named(avatar.clips)
    ]
    if animations:
        first = next(iter(avatar.clips.values()))
        stage.SetTimeCodesPerSecond(first.fps)
        stage.SetFramesPerSecond(first.fps)
        stage.SetStartTimeCode(0)
        stage.SetEndTimeCode(len(first) - 1)
        binding.CreateAnimationSourceRel().SetTargets([animations[0].GetPath()])
        low, high = first.bounds(avatar.mesh.vertices, avatar.skin)
        root.CreateExtentAttr(_points(pxr, np.stack([low, high])))
    stage.GetRootLayer().Save()


def prim_name(name: str) -> str:
    """Return a name as USD allows it: letters, digits and underscores, not beginning with a digit."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return plain if re.match(r"[A-Za-z_]", plain) else f"_{plain}"


def joint_paths(skeleton: Skeleton) -> list[str]:
    """Return the bones' names as USD spells them, with all those that they hang on."""
    paths: dict[int, str] = {}
    for bone in skeleton.armature.order:
        name, parent = FILE_NAMES[skeleton.names[bone]], skeleton.parents[bone]
        paths[bone] = name if parent < 0 else f"{paths[parent]}/{name}"
    return [paths[bone] for bone in skeleton.armature.order]


def _named(clips: Any) -> list[tuple[str, Clip]]:
    """Clips by names of prims, of which no two are alike."""
    taken: dict[str, Clip] = {}
    for title, clip in clips.items():
        name, number = prim_name(title), 2
        while name in taken:
            name, number = f"{prim_name(title)}_{number}", number + 1
        taken[name] = clip
    return list(taken.items())


def _points(pxr: Any, values: NDArray[np.floating]) -> Any:
    return pxr.Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(values, np.float32))


def _skeleton(pxr: Any, stage: Any, root: Any, bones: Skeleton) -> Any:
    skeleton = pxr.UsdSkel.Skeleton.Define(stage, root.AppendChild("Skeleton"))
    skeleton.CreateJointsAttr(joint_paths(bones))
    offsets, order = bones.offsets, bones.armature.order
    skeleton.CreateBindTransformsAttr([_moved(pxr, bones.heads[bone]) for bone in order])
    skeleton.CreateRestTransformsAttr([_moved(pxr, offsets[bone]) for bone in order])
    return skeleton


def _moved(pxr: Any, place: NDArray[np.floating]) -> Any:
    return pxr.Gf.Matrix4d(1.0).SetTranslate(pxr.Gf.Vec3d(*map(float, place)))


def _mesh(pxr: Any, stage: Any, root: Any, avatar: FinishedAvatar) -> Any:
    vertices, faces, rows = avatar.welded
    charts = avatar.mesh.texture.charts
    mesh = pxr.UsdGeom.Mesh.Define(stage, root.AppendChild("Body"))
    mesh.CreatePointsAttr(_points(pxr, vertices))
    mesh.CreateFaceVertexCountsAttr(pxr.Vt.IntArray.FromNumpy(np.full(len(faces), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(pxr.Vt.IntArray.FromNumpy(np.ascontiguousarray(faces.ravel())))
    mesh.CreateNormalsAttr(_points(pxr, avatar.mesh.normals[rows]))
    mesh.SetNormalsInterpolation(pxr.UsdGeom.Tokens.vertex)
    mesh.CreateSubdivisionSchemeAttr(pxr.UsdGeom.Tokens.none)
    mesh.CreateExtentAttr(_points(pxr, np.stack([vertices.min(0), vertices.max(0)])))
    uvs = charts.uvs * [1, -1] + [0, 1]  # USD counts texture rows from the bottom
    texture = pxr.UsdGeom.PrimvarsAPI(mesh).CreatePrimvar(
        "st", pxr.Sdf.ValueTypeNames.TexCoord2fArray, pxr.UsdGeom.Tokens.faceVarying
    )
    texture.Set(pxr.Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(uvs, np.float32)))
    texture.SetIndices(pxr.Vt.IntArray.FromNumpy(np.ascontiguousarray(charts.face_uvs.ravel())))
    binding = pxr.UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    # USD wants parents first; the rig's own order has the joints first.
    place = np.argsort(avatar.skeleton.armature.order)
    joints = place[avatar.skin.joints[rows].astype(int)].astype(np.int32)
    binding.CreateJointIndicesPrimvar(False, 4).Set(pxr.Vt.IntArray.FromNumpy(np.ascontiguousarray(joints.ravel())))
    weights = np.ascontiguousarray(avatar.skin.weights[rows].ravel())
    binding.CreateJointWeightsPrimvar(False, 4).Set(pxr.Vt.FloatArray.FromNumpy(weights))
    binding.CreateGeomBindTransformAttr(pxr.Gf.Matrix4d(1.0))
    return mesh


def _material(pxr: Any, stage: Any, root: Any, avatar: FinishedAvatar, folder: Path) -> Any:
    types = pxr.Sdf.ValueTypeNames
    material = pxr.UsdShade.Material.Define(stage, root.AppendChild("Material"))
    base = material.GetPath()

    def shader(name: str, kind: str) -> Any:
        made = pxr.UsdShade.Shader.Define(stage, base.AppendChild(name))
        made.CreateIdAttr(kind)
        return made

    surface = shader("Surface", "UsdPreviewSurface")
    surface.CreateInput("roughness", types.Float).Set(ROUGHNESS)
    surface.CreateInput("metallic", types.Float).Set(0.0)
    material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
    reader = shader("Coordinates", "UsdPrimvarReader_float2")
    reader.CreateInput("varname", types.String).Set("st")

    def picture(name: str, file: str, space: str) -> Any:
        texture = shader(name, "UsdUVTexture")
        texture.CreateInput("file", types.Asset).Set(f"./{file}")
        texture.CreateInput("sourceColorSpace", types.Token).Set(space)
        for axis in ("wrapS", "wrapT"):
            texture.CreateInput(axis, types.Token).Set("clamp")
        coordinates = texture.CreateInput("st", types.Float2)
        coordinates.ConnectToSource(reader.ConnectableAPI(), "result")
        return texture

    (folder / PICTURE).write_bytes(avatar.mesh.texture.png())
    albedo = picture("Albedo", PICTURE, "sRGB")
    surface.CreateInput("diffuseColor", types.Color3f).ConnectToSource(albedo.ConnectableAPI(), "rgb")
    if avatar.mesh.normal_map is not None:
        (folder / NORMALS).write_bytes(avatar.mesh.normal_map.png())
        relief = picture("Normals", NORMALS, "raw")
        relief.CreateInput("scale", types.Float4).Set(pxr.Gf.Vec4f(*_NORMAL_SCALE))
        relief.CreateInput("bias", types.Float4).Set(pxr.Gf.Vec4f(*_NORMAL_BIAS))
        surface.CreateInput("normal", types.Normal3f).ConnectToSource(relief.ConnectableAPI(), "rgb")
    return material


def _animation(pxr: Any, stage: Any, root: Any, name: str, clip: Clip, skeleton: Skeleton) -> Any:
    animation = pxr.UsdSkel.Animation.Define(stage, root.AppendChild(f"Clip_{name}"))
    animation.CreateJointsAttr(joint_paths(skeleton))
    order = list(skeleton.armature.order)
    offsets = skeleton.offsets.astype(np.float32)[order]
    animation.CreateScalesAttr(pxr.Vt.Vec3hArray(len(order), pxr.Gf.Vec3h(1.0)))
    translations, rotations = animation.CreateTranslationsAttr(), animation.CreateRotationsAttr()
    for frame, (root_place, turns) in enumerate(zip(clip.root, clip.rotations[:, order])):
        placed = offsets.copy()
        placed[0] = root_place
        translations.Set(_points(pxr, placed), frame)
        quaternions = [pxr.Gf.Quatf(w, x, y, z) for x, y, z, w in turns.tolist()]
        rotations.Set(pxr.Vt.QuatfArray(quaternions), frame)
    return animation
