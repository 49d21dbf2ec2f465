"""Volumes that clothes enclose away from the body: skirts and robes as elliptic cones, joined to the body."""

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
    "region",
)
"""A cone's numbers, metres: heights of its ends; centre (x, z) and half-widths (a along x, b along z) of each; and the
number of the region whose colour it has."""
CLOTH = 0.02
"""Metres from a cone's side within which a point is its cloth, where it is that far from the body."""
BLEND = 0.012
"""Metres over which body and volume flow into one another."""
SEGMENTS = 40
"""Corners around the mesh of a cone."""


def cone_distance(points: Tensor, cones: Tensor) -> Tensor:
    """Return (N, M) about the signed distance, metres, of `points` (N, 3) to `cones` (M, 11); negative inside.

    Exact in sign and close in value near the surface (the ellipse's radius stands for its distance).
    """
    y_low, y_high = cones[:, 0], cones[:, 1]
    x, y, z = (points[:, axis : axis + 1] for axis in range(3))
    share = ((y - y_low) / (y_high - y_low)).clamp(0.0, 1.0)
    centre_x, centre_z, a, b = (torch.lerp(cones[:, 2 + i], cones[:, 6 + i], share) for i in range(4))
    radial = torch.sqrt(((x - centre_x) / a).square() + ((z - centre_z) / b).square() + 1e-12)
    slope = torch.maximum((cones[:, 4] - cones[:, 8]).abs(), (cones[:, 5] - cones[:, 9]).abs()) / (
        y_high - y_low
    )
    side = (radial - 1.0) * torch.minimum(a, b) / torch.sqrt(1.0 + slope.square())
    return torch.maximum(side, torch.maximum(y_low - y, y - y_high))


def cloth_share(points: Tensor, from_body: Tensor, cones: Tensor) -> Tensor:
    """Return (N, M) in [0, 1]: how much `points` (N, 3), `from_body` (N,) metres off the body, are a cone's cloth."""
    near = (2.0 - cone_distance(points, cones).abs() / CLOTH).clamp(0.0, 1.0)
    return near * (from_body[:, None] / CLOTH - 0.5).clamp(0.0, 1.0)


def joined(distance: Tensor, points: Tensor, cones: Tensor) -> Tensor:
    """Return the distance (N,) of the union of a body, whose `distance` (N,) is given, and of `cones` (M, 11).

    A polynomial smooth minimum (Quilez) rounds the seam, so that no crease is left at the waist.
    """
    for index in range(len(cones)):
        other = cone_distance(points, cones[index : index + 1]).squeeze(1)
        overlap = (1.0 - (distance - other).abs() / BLEND).clamp_min(0.0)
        distance = torch.minimum(distance, other) - 0.25 * BLEND * overlap.square()
    return distance


def cone_meshes(cones: Tensor, outward: float) -> tuple[Tensor, Tensor]:
    """Return vertices (V, 3) and faces (F, 3) of closed meshes that hold `cones` (M, 11), `outward` metres larger."""
    vertices: list[Tensor] = []
    faces: list[Tensor] = []
    angle = torch.arange(SEGMENTS, dtype=torch.float32) * (2 * math.pi / SEGMENTS)
    # A polygon lies inside its ellipse; this much larger it lies outside.
    wide = 1.0 / math.cos(math.pi / SEGMENTS)
    ring = torch.arange(SEGMENTS)
    following = (ring + 1) % SEGMENTS
    for cone in cones.cpu():
        first = 2 * SEGMENTS * len(faces) + 2 * len(faces)
        low, high = (
            torch.stack(
                [
                    cone[start] + (cone[start + 2] + outward) * wide * torch.cos(angle),
                    torch.full_like(angle, float(height)),
                    cone[start + 1] + (cone[start + 3] + outward) * wide * torch.sin(angle),
                ],
                dim=1,
            )
            for start, height in ((2, cone[0] - outward), (6, cone[1] + outward))
        )
        vertices.append(torch.cat([low, high, low.mean(0, keepdim=True), high.mean(0, keepdim=True)]))
        bottom, top = torch.full_like(ring, 2 * SEGMENTS), torch.full_like(ring, 2 * SEGMENTS + 1)
        quads = [
            torch.stack([ring, ring + SEGMENTS, following], dim=1),
            torch.stack([following, ring + SEGMENTS, following + SEGMENTS], dim=1),
            torch.stack([ring, following, bottom], dim=1),
            torch.stack([following + SEGMENTS, ring + SEGMENTS, top], dim=1),
        ]
        faces.append(torch.cat(quads) + first)
    return torch.cat(vertices).to(cones.device), torch.cat(faces).to(cones.device)


def check_cones(cones: Tensor, regions: int) -> None:
    """Raise BodyError unless `cones` (M, 11) have height and width, and a region below `regions`."""
    if cones.ndim != 2 or cones.shape[1] != len(PARAMETERS):
        raise BodyError(f"garment volumes have shape {tuple(cones.shape)}; give (M, {len(PARAMETERS)})")
    if len(cones) and not bool(((cones[:, -1] >= 0) & (cones[:, -1] < regions)).all()):
        raise BodyError(f"a garment volume names a region that is not among the {regions} regions")
    widths = cones[:, [4, 5, 8, 9]]
    if len(cones) and (bool((cones[:, 1] <= cones[:, 0]).any()) or bool((widths <= 0).any())):
        raise BodyError("a garment volume has no height or no width; its upper end lies above its lower one")
