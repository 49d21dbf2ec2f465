"""Perspective cameras in batches: rays through pixel centres, projection, and orbits about the body."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from avatar_core.transfers import sent

NEAR = 0.01
"""Distance of the near clip plane, in metres."""

FAR = 100.0
"""Distance of the far clip plane, in metres."""


@dataclass(frozen=True, eq=False)
class Cameras:
    """B pinhole cameras that share one image size; row 0 is the top row, pixel centres lie at +0.5."""

    eye: Tensor
    """(B, 3) positions in world space, metres."""
    target: Tensor
    """(B, 3) points that the cameras look at, metres."""
    up: Tensor
    """(B, 3) directions that point upwards in the image; any length, not parallel to the view."""
    fov_y: Tensor
    """(B,) vertical fields of view, radians."""
    height: int
    """Rows of the image, pixels."""
    width: int
    """Columns of the image, pixels."""

    def __post_init__(self) -> None:
        count = self.eye.shape[0]
        for name, shape in (
            ("eye", (count, 3)),
            ("target", (count, 3)),
            ("up", (count, 3)),
            ("fov_y", (count,)),
        ):
            actual = tuple(getattr(self, name).shape)
            if actual != shape:
                raise ValueError(f"Cameras.{name} has shape {actual}, expected {shape}")
        if self.height < 1 or self.width < 1:
            raise ValueError(f"Cameras need at least one pixel, got {self.height} x {self.width}")

    def __len__(self) -> int:
        return self.eye.shape[0]

    @property
    def device(self) -> torch.device:
        """The device that holds the cameras."""
        return self.eye.device

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Cameras":
        """Return the same cameras on another device or in another floating point type."""
        place = self.device if device is None else device
        moved: dict[str, Any] = {name: sent(getattr(self, name), place).to(dtype=dtype) for name in _TENSORS}
        return replace(self, **moved)

    def __getitem__(self, index: int | slice | Tensor) -> "Cameras":
        """Return the selected cameras, still as a batch."""
        if isinstance(index, int):
            index = slice(index, index + 1) if index != -1 else slice(index, None)
        return replace(self, **{name: getattr(self, name)[index] for name in _TENSORS})

    def resized(self, height: int, width: int) -> "Cameras":
        """Return the same views sampled on another grid of pixels."""
        return replace(self, height=height, width=width)

    def axes(self) -> Tensor:
        """Return (B, 3, 3) rows right, up and forward of each camera in world space, orthonormal."""
        forward = torch.nn.functional.normalize(self.target - self.eye, dim=-1)
        right = torch.nn.functional.normalize(torch.linalg.cross(forward, self.up), dim=-1)
        return torch.stack([right, torch.linalg.cross(right, forward), forward], dim=1)

    def rays(self) -> tuple[Tensor, Tensor]:
        """Return origins and unit directions (B, H, W, 3) through the pixel centres, in world space."""
        half = torch.tan(self.fov_y / 2)
        device, dtype = self.device, self.eye.dtype
        x = (2 * torch.arange(self.width, device=device, dtype=dtype) + 1) / self.width - 1
        y = 1 - (2 * torch.arange(self.height, device=device, dtype=dtype) + 1) / self.height
        right, up, forward = self.axes().unbind(1)
        across = (half * (self.width / self.height))[:, None, None] * x[None, :, None] * right[:, None]
        down = half[:, None, None] * y[None, :, None] * up[:, None] + forward[:, None]
        directions = torch.nn.functional.normalize(down[:, :, None] + across[:, None], dim=-1)
        return self.eye[:, None, None].expand_as(directions), directions

    def world_to_clip(self) -> Tensor:
        """Return (B, 4, 4) matrices from homogeneous world points to OpenGL clip space (x right, y up)."""
        axes = self.axes()
        view = torch.zeros(len(self), 4, 4, device=self.device, dtype=self.eye.dtype)
        rotation = torch.stack([axes[:, 0], axes[:, 1], -axes[:, 2]], dim=1)
        view[:, :3, :3] = rotation
        view[:, :3, 3] = -(rotation @ self.eye[:, :, None])[..., 0]
        view[:, 3, 3] = 1
        focal = 1 / torch.tan(self.fov_y / 2)
        projection = torch.zeros_like(view)
        projection[:, 0, 0] = focal * (self.height / self.width)
        projection[:, 1, 1] = focal
        projection[:, 2, 2] = -(FAR + NEAR) / (FAR - NEAR)
        projection[:, 2, 3] = -2 * FAR * NEAR / (FAR - NEAR)
        projection[:, 3, 2] = -1
        return projection @ view

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Project world points into the images.

        Args:
            points: (B, N, 3) or (N, 3) world space, metres.
        Returns:
            pixels (B, N, 2) as (column, row) where pixel (i, j) covers [j, j+1) x [i, i+1), and depth (B, N)
            along the view axis in metres (not positive behind the eye, where the pixels mean nothing).
        """
        local = (points - self.eye[:, None]) @ self.axes().transpose(1, 2)
        return self.to_pixels(local, self.fov_y[:, None])

    def to_pixels(self, local: Tensor, fov_y: Tensor) -> tuple[Tensor, Tensor]:
        """Return pixels (..., 2) and depth (...) of points (..., 3) given along right, up and forward of a camera.

        `fov_y` (...) is that of each point's camera, in radians.
        """
        x, y, depth = local.unbind(-1)
        safe = torch.where(depth.abs() < 1e-9, torch.full_like(depth, 1e-9), depth)
        scale = (self.height / 2) / torch.tan(fov_y / 2)
        column = self.width / 2 + scale * x / safe
        row = self.height / 2 - scale * y / safe
        return torch.stack([column, row], dim=-1), depth


