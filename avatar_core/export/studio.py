"""A photo studio for previews: cameras that frame the avatar, soft boxes with real shadows, a seamless floor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

from avatar_core.export.color_space import to_linear, to_srgb
from avatar_core.export.texture import Texture
from avatar_core.rendering.cameras import Cameras, orbit_cameras
from avatar_core.rendering.mesh_renderer import render_mesh
from avatar_core.rendering.rasterizer import MeshRays

WALL_TOP, WALL_LOW, FLOOR = (0.80, 0.82, 0.85), (0.66, 0.68, 0.71), (0.60, 0.61, 0.63)
"""Linear colours of the backdrop."""
SOFT_BOXES = (
    # (right, up, towards the camera), intensity, concentration
    ((-0.65, 0.75, 1.0), 1.50, 5.0),
    ((0.90, 0.15, 0.8), 0.45, 3.0),
    ((0.60, 0.70, -0.9), 0.90, 8.0),
    ((-0.80, 0.30, -0.9), 0.45, 8.0),
)
"""Key, fill and two rim lights, placed relative to the camera."""
AMBIENT_LOW, AMBIENT_HIGH = 0.20, 0.50
"""Light from straight below and straight above, between which the sky fades."""
REACH = 1.5
"""Things farther than this cast no shadow, metres."""
NEIGHBOURS = 6
"""Probes that a vertex takes its light from: enough that not all of them lie in one fold."""
BURIED = 0.4
"""Part of the light before it that a probe must see to be fully trusted."""
CLEARANCE = 0.006
"""Shadow rays start this far off the surface, metres."""
SHADOW_DEPTH = 1.3
"""Exponent on the floor's light: shadows a little deeper than life, so that feet look planted."""
LINE_SPACING = 0.5
"""Distance of the floor's lines, metres."""


@dataclass(frozen=True)
class LightProbes:
    """A few of a mesh's vertices at which light is measured, and how the others take it from them."""

    index: Tensor  # (P,) vertices that are probes
    nearest: Tensor  # (V, NEIGHBOURS) probes of each vertex
    weights: Tensor  # (V, NEIGHBOURS), rows sum to 1


@dataclass(frozen=True)
class FloorShade:
    """A square of the floor at height `level` around `center` with its light relative to an empty floor."""

    light: Tensor  # (G, G) 0 to 1, rows along z, columns along x
    center: Tensor  # (2,) x, z
    half: float  # metres
    level: float  # metres


def sphere_directions(count: int, device: torch.device) -> Tensor:
    """Return (count, 3) unit vectors spread evenly (the Fibonacci spiral of Swinbank & Purser 2006)."""
    index = torch.arange(count, dtype=torch.float64) + 0.5
    height = 1 - 2 * index / count
    turn = index * math.pi * (3 - math.sqrt(5))
    ring = (1 - height.square()).sqrt()
    return torch.stack([ring * turn.cos(), height, ring * turn.sin()], dim=-1).float().to(device)


def place_probes(vertices: Tensor, normals: Tensor, spacing: float) -> LightProbes:
    """Choose about one probe per `spacing` metres of the surface, one a side of thin parts.

    Args:
        vertices: (V, 3) metres.
        normals: (V, 3) unit.
        spacing: metres.
    """
    # A turn of the normal by one radian counts as a step of one spacing.
    places = torch.cat([vertices, spacing * normals], dim=1).double().cpu().numpy()
    _, index = np.unique(np.floor(places / spacing).astype(np.int64), axis=0, return_index=True)
    index = np.sort(index)
    distance, nearest = cKDTree(places[index]).query(places, k=min(NEIGHBOURS, len(index)))
    distance, nearest = distance.reshape(len(places), -1), nearest.reshape(len(places), -1)
    weights = 1 / (distance + 0.2 * spacing)
    weights /= weights.sum(axis=1, keepdims=True)
    device = vertices.device
    return LightProbes(
        torch.from_numpy(index).to(device),
        torch.from_numpy(nearest).to(device),
        torch.from_numpy(weights).float().to(device),
    )


