"""Differentiable images of a mesh: visibility from rays, shading deferred to torch, silhouettes blended.

Gradients reach colours, textures, UVs, normals and positions: the interior through barycentric weights that
are recomputed from the visible face's corners, the outline through the blend of pixels on both sides of it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from avatar_core.rendering.cameras import Cameras
from avatar_core.rendering.lights import Lights, shade
from avatar_core.rendering.normals import vertex_normals
from avatar_core.rendering.rasterizer import MeshRays, Raster, check_mesh, rasterize_sets
from avatar_core.rendering.silhouettes import blend_silhouettes

Recoloring = Callable[[Tensor, Tensor], Tensor]
"""Albedo (M, C) of the points (M, 3), world space, that so far have the albedo (M, C)."""


@dataclass(frozen=True, eq=False)
class Rendering:
    """What B cameras show."""

    image: Tensor
    """(B, C, H, W) shaded colours over the background."""
    mask: Tensor
    """(B, 1, H, W) part of the pixel that the mesh covers, 0 to 1."""
    depth: Tensor
    """(B, 1, H, W) distance from the eye along the ray in metres, 0 where the mesh is not."""
    normals: Tensor
    """(B, 3, H, W) unit normals in world space, towards the camera's side, 0 where the mesh is not."""
    raster: Raster
    """The visibility behind the images; pass it again while vertices and cameras stay."""


@dataclass(frozen=True, eq=False)
class _Hits:
    """The M pixels that see the mesh."""

    pixel: Tensor  # (M,) index into the flattened (B, H, W)
    view: Tensor  # (M,)
    face: Tensor  # (M,)
    corners: Tensor  # (M, 3) vertex indices
    bary: Tensor  # (M, 3)
    depth: Tensor  # (M,)
    flip: Tensor  # (M, 1) -1 where the face's back is seen, else 1


def render_mesh(
    vertices: Tensor,
    faces: Tensor,
    cameras: Cameras,
    *,
    lights: Lights | None,
    background: Tensor | None = None,
    vertex_colors: Tensor | None = None,
    texture: Tensor | None = None,
    uvs: Tensor | None = None,
    face_uvs: Tensor | None = None,
    normals: Tensor | None = None,
    recolor: Recoloring | None = None,
    antialias: bool = True,
    supersample: int = 1,
    raster: Raster | None = None,
    rays: MeshRays | None = None,
) -> Rendering:
    """Render a mesh, or one vertex set a camera, with Lambert shading.

    Without vertex colours and texture the surface is white, so that the lights show the shape alone.

    Args:
        vertices: (V, 3) or (B, V, 3) world space, metres.
        faces: (F, 3) vertex indices, int64.
        cameras: B cameras on the same device.
        lights: B lights; None shows the colours as they are.
        background: (B, C, H, W) or (C, 1, 1) or anything that expands so; None is white.
        vertex_colors: (V, C) or (B, V, C) in [0, 1].
        texture: (Ht, Wt, C) in [0, 1], sampled bilinearly; needs uvs and face_uvs. Vertex colours multiply it, as
            glTF has it.
        uvs: (N, 2) in [0, 1] with (0, 0) at the texture's top left corner, as in glTF.
        face_uvs: (F, 3) indices into uvs.
        normals: (V, 3) or (B, V, 3) unit normals of the vertices; by default those of `vertex_normals`.
        recolor: changes the albedo where the mesh is seen, before it is lit: paint that is known by its place in space.
        antialias: blend silhouettes; without it, positions get no gradient from the outline.
        supersample: samples a side of each pixel, averaged; 2 or 3 make clean previews.
        raster: visibility of these vertices and cameras at `supersample` times the size, when already known
            (with crossings, if `antialias` is to blend).
        rays: a MeshRays of the same faces to refit to these vertices instead of building a hierarchy anew.
    Raises:
        ValueError: shapes that do not fit each other.
        BodyError: vertices that are not finite.
    """
    _check(vertices, faces, cameras, lights, vertex_colors, texture, uvs, face_uvs)
    if supersample < 1:
        raise ValueError(f"supersample is a count of samples, got {supersample}")
    fine = cameras.resized(cameras.height * supersample, cameras.width * supersample)
    if raster is None:
        raster = find_visible(vertices, faces, fine, antialias=antialias, rays=rays)
    if tuple(raster.face.shape) != (len(fine), fine.height, fine.width):
        raise ValueError(
            f"the raster has shape {tuple(raster.face.shape)}, "
            f"the views need {(len(fine), fine.height, fine.width)}"
        )
    hits = _hits(vertices, faces, fine, raster)
    albedo = _albedo(hits, faces, vertices, vertex_colors, texture, uvs, face_uvs)
    if recolor is not None:
        albedo = recolor(_interpolate(vertices, hits), albedo)
    if normals is None:
        normals = vertex_normals(vertices, faces)
    surface = torch.nn.functional.normalize(_interpolate(normals, hits) * hits.flip, dim=-1, eps=1e-12)
    color = albedo if lights is None else shade(albedo, surface, lights, hits.view)

    channels = color.shape[-1]
    values = _backdrop(background, fine, cameras, channels, color)
    opaque = torch.cat([color, torch.ones_like(color[:, :1])], dim=1)
    values = values.index_copy(0, hits.pixel, opaque).reshape(*raster.face.shape, channels + 1)
    if antialias and raster.crossings is not None:
        values = blend_silhouettes(values, vertices, fine, raster.crossings)

    blank = torch.zeros(raster.face.numel(), 4, device=color.device, dtype=color.dtype)
    geometry = blank.index_copy(
        0, hits.pixel, torch.cat([hits.depth[:, None], surface], dim=1).to(color.dtype)
    )
    values, geometry = _downsample(values, geometry.reshape(*raster.face.shape, 4), supersample)
    return Rendering(
        image=values[:, :channels],
        mask=values[:, channels:],
        depth=geometry[:, :1],
        normals=geometry[:, 1:],
        raster=raster,
    )


