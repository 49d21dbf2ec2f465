"""Directional lights and Lambert shading."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from avatar_core.rendering.cameras import Cameras
from avatar_core.transfers import sent


@dataclass(frozen=True, eq=False)
class Lights:
    """One directional and one ambient light for each of B views; facing the light shows ambient + diffuse."""

    direction: Tensor
    """(B, 3) unit vectors towards the light, world space."""
    ambient: Tensor
    """(B,) part of the albedo that is seen without light."""
    diffuse: Tensor
    """(B,) part of the albedo that facing the light adds."""

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Lights":
        """Return the same lights on another device or in another floating point type."""
        place = self.direction.device if device is None else device
        values = (self.direction, self.ambient, self.diffuse)
        return Lights(*(sent(value, place).to(dtype=dtype) for value in values))

    def __len__(self) -> int:
        return self.direction.shape[0]

    def __getitem__(self, index: slice | Tensor) -> "Lights":
        """Return the selected lights, still as a batch."""
        return replace(
            self, direction=self.direction[index], ambient=self.ambient[index], diffuse=self.diffuse[index]
        )


def shade(albedo: Tensor, normals: Tensor, lights: Lights, view: Tensor | None = None) -> Tensor:
    """Return Lambert-shaded colours, differentiable in everything.

    Args:
        albedo: (B, ..., C), or (N, C) with `view`.
        normals: (B, ..., 3) unit vectors, or (N, 3) with `view`.
        lights: B lights.
        view: (N,) the light of each row of albedo and normals; without it row b belongs to light b.
    """
    if view is None:
        view = torch.arange(len(lights), device=albedo.device)
    spread = (-1, *(1,) * (albedo.ndim - 1))
    direction = lights.direction[view].reshape(*spread[:-1], 3)
    facing = (normals * direction).sum(-1, keepdim=True).clamp(min=0)
    return albedo * (lights.ambient[view].reshape(spread) + lights.diffuse[view].reshape(spread) * facing)


def random_camera_lights(generator: torch.Generator, cameras: Cameras, spread: float = 0.35) -> Lights:
    """Return lights near the cameras, with ambient U(0, 0.2) and the rest diffuse (as AvatarCLIP's).

    Args:
        generator: drawn from on its own device, the same numbers for every device of the cameras.
        cameras: B cameras.
        spread: standard deviation of the light's offset from the camera's direction, about radians.
    """
    count = len(cameras)
    offset = torch.randn(count, 3, generator=generator, device=generator.device).to(cameras.eye)
    ambient = 0.2 * torch.rand(count, generator=generator, device=generator.device).to(cameras.eye)
    towards_eye = -cameras.axes()[:, 2]
    direction = torch.nn.functional.normalize(towards_eye + spread * offset, dim=-1)
    return Lights(direction=direction, ambient=ambient, diffuse=1 - ambient)


def studio_lights(cameras: Cameras, ambient: float = 0.45) -> Lights:
    """Return the fixed light of previews: a soft key light above the camera's left shoulder."""
    right, up, forward = cameras.axes().unbind(1)
    side, lift = math.sin(math.radians(25)), math.sin(math.radians(30))
    direction = torch.nn.functional.normalize(-forward - side * right + lift * up, dim=-1)
    level = torch.full_like(cameras.fov_y, ambient)
    return Lights(direction=direction, ambient=level, diffuse=1 - level)
