"""Wavefront OBJ: the still mesh in the A-pose with its colours as a picture beside it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from avatar_core.export.finished import FinishedAvatar
from avatar_core.export.provenance import GENERATOR

FILE, MATERIAL_FILE, PICTURE = "avatar.obj", "avatar.mtl", "albedo.png"
_MATERIAL = f"""newmtl avatar
Ka 0 0 0
Kd 1 1 1
Ks 0 0 0
illum 1
map_Kd {PICTURE}
"""


def write(avatar: FinishedAvatar, folder: Path) -> None:
    """Write avatar.obj, avatar.mtl and albedo.png."""
    mesh, charts = avatar.mesh, avatar.mesh.texture.charts
    vertices, faces, rows = avatar.welded
    text = io.StringIO()
    text.write(f"# {GENERATOR}; metres, Y up\nmtllib {MATERIAL_FILE}\no {_token(avatar.name)}\nusemtl avatar\n")
    np.savetxt(text, vertices, fmt="v %.6f %.6f %.6f")
    # OBJ counts texture rows from the bottom.
    np.savetxt(text, charts.uvs * [1, -1] + [0, 1], fmt="vt %.6f %.6f")
    np.savetxt(text, mesh.normals[rows], fmt="vn %.5f %.5f %.5f")
    corners = np.stack([faces, charts.face_uvs, faces], axis=-1) + 1
    np.savetxt(text, corners.reshape(len(faces), 9), fmt="f %d/%d/%d %d/%d/%d %d/%d/%d")
    (folder / FILE).write_text(text.getvalue(), encoding="utf-8")
    (folder / MATERIAL_FILE).write_text(_MATERIAL, encoding="utf-8")
    (folder / PICTURE).write_bytes(mesh.texture.png())


def _token(name: str) -> str:
    return "_".join(name.split()) or "avatar"
