"""Volumes that clothes and hair enclose away from the body: elliptic cones and ellipsoids, joined to the body."""

import math

import torch
from torch import Tensor

from avatar_core.errors import BodyError

PARAMETERS = (
    "y_low",
    "y_high",
    "x_low",
    "z_low",
    "a_low",
    "b_low",
    "x_high",
    "z_high",
    "a_high",
    "b_high",
    "kind",
    "region",
)
"""A volume's numbers, metres: heights of its ends; of a cone, centre (x, z) and half-widths (a along x, b along z) at
each end; of an ellipsoid, the same of its middle, twice; which kind it is; and the number of the region whose colour
it has."""
CONE, ELLIPSOID, BELL = 0.0, 1.0, 2.0
"""Kinds; a bell is a cone that a finished mesh has open below and hollow, as skirts are. Renderers may take it for
solid: from outside it looks the same, and rays end sooner."""
WALL, LID = 0.02, 0.04
"""Thickness of a bell's side and of its upper end, metres."""
CLOTH = 0.02
"""Metres from a volume's side within which a point is its cloth, where it is that far from the body."""
BLEND = 0.012
"""Metres over which body and volume flow into one another."""
SEGMENTS = 40
"""Corners around the mesh of a volume."""
LATITUDES = 10
"""Rings of the mesh of an ellipsoid."""


def volume_distance(points: Tensor, volumes: Tensor, *, hollow: bool = False) -> Tensor:
    """Return (N, M) about the signed distance, metres, of `points` (N, 3) to `volumes` (M, 12); negative inside.

    Exact in sign and close in value near the surface (an ellipse's radius stands for its distance).
    hollow: bells are, instead of solid.
    """
    kind = volumes[:, 10]
    distance = torch.where(kind == ELLIPSOID, _ellipsoid_distance(points, volumes), _cone_distance(points, volumes))
    if not hollow or not bool((kind == BELL).any()):
        return distance
    hole = _cone_distance(points, _holes(volumes), open_below=True)
    return torch.where(kind == BELL, torch.maximum(distance, -hole), distance)


def _holes(bells: Tensor) -> Tensor:
    """The cones (M, 12) that are taken out of bells (M, 12)."""
    height = bells[:, 1:2] - bells[:, 0:1]
    lid = (LID / height).clamp_max(0.5)
    low, high = bells[:, 2:6], torch.lerp(bells[:, 6:10], bells[:, 2:6], lid)
    slope = (low[:, 2:] - high[:, 2:]).abs().amax(1, keepdim=True) / height
    wall = WALL * torch.sqrt(1.0 + slope.square())
    thinner = torch.cat([torch.zeros_like(low[:, :2]), wall.expand(-1, 2)], dim=1)
    ends = [bells[:, 0:1], bells[:, 1:2] - lid * height]
    narrow = [torch.cat([end[:, :2], end[:, 2:].clamp_min(1e-3)], dim=1) for end in (low - thinner, high - thinner)]
    return torch.cat([*ends, *narrow, bells[:, 10:]], dim=1)


def _cone_distance(points: Tensor, cones: Tensor, *, open_below: bool = False) -> Tensor:
    y_low, y_high = cones[:, 0], cones[:, 1]
    x, y, z = (points[:, axis : axis + 1] for axis in range(3))
    share = ((y - y_low) / (y_high - y_low)).clamp(0.0, 1.0)
    centre_x, centre_z, a, b = (torch.lerp(cones[:, 2 + i], cones[:, 6 + i], share) for i in range(4))
    radial = torch.sqrt(((x - centre_x) / a).square() + ((z - centre_z) / b).square() + 1e-12)
    slope = torch.maximum((cones[:, 4] - cones[:, 8]).abs(), (cones[:, 5] - cones[:, 9]).abs()) / (y_high - y_low)
    side = (radial - 1.0) * torch.minimum(a, b) / torch.sqrt(1.0 + slope.square())
    return torch.maximum(side, y - y_high if open_below else torch.maximum(y_low - y, y - y_high))


def _ellipsoid_distance(points: Tensor, ellipsoids: Tensor) -> Tensor:
    """Bound by Quilez: k (k - 1) / |gradient|, with k the point's radius in the ellipsoid's own unit."""
    low, high, x, z, a, b = ellipsoids[:, :6].T
    centre = torch.stack([x, 0.5 * (low + high), z], dim=1)
    axes = torch.stack([a, 0.5 * (high - low), b], dim=1)
    scaled = (points[:, None] - centre) / axes
    k = scaled.norm(dim=2)
    gradient = (scaled / axes).norm(dim=2)
    deepest = -axes.amin(1)
    return torch.where(k > 1e-3, k * (k - 1.0) / gradient.clamp_min(1e-6), deepest)


def cloth_share(points: Tensor, from_body: Tensor, volumes: Tensor) -> Tensor:
    """Return (N, M) in [0, 1]: how much `points` (N, 3), `from_body` (N,) metres off the body, are a volume's cloth."""
    near = (2.0 - volume_distance(points, volumes).abs() / CLOTH).clamp(0.0, 1.0)
    return near * (from_body[:, None] / CLOTH - 0.5).clamp(0.0, 1.0)