@torch.no_grad()
def find_visible(
    vertices: Tensor, faces: Tensor, cameras: Cameras, *, antialias: bool = True, rays: MeshRays | None = None
) -> Raster:
    """Return what each camera sees of vertices (V, 3) or (B, V, 3), with crossings if `antialias`."""
    if rays is None:
        rays = MeshRays(vertices if vertices.ndim == 2 else vertices[0], faces)
    elif vertices.ndim == 2:
        rays.refit(vertices)
    cameras = cameras.to(dtype=torch.float32)
    if vertices.ndim == 2:
        return rays.rasterize(cameras, silhouettes=antialias)
    return rasterize_sets(rays, vertices, cameras, silhouettes=antialias)


def _hits(vertices: Tensor, faces: Tensor, cameras: Cameras, raster: Raster) -> _Hits:
    face = raster.face.reshape(-1)
    pixel = torch.nonzero(face >= 0)[:, 0]
    view = pixel.div(cameras.height * cameras.width, rounding_mode="floor")
    face = face[pixel]
    corners = faces.index_select(0, face)
    triangle = _gather(vertices, corners, view)
    edge_1, edge_2 = triangle[:, 1] - triangle[:, 0], triangle[:, 2] - triangle[:, 0]
    bary = raster.bary.reshape(-1, 3).index_select(0, pixel).to(vertices.dtype)
    depth = raster.depth.reshape(-1).index_select(0, pixel).to(vertices.dtype)
    with torch.no_grad():
        towards_eye = cameras.eye.to(vertices.dtype).index_select(0, view) - triangle[:, 0]
        facing = (torch.linalg.cross(edge_1, edge_2) * towards_eye).sum(-1, keepdim=True)
        flip = torch.where(facing < 0, -1.0, 1.0).to(vertices.dtype)
    if torch.is_grad_enabled() and (vertices.requires_grad or _needs_gradient(cameras)):
        origin, direction = (
            rays.reshape(-1, 3).index_select(0, pixel).to(vertices.dtype) for rays in cameras.rays()
        )
        bary, depth = _intersect(origin, direction, triangle[:, 0], edge_1, edge_2, bary, depth)
    return _Hits(pixel=pixel, view=view, face=face, corners=corners, bary=bary, depth=depth, flip=flip)


def _needs_gradient(cameras: Cameras) -> bool:
    return any(part.requires_grad for part in (cameras.eye, cameras.target, cameras.up, cameras.fov_y))


