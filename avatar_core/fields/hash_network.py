"""Distance and colour by hash encodings with a small network on each: fast, the default."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from avatar_core.fields.hash_encoding import HashEncoding
from avatar_core.fields.hash_layout import HashConfig

Corner = tuple[float, float, float]


class HashNetwork:
    """Two encodings and their heads.

    Args:
        geometry: grids under the distance.
        color: grids under the colours.
        hidden: width of the hidden layer of both heads.
        lower: lowest corner of the grids' box, metres.
        upper: highest corner.
        generator: of the first features and weights; None gives zeros (for loading a state).
    """

    gradient_step = 0.006
    """Of the distance's finite differences, metres: a quarter of the default's finest cell."""

    def __init__(
        self,
        geometry: HashConfig,
        color: HashConfig,
        hidden: int,
        lower: Corner,
        upper: Corner,
        generator: torch.Generator | None = None,
    ) -> None:
        self.geometry_encoding = HashEncoding(geometry, lower, upper, generator)
        self.geometry_head = zero_head(self.geometry_encoding.width, hidden, 1, generator)
        self.color_encoding = HashEncoding(color, lower, upper, generator)
        self.color_head = zero_head(self.color_encoding.width, hidden, 3, generator)

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The trained parts."""
        return {
            "geometry_encoding": self.geometry_encoding,
            "geometry_head": self.geometry_head,
            "color_encoding": self.color_encoding,
            "color_head": self.color_head,
        }

    def distance(self, points: Tensor) -> Tensor:
        """Raw offset (N,) at points (N, 3), metres; differentiable once."""
        return self.geometry_head(self.geometry_encoding(points)).squeeze(1)

    def color(self, points: Tensor) -> Tensor:
        """Raw change (N, 3) at points (N, 3), metres; differentiable once."""
        return self.color_head(self.color_encoding(points))

    def reveal(self, done: float, first_levels: int) -> None:
        """Open the grids' levels one after another, the coarsest `first_levels` from the start."""
        for encoding in (self.color_encoding, self.geometry_encoding):
            levels = encoding.layout.levels
            first = min(first_levels, levels)
            encoding.set_active_levels(first + done * (levels - first))

    def rates(self) -> list[tuple[str, list[nn.Parameter]]]:
        """Tables and heads learn at rates of their own."""
        return [
            ("color_table", [self.color_encoding.table]),
            ("geometry_table", [self.geometry_encoding.table]),
            ("heads", list(self.color_head.parameters())),
            ("heads", list(self.geometry_head.parameters())),
        ]


def zero_head(inputs: int, hidden: int, outputs: int, generator: torch.Generator | None) -> nn.Sequential:
    """A two-layer head whose last layer is zero: its first output is exactly zero everywhere.

    `generator` draws the first layer; None gives zeros (for loading a state).
    """
    first = nn.Linear(inputs, hidden)
    head = nn.Sequential(first, nn.ReLU(), nn.Linear(hidden, outputs))
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    if generator is not None:
        nn.init.kaiming_uniform_(first.weight, a=5**0.5, generator=generator)
    return head
