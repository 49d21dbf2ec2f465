"""What stands out from a body beyond its shape vector: hair, a round belly, and small local differences.

Each kind of relief is a smooth field over the vertices; bodies of a geometry bank are pushed out along their normals by
sums of these fields, so that BodyCLIP sees hair that has volume and bodies that no phenotype gives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse

from avatar_core.bodies import BodyModel, ShapedBody
from avatar_core.bodies.surface_chart import SurfaceChart, SurfacePoints
from avatar_core.rendering.normals import vertex_normals

RAISED_HAIR: tuple[str, ...] = ("", "short hair", "long hair")
"""Garments whose volume a body may show; the first is none."""


@dataclass(frozen=True)
class Relief:
    """How far each field pushes the surface out, metres."""

    hair: int = 0  # index into RAISED_HAIR
    hair_volume: float = 0.0
    belly: float = 0.0
    bust: float = 0.0
    hips: float = 0.0
    shoulders: float = 0.0


def sample_relief(female: bool, child: bool, rng: np.random.Generator) -> Relief:
    """Draw a relief: hair with volume on a third of the bodies, a round belly on few, small differences on all."""
    draw = rng.random()
    long, short = (0.25, 0.12) if female else (0.06, 0.25)
    hair = 2 if draw < long else (1 if draw < long + short else 0)
    volume = rng.uniform(0.008, 0.035) if hair == 1 else rng.uniform(0.015, 0.05)
    belly = rng.uniform(0.07, 0.14) if not child and rng.random() < 0.08 else 0.0
    bust, hips, shoulders = (float(value) for value in rng.normal(0, 0.006, 3))
    return Relief(hair, float(volume) if hair else 0.0, float(belly), bust, hips, shoulders)


class ReliefFields:
    """The fields of one body model.

    Args:
        chart: of its surface.
    """

    def __init__(self, chart: SurfaceChart) -> None:
        points = chart.vertices()
        self._hair = [np.zeros(len(points.region)), *(self._hair_field(chart, points, name) for name in ("", "back"))]
        aside, front = np.abs(points.position[:, 0]), np.clip(points.normal_z, 0, None)
        back = np.clip(-points.normal_z, 0, None)
        trunk = np.isin(points.region, chart.region_ids("chest", "belly", "hips"))
        height = points.height
        self._belly = trunk * front * _bump((height - 0.3) / 0.22) * _bump(aside / 0.13)
        self._bust = trunk * front * _bump((height - 0.68) / 0.1) * _bump((aside - 0.085) / 0.05)
        self._hips = np.isin(points.region, chart.region_ids("hips", "thigh")) * _bump((height + 0.05) / 0.2)
        self._hips = self._hips * (0.4 + back)
        arms = np.isin(points.region, chart.region_ids("upper_arm", "chest"))
        self._shoulders = arms * _bump((aside - 0.19) / 0.06) * _bump((height - 0.9) / 0.2)
        self._faces = torch.from_numpy(chart.faces)

    @staticmethod
    def _hair_field(chart: SurfaceChart, points: SurfacePoints, reach: str) -> np.ndarray:
        """Return 1 where hair grows or hangs, falling off smoothly at its edge (V,)."""
        mask = np.isin(points.region, chart.region_ids("scalp"))
        if reach == "back":
            behind = points.position[:, 2] < 0.02
            mask |= behind & np.isin(points.region, chart.region_ids("face", "scalp", "neck"))
            trunk = np.isin(points.region, chart.region_ids("chest", "belly"))
            mask |= trunk & (points.normal_z < -0.1) & (points.height > 0.72) & (np.abs(points.position[:, 0]) < 0.12)
        return _smooth(mask.astype(np.float64), chart.faces, rounds=6)

    def apply(self, shaped: ShapedBody, relief: Relief) -> ShapedBody:
        """Return `shaped` with its bind pose pushed out along its normals; joints stay."""
        pushed = relief.hair_volume * self._hair[relief.hair]
        pushed = pushed + relief.belly * self._belly + relief.bust * self._bust
        pushed = pushed + relief.hips * self._hips + relief.shoulders * self._shoulders
        scale = shaped.height / 1.75
        normals = vertex_normals(shaped.vertices, self._faces)
        moved = shaped.vertices + normals * torch.from_numpy(pushed * scale).to(shaped.vertices)[:, None]
        return replace(shaped, vertices=moved)


def relief_fields(body: BodyModel) -> ReliefFields:
    """Return the fields of a body model."""
    return ReliefFields(SurfaceChart(body))


def _bump(away: np.ndarray) -> np.ndarray:
    return np.exp(-(away**2))


def _smooth(values: np.ndarray, faces: np.ndarray, rounds: int) -> np.ndarray:
    """Average values (V,) with their neighbours' along the edges, `rounds` times."""
    edges = np.concatenate([faces[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
    both = np.concatenate([edges, edges[:, ::-1]])
    count = len(values)
    near = sparse.csr_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(count, count))
    degree = np.asarray(near.sum(1)).ravel() + 1
    for _ in range(rounds):
        values = (values + near @ values) / degree
    return values