def gathered_light(
    rays: MeshRays, probes: LightProbes, vertices: Tensor, normals: Tensor, directions: Tensor
) -> Tensor:
    """Return (V, D) how much light from each direction (D, 3) reaches each vertex: its cosine where it is free.

    Args:
        rays: the mesh that casts shadows.
        probes: of that mesh.
        vertices: (V, 3) metres, in the pose of `rays`.
        normals: (V, 3) unit.
        directions: (D, 3) unit, towards the light.
    """
    points, facing = vertices[probes.index], normals[probes.index]
    # Directions a little behind the probe may still reach a neighbour that takes its light from it.
    asked = (facing @ directions.T > -0.1).nonzero()
    start = (points + CLEARANCE * facing)[asked[:, 0]]
    face, _, _ = rays.cast(start, directions[asked[:, 1]], REACH)
    free = torch.zeros(len(points), len(directions), device=vertices.device)
    free[asked[:, 0], asked[:, 1]] = (face < 0).float()
    # A probe that sees next to nothing lies in a fold, between the lips say, and says nothing of its neighbours.
    cosine = (facing @ directions.T).clamp_min(0)
    open_part = (free * cosine).sum(1) / cosine.sum(1).clamp_min(1e-9)
    trust = (open_part / BURIED).clamp(0.01, 1.0)[probes.nearest] * probes.weights
    seen = (free[probes.nearest] * (trust / trust.sum(1, keepdim=True))[..., None]).sum(1)
    return seen * (normals @ directions.T).clamp_min(0)


def radiance(cameras: Cameras, directions: Tensor) -> Tensor:
    """Light (B, ...) of the studio of each camera from directions (..., 3); soft boxes stand by the camera."""
    low, high = AMBIENT_LOW, AMBIENT_HIGH
    flat = directions.reshape(-1, 3)
    light = (low + (high - low) * (0.5 + 0.5 * flat[:, 1])).expand(len(cameras), -1).clone()
    right, up, forward = cameras.axes().unbind(1)
    for (x, y, z), intensity, focus in SOFT_BOXES:
        box = normalize(x * right + y * up - z * forward, dim=-1)
        light += intensity * torch.exp(focus * (box @ flat.T - 1))
    return light.reshape(len(cameras), *directions.shape[:-1])


def arriving_light(gathered: Tensor, directions: Tensor, cameras: Cameras) -> Tensor:
    """Linear light (B, V, 1) that reaches vertices by gathered light (V, D), for each camera.

    Exposed so that a free surface which faces the camera shows its albedo.
    """
    light = radiance(cameras, directions)
    facing = (-cameras.axes()[:, 2] @ directions.T).clamp_min(0)
    exposure = (light * facing).sum(1, keepdim=True)
    return ((light / exposure) @ gathered.T)[..., None]


def floor_shade(
    rays: MeshRays, camera: Cameras, *, center: Tensor, level: float, half: float, cells: int, samples: int
) -> FloorShade:
    """Measure the shadows on the floor around `center` (2,) (x, z) in the light of one camera's studio.

    Args:
        rays: the mesh that casts them.
        camera: one camera.
        center: (2,) metres.
        level: height of the floor, metres.
        half: half the side of the measured square, metres.
        cells: measured points a side.
        samples: directions from each point.
    """
    device = center.device
    axis = (torch.arange(cells, device=device) + 0.5) / cells * 2 - 1
    row, column = torch.meshgrid(torch.arange(cells, device=device), torch.arange(cells, device=device), indexing="ij")
    points = torch.stack(
        [
            axis[column] * half + center[0],
            torch.full((cells, cells), level + CLEARANCE, device=device),
            axis[row] * half + center[1],
        ],
        dim=-1,
    )
    # Cosine-weighted directions, turned from cell to cell, so that too few of them are noise and not ghosts.
    index = torch.arange(samples, device=device)
    ring = ((index + 0.5) / samples).sqrt()
    phase = 2 * math.pi * ((0.7548777 * row + 0.5698403 * column) % 1.0)
    turn = phase[..., None] + index * math.pi * (3 - math.sqrt(5))
    height = (1 - ring.square()).sqrt().expand_as(turn)
    directions = torch.stack([ring * turn.cos(), height, ring * turn.sin()], dim=-1)
    face, _, _ = rays.cast(points[:, :, None].expand_as(directions), directions, REACH)
    light = radiance(camera[:1], directions)[0]
    share = (light * (face < 0)).sum(-1) / light.sum(-1)
    kernel = share.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    blurred = torch.nn.functional.pad(share[None, None], (2, 2, 2, 2), mode="replicate")
    blurred = torch.nn.functional.conv2d(blurred, (kernel[:, None] * kernel)[None, None])[0, 0]
    return FloorShade(blurred, center, half, level)


