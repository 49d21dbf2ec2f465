"""Who draws the grey bodies that codebooks and motions are judged by: one interface, one backend a file.

The default is this project's own renderer. AvatarCLIP's `neural_renderer` is there for those who compare with it.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from avatar_core.errors import ConfigError
from avatar_core.rendering.cameras import Cameras
from avatar_core.rendering.lights import Lights

RendererName = Literal["warp", "neural_renderer"]
DEFAULT_RENDERER: RendererName = "warp"


@dataclass(frozen=True, eq=False)
class Picture:
    """What B cameras show, on white."""

    image: Tensor
    """(B, 3, H, W) in [0, 1]."""
    mask: Tensor
    """(B, 1, H, W) part of the pixel that the mesh covers, 0 to 1."""


class MeshRenderer(Protocol):
    """Draws meshes of one topology with Lambert shading, differentiable in vertices and colours."""

    def render(
        self,
        vertices: Tensor,  # (V, 3), or (B, V, 3) with one set a camera; world space, metres
        cameras: Cameras,  # B cameras on the same device
        *,
        lights: Lights,  # B lights
        colors: Tensor,  # (V, 3) in [0, 1]
        supersample: int = 1,  # samples a side of each pixel, averaged
    ) -> Picture:
        """Return what the cameras show. Raises ValueError for shapes that do not fit each other."""
        ...


def mesh_renderer(name: RendererName, faces: Tensor) -> MeshRenderer:
    """Return the backend called `name` for meshes of `faces` (F, 3), int64, whose device is where it draws.

    Raises ConfigError for an unknown name, or when the backend is not installed or cannot draw on that device; the
    message says what to do.
    """
    if name == "warp":
        from avatar_core.rendering.warp_backend import WarpRenderer

        return WarpRenderer(faces)
    if name == "neural_renderer":
        from avatar_core.rendering.neural_renderer_backend import load_neural_renderer

        return load_neural_renderer(faces)
    raise ConfigError(f"renderer: there is no {name!r}; it is one of {', '.join(get_args(RendererName))}.")


def check_renderer(name: RendererName, device: torch.device) -> None:
    """Raise ConfigError when the backend called `name` cannot draw on `device` here."""
    mesh_renderer(name, torch.zeros(1, 3, dtype=torch.int64, device=device))