def _intersect(
    origin: Tensor,
    direction: Tensor,
    corner: Tensor,
    edge_1: Tensor,
    edge_2: Tensor,
    bary: Tensor,
    depth: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return weights (M, 3) and distance (M,) of rays in the planes of their faces, differentiable in all.

    Moeller and Trumbore, "Fast, minimum storage ray-triangle intersection", 1997. Where the ray runs in the
    plane of the face, the given weights and distance stay, without gradients.
    """
    across = torch.linalg.cross(direction, edge_2)
    determinant = (edge_1 * across).sum(-1)
    size = edge_1.detach().norm(dim=-1) * edge_2.detach().norm(dim=-1)
    usable = determinant.abs() > 1e-6 * size
    inverse = 1 / torch.where(usable, determinant, torch.ones_like(determinant))
    offset = origin - corner
    second = torch.linalg.cross(offset, edge_1)
    u = (offset * across).sum(-1) * inverse
    v = (direction * second).sum(-1) * inverse
    distance = (edge_2 * second).sum(-1) * inverse
    weights = torch.stack([1 - u - v, u, v], dim=-1)
    return torch.where(usable[:, None], weights, bary), torch.where(usable, distance, depth)


def _gather(values: Tensor, corners: Tensor, view: Tensor) -> Tensor:
    """Return (M, 3, C) values of the hit corners out of (V, C) or (B, V, C)."""
    if values.ndim == 3:
        corners = corners + view[:, None] * values.shape[1]
        values = values.reshape(-1, values.shape[-1])
    return values.index_select(0, corners.reshape(-1)).unflatten(0, (-1, 3))


def _interpolate(values: Tensor, hits: _Hits) -> Tensor:
    """Return (M, C) values (V, C) or (B, V, C) at the hit points."""
    gathered = _gather(values, hits.corners, hits.view)
    return (gathered * hits.bary.to(gathered.dtype)[..., None]).sum(1)


def _albedo(
    hits: _Hits,
    faces: Tensor,
    vertices: Tensor,
    vertex_colors: Tensor | None,
    texture: Tensor | None,
    uvs: Tensor | None,
    face_uvs: Tensor | None,
) -> Tensor:
    """Return (M, C) colours of the hit points."""
    if texture is None or uvs is None or face_uvs is None:
        if vertex_colors is not None:
            return _interpolate(vertex_colors, hits)
        return torch.ones(len(hits.pixel), 3, device=vertices.device, dtype=vertices.dtype)
    corners = uvs.index_select(0, face_uvs.index_select(0, hits.face).reshape(-1)).unflatten(0, (-1, 3))
    coordinates = (corners * hits.bary.to(corners.dtype)[..., None]).sum(1)
    sampled = sample_texture(texture, coordinates)
    return sampled if vertex_colors is None else sampled * _interpolate(vertex_colors, hits)


def sample_texture(texture: Tensor, coordinates: Tensor) -> Tensor:
    """Return (M, C) bilinear samples of a texture (Ht, Wt, C) at UVs (M, 2), clamped at its border.

    Texel (i, j) has its centre at ((j + 0.5) / Wt, (i + 0.5) / Ht). Differentiable in both arguments.
    """
    grid = (2 * coordinates.to(texture.dtype) - 1)[None, None]
    sampled = torch.nn.functional.grid_sample(
        texture.permute(2, 0, 1)[None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0, :, 0].T


def _backdrop(
    background: Tensor | None, fine: Cameras, cameras: Cameras, channels: int, like: Tensor
) -> Tensor:
    """Return (B*H*W, C + 1) background colours with a last channel of zeros, at the fine size."""
    count = len(fine)
    pixels = count * fine.height * fine.width
    if background is None:
        filled = torch.ones(pixels, channels, device=like.device, dtype=like.dtype)
    else:
        background = background.to(device=like.device, dtype=like.dtype)
        wide = background.expand(count, channels, cameras.height, cameras.width)
        if fine.height != cameras.height:
            wide = torch.nn.functional.interpolate(wide, size=(fine.height, fine.width), mode="nearest")
        filled = wide.permute(0, 2, 3, 1).reshape(pixels, channels)
    return torch.cat([filled, torch.zeros_like(filled[:, :1])], dim=1)


def _downsample(values: Tensor, geometry: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Average (B, fH, fW, C) values over pixels, geometry over the samples that hit; channels go first."""
    values, geometry = values.permute(0, 3, 1, 2), geometry.permute(0, 3, 1, 2)
    if factor == 1:
        return values.contiguous(), geometry.contiguous()
    values = torch.nn.functional.avg_pool2d(values, factor)
    hit = torch.nn.functional.avg_pool2d((geometry[:, :1] > 0).to(geometry.dtype), factor)
    geometry = torch.nn.functional.avg_pool2d(geometry, factor)
    depth = geometry[:, :1] / hit.clamp(min=1 / factor**2)
    return values, torch.cat([depth, torch.nn.functional.normalize(geometry[:, 1:], dim=1, eps=1e-12)], dim=1)


def _check(
    vertices: Tensor,
    faces: Tensor,
    cameras: Cameras,
    lights: Lights | None,
    vertex_colors: Tensor | None,
    texture: Tensor | None,
    uvs: Tensor | None,
    face_uvs: Tensor | None,
) -> None:
    check_mesh(vertices, faces)
    if vertices.ndim == 3 and vertices.shape[0] != len(cameras):
        raise ValueError(f"{vertices.shape[0]} vertex sets for {len(cameras)} cameras")
    if lights is not None and len(lights) != len(cameras):
        raise ValueError(f"{len(lights)} lights for {len(cameras)} cameras")
    if vertex_colors is not None and vertex_colors.shape[-2] != vertices.shape[-2]:
        raise ValueError(f"{vertex_colors.shape[-2]} vertex colours for {vertices.shape[-2]} vertices")
    if texture is not None and (uvs is None or face_uvs is None):
        raise ValueError("a texture needs uvs and face_uvs")
    if texture is not None and face_uvs is not None and face_uvs.shape != faces.shape:
        raise ValueError(f"face_uvs have shape {tuple(face_uvs.shape)}, the faces {tuple(faces.shape)}")
