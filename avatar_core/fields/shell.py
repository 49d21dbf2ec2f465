"""Where to sample rays: in a thin shell about the body, found by casting rays at its inflated mesh."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from avatar_core.fields.avatar_field import AvatarField
from avatar_core.fields.body_surface import BodySurface
from avatar_core.fields.garment_volume import volume_meshes
from avatar_core.rendering.cameras import Cameras
from avatar_core.rendering.rasterizer import MeshRays
from avatar_core.transfers import sent

PROBES = 24
"""Places along a ray where the distance before anything learned is looked up, to find the stretch to sample."""

DEEP = 0.03
"""Distance below the surface, before anything learned, at which a ray has gone far enough, metres."""
LONGEST, LONGEST_LOOSE = 0.36, 0.9
"""Longest stretch that is looked at on one ray, metres: over bare bodies, and where a skirt or a hat stands off it."""


@dataclass(frozen=True, eq=False)
class ShellRays:
    """The rays of several views that can see the avatar, with the stretch of each to sample."""

    pixel: Tensor
    """(R,) int64 index into the flattened (B, H, W) pixels, rising."""
    view: Tensor
    """(R,) int64 view of each ray."""
    origins: Tensor
    """(R, 3) metres."""
    directions: Tensor
    """(R, 3) unit."""
    near: Tensor
    """(R,) metres along the ray where it enters the shell."""
    far: Tensor
    """(R,) metres along the ray where sampling ends."""
    on_body: Tensor
    """(R,) bool: the ray hits the body itself."""
    body_depth: Tensor
    """(R,) metres along the ray to the body, 0 where it misses."""

    def __len__(self) -> int:
        return len(self.pixel)


class Shell:
    """The body's mesh and its outward offset, in bounding volume hierarchies.

    Args:
        surface: the body.
        outward: distance of the shell's outer wall from the body, metres.
        inward: how far below the body's surface rays are sampled, metres.
        reach: distance from the surface, before anything learned, beyond which nothing is sampled, metres.
        volumes: (M, 12) what is worn away from the body (see `garment_volume`), walled in too.
        longest: longest stretch sampled on a ray that grazes the shell, metres.
    """

    def __init__(
        self,
        surface: BodySurface,
        *,
        outward: float,
        inward: float,
        reach: float,
        volumes: Tensor | None = None,
        longest: float = LONGEST,
    ) -> None:
        self.inward = inward
        self.reach = reach
        self.longest = longest
        self._body = MeshRays(surface.vertices, surface.faces)
        vertices, faces = surface.vertices + outward * surface.normals, surface.faces
        if volumes is not None and len(volumes):
            around, sides = volume_meshes(volumes, outward)
            faces = torch.cat([faces, sides + len(vertices)])
            vertices = torch.cat([vertices, around])
        self._wall = MeshRays(vertices, faces)

    @torch.no_grad()
    def rays(self, cameras: Cameras, distance: Callable[[Tensor], Tensor], jitter: Tensor | None = None) -> ShellRays:
        """Return the rays of `cameras` that come within `reach` of the surface, or hit the body.

        distance: signed distance (N,) in metres at points (N, 3) before anything learned.
        jitter: (B, 2) shift of each view's rays in pixels (right, down), for antialiasing over steps.
        """
        origins, directions = cameras.rays()
        if jitter is not None:
            directions = _shifted(cameras, directions, jitter)
        shape = directions.shape[:3]
        origins, directions = origins.reshape(-1, 3), directions.reshape(-1, 3)
        wall_face, _, entry = self._wall.cast(origins, directions)
        body_face, _, body_depth = self._body.cast(origins, directions)
        hit_body = body_face >= 0
        # Where offset sheets cross one another the body can come first: then it is the entry.
        seen = (wall_face >= 0) | hit_body
        pixel = seen.nonzero().squeeze(1)
        origins, directions, on_body = origins[pixel], directions[pixel], hit_body[pixel]
        to_body = body_depth[pixel]
        near = torch.where(wall_face[pixel] >= 0, entry[pixel], to_body)
        near = torch.where(on_body, torch.minimum(near, to_body - 1e-3), near)
        end = torch.where(on_body, to_body + 3.0 * self.inward, near + self.longest)
        start = torch.maximum(near, torch.where(on_body, to_body - self.longest, near))
        far = torch.minimum(torch.maximum(end, start + 1e-3), start + self.longest + 3.0 * self.inward)
        view = pixel // (shape[1] * shape[2])
        rays = ShellRays(pixel, view, origins, directions, start, far, on_body, to_body)
        return self._narrowed(rays, distance)

    def _narrowed(self, rays: ShellRays, distance: Callable[[Tensor], Tensor]) -> ShellRays:
        """Cut each stretch to where the surface can be; drop rays that pass it by."""
        step = (rays.far - rays.near) / PROBES
        probe = torch.arange(PROBES, device=step.device)
        depths = rays.near[:, None] + (probe + 0.5) * step[:, None]
        points = rays.origins[:, None] + depths[:, :, None] * rays.directions[:, None]
        distances = distance(points.reshape(-1, 3)).view(depths.shape)
        close = distances < self.reach
        first = _first(close)
        # What lies deep inside is never seen: under a skirt, rays end long before they reach the legs.
        last = torch.minimum(PROBES - 1 - _first(close.flip(1)), _first(distances < -DEEP))
        met = first < PROBES
        near = torch.where(met, rays.near + (first - 0.5).clamp_min(0.0) * step, rays.near)
        far = torch.where(met, rays.near + (last + 1.5).clamp_max(PROBES) * step, rays.far)
        kept = (met | rays.on_body).nonzero().squeeze(1)
        narrowed = replace(rays, near=near, far=far)
        return ShellRays(*(getattr(narrowed, field.name)[kept] for field in fields(ShellRays)))


def _first(marked: Tensor) -> Tensor:
    """Return the number (R,) of the first mark in each row of (R, P) bool; P where there is none."""
    place = marked.view(torch.uint8).argmax(1)
    return torch.where(marked.gather(1, place[:, None]).squeeze(1), place, marked.shape[1])


def shell_of(field: AvatarField) -> Shell:
    """Return the shell in which the surface of `field` can lie, whatever it learns."""
    outward = field.config.outward
    worn = float(field.base.thickness.max())
    return Shell(
        field.surface,
        outward=outward + worn,
        inward=field.config.inward,
        reach=outward,
        volumes=field.base.volumes,
        longest=LONGEST_LOOSE if len(field.base.volumes) else LONGEST,
    )


def _shifted(cameras: Cameras, directions: Tensor, jitter: Tensor) -> Tensor:
    axes = cameras.axes()
    pixel = 2.0 * torch.tan(cameras.fov_y / 2.0) / cameras.height
    shift = pixel[:, None] * (jitter[:, :1] * axes[:, 0] - jitter[:, 1:] * axes[:, 1])
    cosine = (directions * axes[:, None, None, 2]).sum(-1, keepdim=True)
    return torch.nn.functional.normalize(directions / cosine + shift[:, None, None], dim=-1)


def stratified_depths(rays: ShellRays, intervals: int, generator: torch.Generator | None) -> Tensor:
    """Return (R, intervals + 1) rising depths in metres: even, or each moved at random inside its own stretch."""
    count = intervals + 1
    steps = torch.arange(count, device=rays.near.device, dtype=rays.near.dtype).expand(len(rays), count)
    if generator is None:
        offset = torch.full_like(steps, 0.5)
    else:
        draws = torch.rand(len(rays), count, generator=generator, device=generator.device)
        offset = sent(draws, rays.near.device)
    return rays.near[:, None] + (steps + offset) / count * (rays.far - rays.near)[:, None]