def joined(distance: Tensor, points: Tensor, volumes: Tensor, *, hollow: bool = False) -> Tensor:
    """Return the distance (N,) of the union of a body, whose `distance` (N,) is given, and of `volumes` (M, 12).

    A polynomial smooth minimum (Quilez) rounds the seam, so that no crease is left at the waist.
    hollow: bells are, instead of solid.
    """
    for index in range(len(volumes)):
        other = volume_distance(points, volumes[index : index + 1], hollow=hollow).squeeze(1)
        overlap = (1.0 - (distance - other).abs() / BLEND).clamp_min(0.0)
        distance = torch.minimum(distance, other) - 0.25 * BLEND * overlap.square()
    return distance


def volume_box(volumes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lowest and the highest corner (M, 3), metres, of each of `volumes` (M, 12)."""
    corners = []
    for sign, pick in ((-1.0, torch.minimum), (1.0, torch.maximum)):
        sides = []
        for centre, half in ((2, 4), (3, 5)):
            low, high = (volumes[:, centre + end] + sign * volumes[:, half + end] for end in (0, 4))
            sides.append(torch.where(volumes[:, 10] == ELLIPSOID, low, pick(low, high)))
        corners.append(torch.stack([sides[0], volumes[:, 0 if sign < 0 else 1], sides[1]], dim=1))
    return corners[0], corners[1]


def volume_meshes(volumes: Tensor, outward: float) -> tuple[Tensor, Tensor]:
    """Return vertices (V, 3) and faces (F, 3) of closed meshes that hold `volumes` (M, 12), `outward` metres larger."""
    vertices: list[Tensor] = []
    faces: list[Tensor] = []
    first = 0
    for volume in volumes.cpu():
        points, triangles = _rings_mesh(_rings(volume, outward))
        vertices.append(points)
        faces.append(triangles + first)
        first += len(points)
    return torch.cat(vertices).to(volumes.device), torch.cat(faces).to(volumes.device)


def _rings(volume: Tensor, outward: float) -> Tensor:
    """Heights, centres (x, z) and half-widths (a, b) (K, 5) of ellipses around a volume, from the lowest up.

    A polygon lies inside its ellipse, and a chord inside its arc: both are made that much larger.
    """
    wide = 1.0 / math.cos(math.pi / SEGMENTS)
    if volume[10] != ELLIPSOID:
        ends = ((volume[0] - outward, volume[2:6]), (volume[1] + outward, volume[6:10]))
        rows = [torch.stack([y, x, z, (a + outward) * wide, (b + outward) * wide]) for y, (x, z, a, b) in ends]
        return torch.stack(rows)
    low, high, x, z, a, b = volume[:6]
    wide /= math.cos(0.5 * math.pi / LATITUDES)
    angle = (torch.arange(LATITUDES) + 0.5) * (math.pi / LATITUDES) - 0.5 * math.pi
    heights = 0.5 * (low + high) + (0.5 * (high - low) + outward) * wide * torch.sin(angle)
    # The first and the last ring lie on the caps' planes, which touch the poles from outside.
    heights[0], heights[-1] = low - outward, high + outward
    across = torch.cos(angle) * wide
    return torch.stack(
        [heights, x.expand_as(angle), z.expand_as(angle), (a + outward) * across, (b + outward) * across], dim=1
    )


def _rings_mesh(rings: Tensor) -> tuple[Tensor, Tensor]:
    """A closed mesh over rings (K, 5): vertices (K * SEGMENTS + 2, 3), faces (F, 3) that face outward."""
    angle = torch.arange(SEGMENTS, dtype=torch.float32) * (2 * math.pi / SEGMENTS)
    y, x, z, a, b = (column[:, None] for column in rings.T)
    around = torch.stack([x + a * torch.cos(angle), y.expand(-1, SEGMENTS), z + b * torch.sin(angle)], dim=2)
    ends = rings[[0, -1]][:, [1, 0, 2]]
    ring = torch.arange(SEGMENTS)
    following = (ring + 1) % SEGMENTS
    top = (len(rings) - 1) * SEGMENTS
    below, above = torch.full_like(ring, len(rings) * SEGMENTS), torch.full_like(ring, len(rings) * SEGMENTS + 1)
    faces = [
        torch.stack([ring, following, below], dim=1),
        torch.stack([following + top, ring + top, above], dim=1),
    ]
    for start in range(0, top, SEGMENTS):
        near, far, higher = ring + start, following + start, SEGMENTS
        faces.append(torch.stack([near, near + higher, far], dim=1))
        faces.append(torch.stack([far, near + higher, far + higher], dim=1))
    return torch.cat([around.reshape(-1, 3), ends]), torch.cat(faces)


def check_volumes(volumes: Tensor, regions: int) -> None:
    """Raise BodyError unless `volumes` (M, 12) have height and width, and a region below `regions`."""
    if volumes.ndim != 2 or volumes.shape[1] != len(PARAMETERS):
        raise BodyError(f"garment volumes have shape {tuple(volumes.shape)}; give (M, {len(PARAMETERS)})")
    if len(volumes) and not bool(((volumes[:, -1] >= 0) & (volumes[:, -1] < regions)).all()):
        raise BodyError(f"a garment volume names a region that is not among the {regions} regions")
    widths = volumes[:, [4, 5, 8, 9]]
    if len(volumes) and (bool((volumes[:, 1] <= volumes[:, 0]).any()) or bool((widths <= 0).any())):
        raise BodyError("a garment volume has no height or no width; its upper end lies above its lower one")