def backdrop(cameras: Cameras, shade: FloorShade, *, lines: bool) -> Tensor:
    """Return the studio without the avatar: (B, 3, H, W) linear light, a shaded floor that melts into the wall."""
    origin, direction = cameras.rays()
    down = (-direction[..., 1]).clamp_min(1e-4)
    reach = (origin[..., 1] - shade.level) / down
    spot = (origin + reach[..., None] * direction)[..., [0, 2]]
    place = (spot - shade.center) / shade.half
    light = grid_sample(
        shade.light[None, None].expand(len(cameras), -1, -1, -1), place, padding_mode="border", align_corners=False
    )[:, 0]
    # The shadows fade out before the square ends, so that its border does not show.
    light = torch.lerp(torch.ones_like(light), light, ((0.95 - place.norm(dim=-1)) / 0.35).clamp(0, 1))
    floor = light[..., None] ** SHADOW_DEPTH * light.new_tensor(FLOOR)
    if lines:
        # A line is never thinner than the pixel's footprint on the floor, so that it does not flicker.
        footprint = reach * (cameras.fov_y / cameras.height)[:, None, None] / down
        gap = (spot - torch.round(spot / LINE_SPACING) * LINE_SPACING).abs()
        width = 0.008 + 0.7 * footprint[..., None]
        ink = (0.008 / width) * torch.exp(-(gap / width).square())
        floor = floor * (1 - 0.25 * ink.amax(-1, keepdim=True))
    wall_low, wall_top = light.new_tensor(WALL_LOW), light.new_tensor(WALL_TOP)
    rise = ((direction[..., 1:2] + 0.12) / 0.4).clamp(0, 1)
    wall = torch.lerp(wall_low, wall_top, rise)
    away = (spot - shade.center).norm(dim=-1, keepdim=True)
    melt = ((away - 1.2) / 2.8).clamp(0, 1)
    melt = torch.where(direction[..., 1:2] < -1e-3, melt * melt * (3 - 2 * melt), torch.ones_like(melt))
    return torch.lerp(floor, wall, melt).permute(0, 3, 1, 2).contiguous()


def framing_distance(
    points: Tensor,
    target: Tensor,
    azimuths: Tensor,
    elevation: float,
    fov_y: float,
    size: tuple[int, int],
    margin: float,
) -> float:
    """Smallest distance in metres at which every orbit camera holds all points (N, 3) in its picture.

    Args:
        points: (N, 3) metres.
        target: (3,) that the cameras look at.
        azimuths: (B,) radians.
        elevation: radians.
        fov_y: vertical field of view, radians.
        size: height and width of the picture.
        margin: part of the picture left free at each border.
    """
    probe = orbit_cameras(azimuths, elevation, 1.0, target, fov_y, size)
    right, up, forward = probe.axes().unbind(1)
    relative = points - target
    x, y, depth = (
        (relative @ axis.T).abs() if side else relative @ axis.T
        for axis, side in ((right, True), (up, True), (forward, False))
    )
    tall = math.tan(fov_y / 2) * (1 - 2 * margin)
    wide = tall * size[1] / size[0]
    return float(torch.maximum(x / wide, y / tall).sub(depth).max())


@dataclass(frozen=True, eq=False)
class Paint:
    """Albedo of a mesh by its UV charts, in linear light."""

    texture: Tensor  # (H, W, 3)
    uvs: Tensor  # (N, 2)
    face_uvs: Tensor  # (F, 3) int64

    @classmethod
    def of(cls, texture: Texture, device: torch.device) -> Paint:
        """Put a texture on a device."""
        image, uvs, face_uvs = texture.on(device)
        return cls(to_linear(image), uvs, face_uvs)


def photograph(
    vertices: Tensor,
    faces: Tensor,
    paint: Paint,
    light: Tensor,
    cameras: Cameras,
    background: Tensor,
    rays: MeshRays,
    supersample: int,
) -> Tensor:
    """Render a painted mesh in the light (B, V, 1) that reaches its vertices: (B, 3, H, W) sRGB in [0, 1].

    background: (B, 3, H, W) linear light.
    """
    with torch.no_grad():
        images = [
            render_mesh(
                vertices,
                faces,
                cameras[view],
                lights=None,
                vertex_colors=light[view].expand(-1, 3),
                texture=paint.texture,
                uvs=paint.uvs,
                face_uvs=paint.face_uvs,
                background=background[view : view + 1],
                supersample=supersample,
                rays=rays,
            ).image
            for view in range(len(cameras))
        ]
    return to_srgb(torch.cat(images).clamp(0, 1))