_TENSORS = ("eye", "target", "up", "fov_y")


def cat_cameras(cameras: Sequence[Cameras]) -> Cameras:
    """Return all cameras as one batch; raises ValueError where their image sizes differ."""
    sizes = {(one.height, one.width) for one in cameras}
    if len(sizes) != 1:
        raise ValueError(f"cameras of one batch need one image size, got {sorted(sizes)}")
    height, width = sizes.pop()
    joined = {name: torch.cat([getattr(one, name) for one in cameras]) for name in _TENSORS}
    return Cameras(**joined, height=height, width=width)


def orbit_cameras(
    azimuth: Tensor | Sequence[float] | float,
    elevation: Tensor | Sequence[float] | float,
    distance: Tensor | Sequence[float] | float,
    target: Tensor | Sequence[float],
    fov_y: Tensor | Sequence[float] | float,
    size: int | tuple[int, int],
    device: torch.device | str | None = None,
) -> Cameras:
    """Return cameras on spheres about their targets; the image's up is world +Y.

    Args:
        azimuth: (B,) or a number, radians about +Y: 0 is in front of the body (eye at +Z), pi/2 is at +X.
        elevation: (B,) or a number, radians above the horizon, inside (-pi/2, pi/2).
        distance: (B,) or a number, metres from eye to target.
        target: (B, 3) or (3,), metres.
        fov_y: (B,) or a number, radians.
        size: pixels a side, or (height, width).
        device: where the cameras lie; by default that of the first tensor among the arguments.
    """
    given = (azimuth, elevation, distance, target, fov_y)
    if device is None:
        device = next((value.device for value in given if isinstance(value, Tensor)), torch.device("cpu"))
    angles, heights, distances, points, fovs = (
        torch.as_tensor(value, dtype=torch.float32, device=device) for value in given
    )
    flat = torch.broadcast_tensors(angles, heights, distances, fovs, points[..., 0])
    angles, heights, distances, fovs = (value.reshape(-1) for value in flat[:4])
    points = points.expand(angles.shape[0], 3)
    offset = torch.stack(
        [
            torch.sin(angles) * torch.cos(heights),
            torch.sin(heights),
            torch.cos(angles) * torch.cos(heights),
        ],
        dim=-1,
    )
    height, width = (size, size) if isinstance(size, int) else size
    return Cameras(
        eye=points + distances[:, None] * offset,
        target=points.contiguous(),
        up=torch.tensor([0.0, 1.0, 0.0], device=device).expand(angles.shape[0], 3).contiguous(),
        fov_y=fovs.contiguous(),
        height=height,
        width=width,
    )
