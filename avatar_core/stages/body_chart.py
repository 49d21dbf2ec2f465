"""Where points of a body lie, in the terms that clothes are cut by: reach into regions, along limbs and trunk."""

from __future__ import annotations

from dataclasses import dataclass, fields

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
HEAD = ("face", "scalp", "ears", "eyes", "mouth", "head")
TRUNK = ("chest", "belly", "hips")
ARMS = ("upper_arm", "forearm", "hand")
LEGS = ("thigh", "shin", "foot")
"""Regions, or ends of their names."""
EYE_HEIGHT, EYE_ASIDE = 1.722, 0.032
"""Where the eyes are on the neutral bind pose, metres."""


@dataclass(frozen=True, eq=False)
class BodyChart:
    """N points of a body on its neutral bind pose, so that a cut means the same on every shape.

    Reaches are signed distances of a kind: metres into (positive) or away from (negative) what they name.
    """

    names: tuple[str, ...]
    """The body's R regions."""
    labels: np.ndarray
    """(N, R) shares in the regions, soft at their borders."""
    x: np.ndarray
    """(N,) position towards the body's left, metres."""
    above: np.ndarray
    """(N,) height over the eyes, metres."""
    z: np.ndarray
    """(N,) position towards the front, metres."""
    front: np.ndarray
    """(N,) forward part of the normal."""
    arm: np.ndarray
    """(N,) place along the arm: 0 shoulder, 1 elbow, 2 wrist, 3 fingertips."""
    leg: np.ndarray
    """(N,) place along the leg: 0 hip, 1 knee, 2 ankle."""
    height: np.ndarray
    """(N,) place along the trunk: 0 hip joints, 1 base of the neck."""

    @classmethod
    def of(cls, body: BodyModel) -> BodyChart:
        """The vertices of any body model with SMPL's joints; a region that it does not label holds no vertex."""
        chart = SurfaceChart(body)
        points = chart.vertices()
        names = tuple(body.region_names)
        labels = _smoothed_labels(points.region, chart.faces, len(names))
        x, y, z = points.position.T
        return cls(names, labels, x, y - EYE_HEIGHT, z, points.normal_z, points.arm, points.leg, points.height)

    def at(self, corners: np.ndarray, weights: np.ndarray) -> BodyChart:
        """Return M points between this chart's points `corners` (M, 3) at barycentric `weights` (M, 3)."""
        weights = weights.astype(np.float32)
        values = [getattr(self, field.name) for field in fields(self) if field.name != "names"]
        return BodyChart(self.names, *(np.einsum("mc,mc...->m...", weights, value[corners]) for value in values))

    def __len__(self) -> int:
        return len(self.x)

    @property
    def aside(self) -> np.ndarray:
        """Distance (N,) from the middle, metres."""
        return np.abs(self.x)

    def region(self, *regions: str) -> np.ndarray:
        """Signed reach (N,) into the regions whose name is, or ends with, one of `regions`; positive inside."""
        return (self._share(*regions) - 0.5) * LABEL_REACH

    def _share(self, *regions: str) -> np.ndarray:
        meant = [any(name == region or name.endswith("_" + region) for region in regions) for name in self.names]
        return self.labels[:, meant].sum(axis=1)

    def joined(self, *parts: tuple[tuple[str, ...], np.ndarray]) -> np.ndarray:
        """Signed reach (N,) into neighbouring parts, each some regions and the cut (N,) that ends it, as one piece:
        without the seam that each part's own soft border would leave between them."""
        within = [np.minimum((self._share(*regions) - 0.25) * 4 * LABEL_REACH, cut) for regions, cut in parts]
        whole = self.region(*(region for regions, _ in parts for region in regions))
        return np.minimum(whole, np.maximum.reduce(within))

    def head(self) -> np.ndarray:
        """Signed reach (N,) into the head."""
        return self.region(*HEAD)

    def trunk(self) -> np.ndarray:
        """Signed reach (N,) into the trunk, without the neck."""
        return self.region(*TRUNK)

    def along_arms(self, end: float) -> np.ndarray:
        """Metres (N,) before `end` along the arms (0 shoulder, 1 elbow, 2 wrist, 3 fingertips)."""
        return (end - self.arm) * ARM_METRES

    def along_legs(self, end: float) -> np.ndarray:
        """Metres (N,) before `end` along the legs (0 hip, 1 knee, 2 ankle)."""
        return (end - self.leg) * LEG_METRES

    def feet_up_to(self, start: float) -> np.ndarray:
        """Signed reach (N,) into the feet and the legs below `start` (1 knee, 2 ankle)."""
        shin = np.minimum(self.region(*LEGS), (self.leg - start) * LEG_METRES)
        return np.maximum(self.region("foot"), shin)

    def bottom_to(self, end: float, waist: float) -> np.ndarray:
        """Signed reach (N,) from `waist` (0 hip joints, 1 base of the neck) down the legs to `end`."""
        below = (waist - self.height) * TRUNK_METRES
        return self.joined((("hips", "belly"), below), (LEGS, self.along_legs(end)))

    def top_to(self, sleeve: float | None, hem: float, neckline: float) -> np.ndarray:
        """Signed reach (N,) into the trunk from `hem` to `neckline` and the arms to `sleeve` (None: straps)."""
        collar = neckline - 1.1 * np.clip(0.05 - self.aside, 0, None) * np.clip(4.0 * self.front, 0, 1)
        between = np.minimum((collar - self.height) * TRUNK_METRES, (self.height - hem) * TRUNK_METRES)
        # With the neck, whose labelled border is ragged: the collar alone is the upper edge.
        trunk = (*TRUNK, "neck")
        if sleeve is None:
            straps = np.maximum(0.15 - self.aside, (0.75 - self.height) * TRUNK_METRES)
            return np.minimum(self.region(*trunk), np.minimum(between, straps))
        return self.joined((trunk, between), (ARMS, self.along_arms(sleeve)))

    def around_face(self) -> np.ndarray:
        """Signed reach (N,) out of an opening for the face."""
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
