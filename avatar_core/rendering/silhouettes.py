"""Antialiased silhouettes with gradients: an outline between two pixel centres blends them by its position.

The idea is nvdiffrast's antialiasing (Laine et al., "Modular Primitives for High-Performance Differentiable
Rendering", 2020). There the edges of the face seen by a pixel are searched; here every silhouette edge of the
mesh is walked along the pixel grid instead, so that outlines of edges far shorter than a pixel are found too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from avatar_core.rendering.cameras import NEAR, Cameras
from avatar_core.rendering.kernels import faces_towards
from avatar_core.rendering.topology import MeshTopology

OCCLUSION_SLACK = 1e-3
"""An edge is hidden when something lies nearer to the eye by more than this part of its distance."""


@dataclass(frozen=True, eq=False)
class Crossings:
    """N places where a visible silhouette edge passes between the centres of two neighbouring pixels."""

    inside: Tensor
    """(N,) int64 pixel on the side of the nearer surface, index into the flattened (B, H, W)."""
    outside: Tensor
    """(N,) int64 pixel on the other side, likewise."""
    edge: Tensor
    """(N, 2) int64 vertices of the edge."""
    view: Tensor
    """(N,) int64 camera."""

    def __len__(self) -> int:
        return self.inside.shape[0]


@dataclass(frozen=True, eq=False)
class Candidates:
    """N places where a silhouette edge, seen or hidden, passes between two pixel centres, ordered by view."""

    inside: Tensor
    """(N,) int64 pixel on the side of the edge's faces, index into the flattened (B, H, W)."""
    outside: Tensor
    """(N,) int64 pixel on the other side."""
    edge: Tensor
    """(N, 2) int64 vertices of the edge."""
    view: Tensor
    """(N,) int64 camera."""
    reach: Tensor
    """(N,) distance of the crossing from the centre of the inside pixel, 0 to 1 pixels."""
    direction: Tensor
    """(N, 3) unit directions from the eye to the crossing."""
    distance: Tensor
    """(N,) metres from the eye to the crossing."""


def silhouette_edges(towards: Tensor, topology: MeshTopology) -> tuple[Tensor, Tensor]:
    """Return (view (S,), edge (S,)) of the edges at which the mesh folds over as seen from the eye, or ends.

    Args:
        towards: (B, F) bool, whether each face shows its front.
        topology: the edges of these faces.
    """
    first, second = (towards.index_select(1, topology.edge_faces[:, side]) for side in (0, 1))
    view, edge = torch.nonzero((first ^ second ^ topology.flipped) | topology.boundary, as_tuple=True)
    return view, edge


def find_candidates(vertices: Tensor, faces: Tensor, topology: MeshTopology, cameras: Cameras) -> Candidates:
    """Find where silhouette edges pass between neighbouring pixel centres.

    An edge that is steep in the image is looked for between horizontal neighbours, a flat one between
    vertical neighbours, so that each piece of outline counts once.

    Args:
        vertices: (V, 3) or (B, V, 3) world space, no gradients.
        faces: (F, 3) vertex indices.
        topology: the edges of these faces.
        cameras: B cameras.
    """
    height, width = cameras.height, cameras.width
    sets = vertices if vertices.ndim == 3 else vertices[None]
    view, edge = silhouette_edges(faces_towards(sets, faces, cameras.eye), topology)
    ends = topology.edges[edge]
    points = _of_view(vertices, ends, view)
    pixels, axial = _project_corners(points, view, cameras)
    span = pixels[:, 1] - pixels[:, 0]
    steep = span[:, 1].abs() >= span[:, 0].abs()
    start, end = (_along_across(corner, steep) for corner in pixels.unbind(1))

    lines = torch.where(steep, height, width)
    first = torch.ceil(torch.minimum(start[:, 1], end[:, 1]) - 0.5).clamp(min=0).minimum(lines)
    stop = torch.ceil(torch.maximum(start[:, 1], end[:, 1]) - 0.5).clamp(min=0).minimum(lines)
    repeats = (stop - first).clamp(min=0).to(torch.int64) * (axial > NEAR).all(1)
    pick = torch.repeat_interleave(repeats)
    line = first[pick] + (torch.arange(len(pick), device=pick.device) - (repeats.cumsum(0) - repeats)[pick])

    start, end, steep = (of[pick] for of in (start, end, steep))
    fraction = (line + 0.5 - start[:, 1]) / (end - start)[:, 1]
    position = torch.lerp(start[:, 0], end[:, 0], fraction) - 0.5
    low = torch.floor(position)
    fits = torch.nonzero((low >= 0) & (low < torch.where(steep, width, height) - 1))[:, 0]
    pick = pick[fits]
    view, edge = view[pick], edge[pick]
    start, end, steep, line, fraction, position, low = (
        of[fits] for of in (start, end, steep, line, fraction, position, low)
    )

    opposite = _of_view(vertices, topology.opposite[edge, None], view)
    third = _along_across(_project_corners(opposite, view, cameras)[0][:, 0], steep)
    slope = (end - start)[:, 0] / (end - start)[:, 1]
    inside_high = third[:, 0] > start[:, 0] + (third[:, 1] - start[:, 1]) * slope
    row, column = torch.where(steep, line, low), torch.where(steep, low, line)
    pixel_low = (view * height + row.to(torch.int64)) * width + column.to(torch.int64)
    pixel_high = pixel_low + torch.where(steep, 1, width)
    ray = _perspective_lerp(points[pick], axial[pick], fraction) - cameras.eye[view]
    distance = ray.norm(dim=-1)
    return Candidates(
        inside=torch.where(inside_high, pixel_high, pixel_low),
        outside=torch.where(inside_high, pixel_low, pixel_high),
        edge=ends[pick],
        view=view,
        reach=torch.where(inside_high, low + 1 - position, position - low),
        direction=ray / distance[:, None],
        distance=distance,
    )


