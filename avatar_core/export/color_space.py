"""The sRGB transfer curve (IEC 61966-2-1) and its inverse."""

import torch
from torch import Tensor


def to_linear(colors: Tensor) -> Tensor:
    """Turn sRGB values in [0, 1] into linear light, elementwise."""
    return torch.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)


def to_srgb(colors: Tensor) -> Tensor:
    """Turn linear light in [0, 1] into sRGB values, elementwise."""
    curved = 1.055 * colors.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(colors <= 0.0031308, colors * 12.92, curved)
