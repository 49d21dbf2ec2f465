"""Where to sample rays: in a thin shell about the body, found by casting rays at its inflated mesh."""

from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor

from avatar_core.fields.avatar_field import AvatarField
from avatar_core.fields.body_sdf import BodySdf
from avatar_core.fields.body_surface import BodySurface
from avatar_core.fields.garment_volume import volume_meshes
from avatar_core.fields.shell_kernels import look
from avatar_core.rendering.cameras import Cameras
from avatar_core.rendering.rasterizer import MeshRays
from avatar_core.rendering.warp_runtime import FIRST, Rows, Shared, launch
from avatar_core.transfers import Awaited

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


@dataclass(frozen=True, eq=False)
class Glance:
    """What rays through all pixels of B views found, while it is not yet known how many of them see the avatar."""

    cameras: Cameras
    """The B views, of P pixels each."""
    directions: Tensor
    """(B P, 3) unit."""
    kept: Tensor
    """(B P,) bool: the ray can see the avatar."""
    on_body: Tensor
    """(B P,) bool."""
    body_depth: Tensor
    """(B P,) metres."""
    near: Tensor
    """(B P,) metres."""
    far: Tensor
    """(B P,) metres."""
    place: Tensor
    """(B P,) int64 how many rays up to this one see the avatar."""
    count: Awaited
    """How many of all do."""

    def rays(self) -> ShellRays:
        """Pick out the rays that can see the avatar: waits until their number is known, and for nothing else."""
        count = int(self.count)
        pixel = torch.arange(len(self.kept), device=self.kept.device)
        # Those that are not kept all land in one place more, which is cut off: nothing has to be asked of the device.
        spare = torch.where(self.kept, self.place - 1, count)
        pixel = pixel.new_empty(count + 1).scatter_(0, spare, pixel)[:count]
        view = pixel // (self.cameras.height * self.cameras.width)
        values = (one[pixel] for one in (self.directions, self.near, self.far, self.on_body, self.body_depth))
        return ShellRays(pixel, view, self.cameras.eye[view], *values)


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
        self.body = MeshRays(surface.vertices, surface.faces)
        vertices, faces = surface.vertices + outward * surface.normals, surface.faces
        if volumes is not None and len(volumes):
            around, sides = volume_meshes(volumes, outward)
            faces = torch.cat([faces, sides + len(vertices)])
            vertices = torch.cat([vertices, around])
        self.wall = MeshRays(vertices, faces)

    def rays(self, cameras: Cameras, grid: BodySdf, jitter: Tensor | None = None) -> ShellRays:
        """Return the rays of `cameras` that come within `reach` of the surface, or hit the body; see `look`."""
        return self.look(cameras, grid, jitter).rays()

    @torch.no_grad()
    def look(self, cameras: Cameras, grid: BodySdf, jitter: Tensor | None = None) -> Glance:
        """Look through all pixels of `cameras`, without waiting for what is found.

        grid: distances before anything learned, on the shell's device.
        jitter: (B, 2) shift of each view's rays in pixels (right, down), for antialiasing over steps.
        """
        size = len(cameras) * cameras.height * cameras.width
        shifts = cameras.eye.new_zeros(len(cameras), 2) if jitter is None else jitter
        directions = shifts.new_empty(size, 3)
        kept, on_body = (torch.empty(size, dtype=torch.bool, device=shifts.device) for _ in range(2))
        body_depth, near, far = (shifts.new_empty(size) for _ in range(3))
        inputs = [
            self.wall.mesh_id,
            self.body.mesh_id,
            *(Shared(one.contiguous(), wp.vec3) for one in (cameras.eye, cameras.target, cameras.up)),
            cameras.fov_y.contiguous(),
            Shared(shifts.contiguous(), wp.vec2),
            cameras.width,
            cameras.height,
            FIRST,
            grid.values.contiguous(),
            wp.vec3(*grid.lower),
            float(grid.cell),
            float(self.inward),
            float(self.reach),
            float(self.longest),
            Rows(directions, wp.vec3),
            *(Rows(one) for one in (kept, on_body, body_depth, near, far)),
        ]
        launch(look, size, inputs, on=directions)
        place = kept.cumsum(0)
        return Glance(cameras, directions, kept, on_body, body_depth, near, far, place, Awaited(place[-1]))


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


def stratified_depths(rays: ShellRays, intervals: int, generator: torch.Generator | None) -> Tensor:
    """Return (R, intervals + 1) rising depths in metres: even, or each moved at random inside its own stretch.

    generator: on the rays' device, where as many numbers are drawn as there are depths.
    """
    count = intervals + 1
    steps = torch.arange(count, device=rays.near.device, dtype=rays.near.dtype).expand(len(rays), count)
    if generator is None:
        offset = torch.full_like(steps, 0.5)
    else:
        offset = torch.rand(len(rays), count, generator=generator, device=generator.device)
    return rays.near[:, None] + (steps + offset) / count * (rays.far - rays.near)[:, None]