def keep_visible(candidates: Candidates, depth: Tensor, hit: Tensor) -> Crossings:
    """Keep the crossings at which a visible outline parts a nearer surface from what lies behind it.

    Args:
        candidates: where silhouette edges pass between pixels.
        depth: (B, H, W) distance of the surface at each pixel, 0 for none.
        hit: (N,) distance of the first surface towards each crossing, 0 for none.
    """
    depth = depth.reshape(-1)
    distance = candidates.distance
    seen = (hit == 0) | (hit >= distance * (1 - OCCLUSION_SLACK))
    depth_in, depth_out = depth[candidates.inside], depth[candidates.outside]
    open_outside = depth_out == 0
    behind = open_outside | (depth_out > distance)
    belongs = (depth_in > 0) & (open_outside | (depth_in < (distance + depth_out) / 2))
    kept = torch.nonzero(seen & behind & belongs)[:, 0]
    inside, outside = candidates.inside[kept], candidates.outside[kept]
    outermost = _outermost(inside, outside, candidates.reach[kept])
    kept = kept[outermost]
    return Crossings(
        inside=inside[outermost],
        outside=outside[outermost],
        edge=candidates.edge[kept],
        view=candidates.view[kept],
    )


def blend_silhouettes(image: Tensor, vertices: Tensor, cameras: Cameras, crossings: Crossings) -> Tensor:
    """Blend the pixels on both sides of each crossing by how far the edge lies from their centres.

    Args:
        image: (B, H, W, C) values at the pixel centres.
        vertices: (V, 3) or (B, V, 3) world space; gradients flow to the ends of the edges.
        cameras: B cameras.
        crossings: where silhouettes pass between pixels.
    Returns:
        (B, H, W, C); differentiable in the image, the vertices and the cameras.
    """
    if len(crossings) == 0:
        return image
    width = cameras.width
    ends = _of_view(vertices, crossings.edge, crossings.view)
    start, end = _project_corners(ends, crossings.view, cameras)[0].unbind(1)
    steep = (crossings.inside - crossings.outside).abs() == 1
    steep = steep & (crossings.inside // width == crossings.outside // width)
    start, end = _along_across(start, steep), _along_across(end, steep)
    within = crossings.inside % (cameras.height * width)
    centre = torch.stack([within % width, within // width], dim=1).to(start.dtype) + 0.5
    centre = _along_across(centre, steep)
    outwards = torch.sign(crossings.outside - crossings.inside).to(start.dtype)
    slope = (end - start)[:, 0] / (end - start)[:, 1]
    reach = (start[:, 0] + (centre[:, 1] - start[:, 1]) * slope - centre[:, 0]) * outwards

    share = 0.5 - reach
    changed = torch.where(share > 0, crossings.inside, crossings.outside)
    other = torch.where(share > 0, crossings.outside, crossings.inside)
    share = share.abs().to(image.dtype)
    flat = image.reshape(-1, image.shape[-1])
    total = torch.zeros_like(flat[:, 0]).index_add(0, changed, share)
    share = share / total[changed].clamp(min=1)
    return flat.index_add(0, changed, share[:, None] * (flat[other] - flat[changed])).reshape(image.shape)


def _of_view(vertices: Tensor, corners: Tensor, view: Tensor) -> Tensor:
    """Return the corners' (N, K) points (N, K, 3) out of vertices (V, 3) or (B, V, 3)."""
    if vertices.ndim == 3:
        corners = corners + view[:, None] * vertices.shape[1]
    return vertices.reshape(-1, 3).index_select(0, corners.reshape(-1)).unflatten(0, corners.shape)


def _project_corners(points: Tensor, view: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Return pixels (N, K, 2) and depths (N, K) of points (N, K, 3), each row in its own view."""
    local = (points - cameras.eye[view][:, None]) @ cameras.axes().transpose(1, 2)[view]
    return cameras.to_pixels(local, cameras.fov_y[view][:, None])


def _along_across(points: Tensor, steep: Tensor) -> Tensor:
    """Return points (N, 2) as (position between the two pixels, position across), swapped where not steep."""
    return torch.where(steep[:, None], points, points.flip(1))


def _perspective_lerp(ends: Tensor, axial: Tensor, fraction: Tensor) -> Tensor:
    """Return (N, 3) points on edges (N, 2, 3) of depths (N, 2), at a fraction (N,) of their length in the image."""
    fraction = fraction * axial[:, 0] / torch.lerp(axial[:, 1], axial[:, 0], fraction)
    return torch.lerp(ends[:, 0], ends[:, 1], fraction[:, None])


def _outermost(inside: Tensor, outside: Tensor, reach: Tensor) -> Tensor:
    """Return, in a fixed order, the entry with the largest reach of each pair of pixels."""
    by_reach = torch.argsort(reach, stable=True)
    pair = (
        inside[by_reach] * 4
        + torch.where(
            outside > inside,
            torch.where(outside == inside + 1, 0, 1),
            torch.where(outside == inside - 1, 2, 3),
        )[by_reach]
    )
    grouped = torch.argsort(pair, stable=True)
    pair = pair[grouped]
    last = torch.ones_like(pair, dtype=torch.bool)
    last[:-1] = pair[1:] != pair[:-1]
    return by_reach[grouped[last]]
