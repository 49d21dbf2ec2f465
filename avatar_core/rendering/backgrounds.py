"""The four backgrounds of CLIP-guided views: white, black, Gaussian noise and a blurred chessboard.

Varying them keeps the guidance from tuning colours to one background (AvatarCLIP, after Dream Fields).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

KINDS = ("white", "noise", "chessboard", "black")
"""The names of the backgrounds."""

HARMONICS = 24
"""Odd harmonics that make up the blurred square wave of the chessboard."""


def make_backgrounds(
    kinds: Sequence[str],
    height: int,
    width: int,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return backgrounds (B, 3, height, width) in [0, 1], one of each given kind.

    Args:
        kinds: B names out of KINDS.
        height: pixels.
        width: pixels.
        generator: the only source of randomness, drawn from on its own device.
        device: where the images lie.
    Raises:
        ValueError: a kind that does not exist.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ValueError(f"unknown backgrounds {unknown}, choose from {KINDS}")
    images = torch.zeros(len(kinds), 3, height, width, device=generator.device)
    for index, kind in enumerate(kinds):
        if kind == "white":
            images[index] = 1
        elif kind == "noise":
            images[index] = _noise(height, width, generator)
        elif kind == "chessboard":
            images[index] = _chessboard(height, width, generator)
    return images.to(device)


def random_backgrounds(
    generator: torch.Generator, count: int, height: int, width: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Return (count, 3, height, width) backgrounds in [0, 1], each kind with a probability of a quarter."""
    draws = torch.randint(len(KINDS), (count,), generator=generator, device=generator.device)
    return make_backgrounds([KINDS[draw] for draw in draws.tolist()], height, width, generator, device)


def _noise(height: int, width: int, generator: torch.Generator) -> Tensor:
    draws = torch.randn(3, height, width, generator=generator, device=generator.device)
    return (0.5 + 0.25 * draws).clamp(0, 1)


def _chessboard(height: int, width: int, generator: torch.Generator) -> Tensor:
    """Blur a chessboard of two random colours, a product of two square waves that blur each by itself."""
    numbers = torch.rand(10, generator=generator, device=generator.device)
    side = max(height, width)
    cell = side / 16 * 4 ** float(numbers[0])
    blur = 0.5 + 0.35 * cell * float(numbers[1])
    rows = _blurred_square_wave(height, cell, blur, float(numbers[2]), generator.device)
    columns = _blurred_square_wave(width, cell, blur, float(numbers[3]), generator.device)
    weight = (0.5 + 0.5 * rows[:, None] * columns[None]).clamp(0, 1)
    return torch.lerp(numbers[4:7, None, None], numbers[7:10, None, None], weight[None])


def _blurred_square_wave(length: int, cell: float, blur: float, phase: float, device: torch.device) -> Tensor:
    """Return (length,) a +-1 square wave of half-period `cell`, Gaussian-blurred by `blur`, in pixels."""
    odd = 2 * torch.arange(HARMONICS, device=device) + 1
    frequency = odd * (math.pi / cell)
    amplitude = 4 / (math.pi * odd) * torch.exp(-0.5 * (frequency * blur) ** 2)
    position = torch.arange(length, device=device) + 0.5 + 2 * phase * cell
    return torch.sin(position[:, None] * frequency) @ amplitude
