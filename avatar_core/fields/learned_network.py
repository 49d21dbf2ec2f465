"""What an avatar's field asks of the network that holds what it has learned; one implementation a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn


class LearnedNetwork(Protocol):
    """Distance and colour as functions of position; both are exactly zero at the start."""

    gradient_step: float
    """Offset of the finite differences that the distance's gradient is taken from, metres."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The trained parts, by the names under which a field's state has them."""
        ...

    def distance(self, points: Tensor) -> Tensor:
        """Raw offset (N,) of the distance at points (N, 3), metres; see `AvatarField.bounded_residual`."""
        ...

    def color(self, points: Tensor) -> Tensor:
        """Raw change (N, 3) of the albedo's logits at points (N, 3), metres; see `bounded_change`."""
        ...

    def reveal(self, done: float, first_levels: int) -> None:
        """Let as much detail be learned as is due at the part `done` in [0, 1] of its growth from `first_levels`."""
        ...

    def rates(self) -> list[tuple[str, list[nn.Parameter]]]:
        """Return groups of parameters, each with the name of the learning rate that it takes (see texturing's)."""
        ...
