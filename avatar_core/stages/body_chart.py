"""Where a vertex lies, in the terms that clothes are cut by: signed reach into regions, along limbs and trunk."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix, diags

from avatar_core.bodies.base import BodyModel
from avatar_core.bodies.surface_chart import SurfaceChart

SMOOTHING = 4
"""Passes that round off the borders between the body's labelled regions."""
LABEL_REACH = 0.05
"""Metres that a smoothed region label counts for between its inside and its outside."""
ARM_METRES, LEG_METRES, TRUNK_METRES = 0.27, 0.42, 0.50
"""About how long one unit of the chart's arm, leg and height coordinate is."""
EYE_HEIGHT, EYE_ASIDE = 1.722, 0.032
"""Where the eyes are on the neutral bind pose, metres."""


class BodyChart:
    """The V vertices of a body on its neutral bind pose, so that a cut means the same on every shape.

    Reaches are signed distances of a kind: metres into (positive) or away from (negative) what they name.

    Args:
        body: any body model with SMPL's joints; a region that it does not label holds no vertex.
    """

    def __init__(self, body: BodyModel) -> None:
        chart = SurfaceChart(body)
        points = chart.vertices()
        self._names = tuple(body.region_names)
        self._labels = _smoothed_labels(points.region, chart.faces, len(self._names))
        self.x, self.y, self.z = points.position.T
        self.aside, self.above = np.abs(self.x), self.y - EYE_HEIGHT
        self.front = points.normal_z
        self.arm, self.leg, self.height = points.arm, points.leg, points.height

    def __len__(self) -> int:
        return len(self.x)

    def region(self, *regions: str) -> np.ndarray:
        """Signed reach (V,) into the regions whose name is, or ends with, one of `regions`; positive inside."""
        share = np.zeros(len(self.x), np.float32)
        for index, name in enumerate(self._names):
            if any(name == region or name.endswith("_" + region) for region in regions):
                share += self._labels[:, index]
        return (share - 0.5) * LABEL_REACH

    def head(self) -> np.ndarray:
        """Signed reach (V,) into the head."""
        return self.region("face", "scalp", "ears", "eyes", "mouth", "head")

    def trunk(self) -> np.ndarray:
        """Signed reach (V,) into the trunk, without the neck."""
        return self.region("chest", "belly", "hips")

    def arms(self, end: float) -> np.ndarray:
        """Signed reach (V,) into the arms up to `end` (0 shoulder, 1 elbow, 2 wrist, 3 fingertips)."""
        return np.minimum(self.region("upper_arm", "forearm", "hand"), (end - self.arm) * ARM_METRES)

    def legs(self, end: float) -> np.ndarray:
        """Signed reach (V,) into the legs down to `end` (0 hip, 1 knee, 2 ankle)."""
        return np.minimum(self.region("thigh", "shin", "foot"), (end - self.leg) * LEG_METRES)

    def feet_up_to(self, start: float) -> np.ndarray:
        """Signed reach (V,) into the feet and the legs below `start` (1 knee, 2 ankle)."""
        shin = np.minimum(self.region("thigh", "shin", "foot"), (self.leg - start) * LEG_METRES)
        return np.maximum(self.region("foot"), shin)

    def bottom_to(self, end: float, waist: float) -> np.ndarray:
        """Signed reach (V,) from `waist` (0 hip joints, 1 base of the neck) down the legs to `end`."""
        hips = np.minimum(self.region("hips", "belly"), (waist - self.height) * TRUNK_METRES)
        return np.maximum(hips, self.legs(end) if end > 0 else -np.ones_like(hips))

    def top_to(self, sleeve: float | None, hem: float, neckline: float) -> np.ndarray:
        """Signed reach (V,) into the trunk from `hem` to `neckline` and the arms to `sleeve` (None: straps)."""
        collar = neckline - 1.1 * np.clip(0.05 - self.aside, 0, None) * np.clip(4.0 * self.front, 0, 1)
        between = np.minimum((collar - self.height) * TRUNK_METRES, (self.height - hem) * TRUNK_METRES)
        # With the neck, whose labelled border is ragged: the collar alone is the upper edge.
        trunk = np.minimum(self.region("chest", "belly", "hips", "neck"), between)
        if sleeve is None:
            straps = np.maximum(0.15 - self.aside, (0.75 - self.height) * TRUNK_METRES)
            return np.minimum(trunk, straps)
        return np.maximum(trunk, self.arms(sleeve))

    def around_face(self) -> np.ndarray:
        """Signed reach (V,) out of an opening for the face."""
        return -np.minimum(self.z - 0.065, 0.04 - self.above)


def all_of(*reaches: np.ndarray) -> np.ndarray:
    """Signed reach into the intersection of several."""
    return np.minimum.reduce(reaches)


def _smoothed_labels(region: np.ndarray, faces: np.ndarray, count: int) -> np.ndarray:
    """(V, R) region memberships, averaged over each vertex's neighbours a few times."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    around = coo_matrix((np.ones(len(edges), np.float32), edges.T), shape=(len(region), len(region))).tocsr()
    mean = diags(0.5 / np.maximum(np.asarray(around.sum(1)).ravel(), 1)) @ around
    labels = np.eye(count, dtype=np.float32)[region]
    for _ in range(SMOOTHING):
        labels = 0.5 * labels + mean @ labels
    return labels
