"""The shell's rays in plain torch: slow, obvious, and what the Warp kernel is tested against."""

from dataclasses import fields, replace

import torch
from torch import Tensor

from avatar_core.fields.body_sdf import BodySdf
from avatar_core.fields.shell import Shell, ShellRays
from avatar_core.fields.shell_kernels import AHEAD, DEEP, PROBES
from avatar_core.rendering.cameras import Cameras


@torch.no_grad()
def shell_rays_reference(shell: Shell, cameras: Cameras, grid: BodySdf) -> ShellRays:
    """Return what `shell.rays(cameras, grid)` returns."""
    inward, longest = shell.inward, shell.longest
    origins, directions = (one.reshape(-1, 3) for one in cameras.rays())
    wall_face, _, entry = shell.wall.cast(origins, directions)
    body_face, _, body_depth = shell.body.cast(origins, directions)
    hit_body = body_face >= 0
    # Where offset sheets cross one another the body can come first: then it is the entry.
    pixel = ((wall_face >= 0) | hit_body).nonzero().squeeze(1)
    on_body, to_body = hit_body[pixel], body_depth[pixel]
    near = torch.where(wall_face[pixel] >= 0, entry[pixel], to_body)
    near = torch.where(on_body, torch.minimum(near, to_body - AHEAD), near)
    end = torch.where(on_body, to_body + 3.0 * inward, near + longest)
    start = torch.maximum(near, torch.where(on_body, to_body - longest, near))
    far = torch.minimum(torch.maximum(end, start + AHEAD), start + longest + 3.0 * inward)
    view = pixel // (cameras.height * cameras.width)
    rays = ShellRays(pixel, view, origins[pixel], directions[pixel], start, far, on_body, to_body)
    return _narrowed(rays, grid, shell.reach)


def _narrowed(rays: ShellRays, grid: BodySdf, reach: float) -> ShellRays:
    """Cut each stretch to where the surface can be; drop rays that pass it by."""
    step = (rays.far - rays.near) / PROBES
    depths = rays.near[:, None] + (torch.arange(PROBES) + 0.5) * step[:, None]
    points = rays.origins[:, None] + depths[:, :, None] * rays.directions[:, None]
    distances = grid.distance(points.reshape(-1, 3)).view(depths.shape)
    close = distances < reach
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
