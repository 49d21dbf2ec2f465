"""Distance and colour by two large networks over a positional encoding, in AvatarCLIP's sizes: for fidelity studies.

Source: Wang et al., "NeuS: Learning Neural Implicit Surfaces by Volume Rendering for Multi-view Reconstruction",
NeurIPS 2021, as AvatarCLIP takes it: softplus layers for the distance, to the last of which the encoded position is
joined again; features and slope of the distance go into the colours' network; all weights are normalised. Unlike
theirs, the distance is an offset of the body's own and starts at zero, and so do the colours.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

SOFTPLUS_BETA = 100.0


class PositionalConfig(BaseModel):
    """Sizes of the networks; the defaults are AvatarCLIP's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    octaves: int = Field(6, ge=0, le=12)
    """Sines and cosines of the position in metres, each of twice the frequency of the one before."""
    sdf_width: int = Field(256, ge=8, le=1024)
    """Width of the layers of the distance's network, and number of the features that it passes on."""
    sdf_layers: int = Field(4, ge=1, le=16)
    """Hidden layers of the distance's network."""
    color_width: int = Field(256, ge=8, le=1024)
    """Width of the layers of the colours' network."""
    color_layers: int = Field(2, ge=1, le=16)
    """Hidden layers of the colours' network, before its linear head."""

    @property
    def encoded(self) -> int:
        """Numbers that a position is encoded as."""
        return 3 + 6 * self.octaves

    @model_validator(mode="after")
    def _room_for_the_position(self) -> PositionalConfig:
        if self.sdf_width <= self.encoded:
            raise ValueError(
                f"sdf_width is {self.sdf_width}, but the encoded position takes {self.encoded} of it before the last "
                "layer; give more width or fewer octaves"
            )
        return self


class PositionalNetwork:
    """The two networks.

    Args:
        config: sizes.
        centre: where positions are taken from, metres.
        outward: metres that a raw offset of one is worth, for the slope that colours see.
        generator: of the first weights; None gives ones (for loading a state).
    """

    gradient_step = 0.0005
    """Of the distance's finite differences, metres: they are within 2% of autograd's gradient, softplus layers bend
    within millimetres, and a shorter one would tell of rounding in the Laplacian."""

    def __init__(
        self,
        config: PositionalConfig,
        centre: tuple[float, float, float],
        outward: float,
        generator: torch.Generator | None = None,
    ) -> None:
        self._outward = outward
        self.sdf_network = SdfNetwork(config, centre, generator)
        inputs = 3 + 3 + config.sdf_width
        self.color_network = _layers([inputs, *[config.color_width] * config.color_layers, 3], generator)
        _zero_output(self.color_network[-1], slice(None))

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The trained parts."""
        return {"sdf_network": self.sdf_network, "color_network": self.color_network}

    def distance(self, points: Tensor) -> Tensor:
        """Raw offset (N,) at points (N, 3), metres; differentiable as often as wanted."""
        return self.sdf_network(points)[:, 0]

    def color(self, points: Tensor) -> Tensor:
        """Raw change (N, 3) at points (N, 3), metres, of position, slope of the learned distance, and its features.

        The slope is autograd's, and the colours' loss reaches the distance through it, as in NeuS.
        """
        trained = torch.is_grad_enabled()
        with torch.enable_grad():
            points = points if points.requires_grad else points.detach().requires_grad_()
            out = self.sdf_network(points)
            (slope,) = torch.autograd.grad(out[:, 0].sum(), points, create_graph=trained)
        with torch.set_grad_enabled(trained):
            hidden = torch.cat([self.sdf_network.placed(points), self._outward * slope, out[:, 1:]], dim=1)
            for layer in self.color_network[:-1]:
                hidden = torch.relu(layer(hidden))
            return self.color_network[-1](hidden)

    def reveal(self, done: float, first_levels: int) -> None:
        """All octaves learn from the start."""

    def rates(self) -> list[tuple[str, list[nn.Parameter]]]:
        """One rate, that of heads: there are no tables."""
        return [("heads", [parameter for module in self.modules.values() for parameter in module.parameters()])]


class SdfNetwork(nn.Module):
    """Raw offset of the distance, and features: (N, 1 + sdf_width) of points (N, 3), metres."""

    centre: Tensor

    def __init__(
        self, config: PositionalConfig, centre: tuple[float, float, float], generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.register_buffer("centre", torch.tensor(centre), persistent=False)
        self.octaves = config.octaves
        width = config.sdf_width
        self.hidden = _layers([config.encoded, *[width] * (config.sdf_layers - 1), width - config.encoded], generator)
        self.last = _layers([width, 1 + width], generator)[0]
        _zero_output(self.last, slice(0, 1))

    def placed(self, points: Tensor) -> Tensor:
        """Positions (N, 3) from the centre, metres."""
        return points - self.centre

    def forward(self, points: Tensor) -> Tensor:
        """Return raw offset and features."""
        encoded = positional_encoding(self.placed(points), self.octaves)
        hidden = encoded
        for layer in self.hidden:
            hidden = nn.functional.softplus(layer(hidden), beta=SOFTPLUS_BETA)
        return self.last(torch.cat([hidden, encoded], dim=1) / math.sqrt(2.0))


def positional_encoding(points: Tensor, octaves: int) -> Tensor:
    """Return points (N, 3) with sines and cosines of their doubled frequencies: (N, 3 + 6 octaves)."""
    turned = [points * 2.0**octave for octave in range(octaves)]
    return torch.cat([points, *itertools.chain.from_iterable((angle.sin(), angle.cos()) for angle in turned)], dim=1)


def _layers(widths: Sequence[int], generator: torch.Generator | None) -> nn.ModuleList:
    """Linear layers with normalised weights, from N(0, 2 / outputs) as NeuS's."""
    layers = nn.ModuleList()
    for inputs, outputs in itertools.pairwise(widths):
        layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
        nn.init.zeros_(layer.bias)
        if generator is None:
            nn.init.ones_(layer.weight)
        else:
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / outputs), generator=generator)
        layers.append(weight_norm(layer))
    return layers


@torch.no_grad()
def _zero_output(layer: nn.Module, rows: slice) -> None:
    """Make some outputs of a layer zero everywhere, by the length of their weights: their direction stays to learn."""
    layer.parametrizations.weight.original0[rows] = 0.0  # type: ignore[union-attr,index,operator]
