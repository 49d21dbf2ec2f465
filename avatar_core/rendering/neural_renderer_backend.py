"""The Neural 3D Mesh Renderer that AvatarCLIP used, which is imported only when it is asked for.

Kato, Ushiku, Harada, "Neural 3D Mesh Renderer", CVPR 2018. Only the package's rasteriser is used: cameras and lights
are this project's, so that both backends see the same. Its gradients of vertices are approximations of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from avatar_core.errors import ConfigError
from avatar_core.rendering.backends import Picture
from avatar_core.rendering.cameras import FAR, NEAR, Cameras
from avatar_core.rendering.lights import Lights, shade
from avatar_core.rendering.normals import vertex_normals

EDGE = 1e-3
"""What the rasteriser takes for the width of an edge, in its own units, where it approximates gradients."""
_BITS = torch.tensor([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)], dtype=torch.float32)


class NeuralRenderer:
    """Draws with the `neural_renderer` package, on CUDA, in square images."""

    def __init__(self, rasterize: Callable[..., dict[str, Tensor]], faces: Tensor) -> None:
        """Take the package's `rasterize_rgbad` and faces (F, 3), int64."""
        self._rasterize = rasterize
        self._faces = faces

    def render(
        self, vertices: Tensor, cameras: Cameras, *, lights: Lights, colors: Tensor, supersample: int = 1
    ) -> Picture:
        """Return what the cameras show. See MeshRenderer; shading is linear between the corners of a face."""
        if cameras.height != cameras.width:
            raise ValueError(
                f"neural_renderer draws square images, got {cameras.height} x {cameras.width}; use `renderer: warp`"
            )
        sets = vertices.expand(len(cameras), -1, -1) if vertices.ndim == 2 else vertices
        lit = _lit(sets, self._faces, cameras, lights, colors)
        corners = screen_points(sets, cameras)[:, self._faces]
        # The rasteriser draws faces from one side; each is given from both.
        drawn = self._rasterize(
            torch.cat([corners, corners.flip(2)], 1),
            corner_textures(torch.cat([lit, lit.flip(2)], 1)),
            image_size=cameras.height * supersample,
            anti_aliasing=False,
            near=NEAR,
            far=FAR,
            eps=EDGE,
            background_color=(1.0, 1.0, 1.0),
            return_depth=False,
        )
        fine = torch.cat([drawn["rgb"], drawn["alpha"][:, None]], 1)
        values = torch.nn.functional.avg_pool2d(fine, supersample)
        return Picture(values[:, :3], values[:, 3:])


def screen_points(vertices: Tensor, cameras: Cameras) -> Tensor:
    """Points (B, V, 3) as the rasteriser wants them: right and up from -1 to 1 over the image, and depth in metres.

    vertices: (B, V, 3) world space.
    """
    pixels, depth = cameras.project(vertices)
    right = 2 * pixels[..., 0] / cameras.width - 1
    return torch.stack([right, 1 - 2 * pixels[..., 1] / cameras.height, depth], -1)


def corner_textures(colors: Tensor) -> Tensor:
    """Textures (B, F, 2, 2, 2, 3) that show the colours (B, F, 3, 3) of each face's corners, and blend them between.

    The rasteriser reads a face's texture trilinearly at its barycentric weights. With w . c of the corners at each
    bit pattern w, that gives the same w . c everywhere.
    """
    return torch.einsum("pk,bfkc->bfpc", _BITS.to(colors), colors).unflatten(2, (2, 2, 2))


def _lit(vertices: Tensor, faces: Tensor, cameras: Cameras, lights: Lights, colors: Tensor) -> Tensor:
    """Return shaded colours (B, F, 3, 3) of each face's corners, faces seen from behind lit from behind."""
    normals = vertex_normals(vertices, faces)[:, faces]
    corners = vertices[:, faces]
    outward = torch.linalg.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
    seen = (outward * (cameras.eye[:, None] - corners[:, :, 0])).sum(-1) >= 0
    facing = torch.where(seen[:, :, None, None], normals, -normals)
    albedo = colors[faces].expand(len(vertices), -1, -1, -1)
    return shade(albedo, facing, lights)


def load_neural_renderer(faces: Tensor) -> NeuralRenderer:
    """Return the backend for faces (F, 3), int64; raises ConfigError where the package or a CUDA device is missing."""
    if faces.device.type != "cuda":
        raise ConfigError(
            f"renderer: neural_renderer draws on CUDA devices only, not on {faces.device.type}; use `renderer: warp`."
        )
    try:
        package: Any = importlib.import_module("neural_renderer")
    except Exception as error:  # an extension that was built for another torch raises anything
        raise ConfigError(_how_to_install(f"does not import here ({error})")) from error
    if not hasattr(package, "rasterize_rgbad"):
        raise ConfigError(_how_to_install("is another one here, of the same name"))
    return NeuralRenderer(package.rasterize_rgbad, faces)


def _how_to_install(trouble: str) -> str:
    return (
        f"renderer: neural_renderer needs the package neural_renderer_pytorch, which {trouble}. It is built from "
        "source, by `pip install git+https://github.com/daniilidis-group/neural_renderer.git`, with the CUDA compiler "
        "that torch was built with; its last release is of 2019. `renderer: warp` shows the same and needs nothing."
    )
