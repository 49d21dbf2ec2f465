"""Differentiable preprocessing of image tensors for CLIP-family encoders."""

from __future__ import annotations

import torch
from torch import Tensor


def resize(images: Tensor, size: int) -> Tensor:
    """Resize images (B, 3, H, W) in [0, 1] to (B, 3, size, size): bicubic, antialiased, differentiable.

    Images that are not square are padded to a square with white first, so that bodies keep their proportions.
    """
    height, width = images.shape[-2:]
    if height != width:
        side = max(height, width)
        across, down = side - width, side - height
        padding = (across // 2, across - across // 2, down // 2, down - down // 2)
        images = torch.nn.functional.pad(images, padding, value=1.0)
    if images.shape[-1] == size:
        return images
    resized = torch.nn.functional.interpolate(
        images, size=(size, size), mode="bicubic", align_corners=False, antialias=True
    )
    return resized.clamp(0.0, 1.0)


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return (images - mean) / std of (B, 3, H, W) images, channel by channel (3,)."""
    return (images - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
