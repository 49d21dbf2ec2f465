"""How well a texture agrees with itself where its charts meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from avatar_core.export.texels import Charts
from avatar_core.rendering.mesh_renderer import sample_texture
from avatar_core.rendering.topology import build_topology

SAMPLES = 8
"""Places on each edge at which its two sides are compared."""


@dataclass(frozen=True)
class Seams:
    """The E edges of a mesh whose two triangles lie apart in the texture."""

    sides: NDArray[np.float32]
    """(E, 2, 2, 2) UVs by side, end and coordinate."""
    length: NDArray[np.float64]
    """(E,) metres."""


def find_seams(vertices: NDArray[np.floating], faces: NDArray[np.integer], charts: Charts) -> Seams:
    """Return the seams of charts over vertices (V, 3), metres, and faces (F, 3)."""
    topology = build_topology(torch.from_numpy(faces.astype(np.int64)))
    inner = ~topology.boundary.numpy()
    edges, beside = topology.edges.numpy()[inner], topology.edge_faces.numpy()[inner]
    corner = (faces[beside][:, :, None] == edges[:, None, :, None]).argmax(-1)  # (E, side, end)
    uv = np.take_along_axis(charts.face_uvs[beside], corner, axis=2)
    apart = (uv[:, 0] != uv[:, 1]).any(axis=1)
    ends = vertices.astype(np.float64)[edges[apart]]
    return Seams(charts.uvs[uv[apart]], np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1))


def seam_difference(image: NDArray[np.uint8], seams: Seams) -> float:
    """Return the mean difference of an image (H, W, C) across its seams, by length, of a range of one; 0 without seams.

    Both sides are sampled bilinearly, as an engine does.
    """
    if not seams.length.sum() > 0:
        return 0.0
    share = ((np.arange(SAMPLES, dtype=np.float32) + 0.5) / SAMPLES)[:, None]
    places = seams.sides[:, :, 0, None] * (1 - share) + seams.sides[:, :, 1, None] * share  # (E, side, SAMPLES, 2)
    texture = torch.from_numpy(image).float() / 255
    colors = sample_texture(texture, torch.from_numpy(places.reshape(-1, 2))).numpy()
    first, second = np.moveaxis(colors.reshape(*places.shape[:3], -1), 1, 0)
    return float(np.average(np.abs(first - second).mean(axis=(1, 2)), weights=seams.length))
