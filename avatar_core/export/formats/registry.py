"""All formats by name."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from avatar_core.errors import ConfigError
from avatar_core.export.formats.base import Format, Writer

FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        Format("vrm", "VRM 1.0: VTubing and social VR, Unity and three.js", ("avatar.vrm",), "vrm"),
        Format("usd", "binary USD with UsdSkel: Omniverse, Houdini, Maya", ("avatar.usdc", "albedo.png"), "usd"),
        Format("usdz", "USD in one file: AR Quick Look on iPhone, iPad and Vision Pro", ("avatar.usdz",), "usdz"),
        Format("fbx", "FBX, written by Blender: Unity, Unreal, Maya, MotionBuilder", ("avatar.fbx",), "fbx"),
        Format("obj", "still, textured mesh", ("avatar.obj", "avatar.mtl", "albedo.png"), "obj"),
        Format("ply", "still mesh with vertex colours", ("mesh.ply",), "ply"),
        Format("bvh", "the prompt's motion: any animation tool", ("motion.bvh",), "bvh"),
        Format("npz", "the prompt's motion as AMASS stores it (SMPL-H)", ("motion.npz",), "amass"),
        Format("lods", "GLBs of a half, a fifth and a twentieth of the triangles", (
            "avatar.lod1.glb", "avatar.lod2.glb", "avatar.lod3.glb",
        ), "lods"),
        Format("meshopt", "GLB in EXT_meshopt_compression: three.js, Babylon.js", ("avatar.meshopt.glb",), "meshopt"),
        Format("draco", "GLB in KHR_draco_mesh_compression: most viewers", ("avatar.draco.glb",), "draco"),
    )
}  # fmt: skip


def find_formats(names: Iterable[str]) -> list[Format]:
    """Return the formats of these names, each once; raises ConfigError for a name that there is none of."""
    found: dict[str, Format] = {}
    for name in names:
        if name not in FORMATS:
            raise ConfigError(f"--format {name!r} is none of {', '.join(FORMATS)}.")
        found[name] = FORMATS[name]
    return list(found.values())


def writer(entry: Format) -> Writer:
    """Load the module of a format and return its writer."""
    return importlib.import_module(f"avatar_core.export.formats.{entry.module}").write
