"""NeuS as its paper has it, in plain torch: what texturing would cost without this project's shortcuts.

Source: Wang et al., "NeuS: Learning Neural Implicit Surfaces by Volume Rendering for Multi-view Reconstruction",
NeurIPS 2021, in the sizes that AvatarCLIP takes; without their weight normalisation, which costs next to nothing.
Colours do not depend on the view, as in AvatarCLIP.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

WIDTH, SDF_LAYERS, COLOR_LAYERS = 256, 4, 2
FREQUENCIES = 6
"""Octaves of the positional encoding."""
SOFTPLUS_BETA = 100.0
INITIAL_RADIUS = 0.5
"""Of the sphere that the field starts as, in radii of the sphere that holds the scene."""


class NaiveNeus(nn.Module):
    """Signed distance and colour by two large networks, asked at every sample.

    Args:
        centre: (3,) of the sphere that holds the scene, metres.
        radius: of that sphere, metres.
        generator: of the first weights.
    """

    centre: Tensor

    def __init__(self, centre: Tensor, radius: float, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("centre", centre.detach().clone())
        self.radius = radius
        encoded = 3 * (1 + 2 * FREQUENCIES)
        self.sdf_layers = _layers([encoded, *[WIDTH] * SDF_LAYERS, 1 + WIDTH])
        self.color_layers = _layers([3 + 3 + WIDTH, *[WIDTH] * COLOR_LAYERS, 3])
        self.layers = nn.ModuleList([*self.sdf_layers, *self.color_layers])
        self._begin_as_sphere(generator)
        self.to(centre.device)

    def sdf(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return the signed distance (N,) in metres and features (N, WIDTH) at points (N, 3), metres."""
        hidden = positional_encoding((points - self.centre) / self.radius)
        for layer in self.sdf_layers[:-1]:
            hidden = nn.functional.softplus(layer(hidden), beta=SOFTPLUS_BETA)
        out = self.sdf_layers[-1](hidden)
        return out[:, 0] * self.radius, out[:, 1:]

    def sdf_and_gradient(self, points: Tensor, *, trained: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return distance (N,), features (N, WIDTH) and the distance's gradient (N, 3) by autograd.

        trained: whether a loss of the gradient is to be differentiated in its turn.
        """
        with torch.enable_grad():
            points = points.detach().requires_grad_()
            distance, features = self.sdf(points)
            (gradient,) = torch.autograd.grad(distance.sum(), points, create_graph=trained, retain_graph=trained)
        return distance, features, gradient

    def color(self, points: Tensor, normals: Tensor, features: Tensor) -> Tensor:
        """Return the colour (N, 3) in [0, 1] at points (N, 3) with their gradients (N, 3) and features (N, WIDTH)."""
        hidden = torch.cat([(points - self.centre) / self.radius, normals, features], dim=1)
        for layer in self.color_layers[:-1]:
            hidden = torch.relu(layer(hidden))
        return torch.sigmoid(self.color_layers[-1](hidden))

    @torch.no_grad()
    def _begin_as_sphere(self, generator: torch.Generator) -> None:
        """Atzmon and Lipman's geometric initialisation (SAL, 2020), as NeuS takes it."""
        last = len(self.sdf_layers) - 1
        for index, layer in enumerate(self.sdf_layers):
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / layer.out_features), generator=generator)
            nn.init.zeros_(layer.bias)
            if index == 0:
                layer.weight[:, 3:] = 0.0
            if index == last:
                nn.init.normal_(layer.weight, math.sqrt(math.pi / layer.in_features), 1e-4, generator=generator)
                nn.init.constant_(layer.bias, -INITIAL_RADIUS)
        for layer in self.color_layers:
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5.0), generator=generator)
            nn.init.zeros_(layer.bias)


def positional_encoding(points: Tensor) -> Tensor:
    """Return points (N, 3) with sines and cosines of FREQUENCIES octaves of them: (N, 3 + 6 FREQUENCIES)."""
    octaves = [points]
    for octave in range(FREQUENCIES):
        octaves += [torch.sin(points * 2.0**octave), torch.cos(points * 2.0**octave)]
    return torch.cat(octaves, dim=1)


def section_opacities(
    distances: Tensor, gradients: Tensor, directions: Tensor, lengths: Tensor, sharpness: Tensor
) -> Tensor:
    """Return NeuS's opacity (R, S) of sections of rays: from the distance at their middles, run on along the slope.

    Args:
        distances: (R, S) signed distance at the sections' middles, metres.
        gradients: (R, S, 3) its gradient there.
        directions: (R, 3) unit.
        lengths: (R, S) of the sections, metres.
        sharpness: NeuS's s, per metre.
    """
    cosine = -torch.relu(-(gradients * directions[:, None]).sum(-1))
    half = cosine * lengths * 0.5
    before, after = torch.sigmoid((distances - half) * sharpness), torch.sigmoid((distances + half) * sharpness)
    return ((before - after + 1e-5) / (before + 1e-5)).clamp(0.0, 1.0)


def section_weights(opacities: Tensor) -> Tensor:
    """Return the part (R, S) that sections of opacities (R, S) have in their ray's colour, front to back."""
    clear = torch.cumprod(torch.cat([torch.ones_like(opacities[:, :1]), 1.0 - opacities + 1e-7], dim=1), dim=1)
    return opacities * clear[:, :-1]


@dataclass(frozen=True, eq=False)
class NaiveRays:
    """What R rays see."""

    color: Tensor
    """(R, 3) weighted colours."""
    normal: Tensor
    """(R, 3) weighted gradients, not of unit length."""
    opacity: Tensor
    """(R,) in [0, 1]."""
    eikonal: Tensor
    """Sum over all samples (scalar) of (|gradient| - 1)²."""


def render_rays(
    field: NaiveNeus, origins: Tensor, directions: Tensor, depths: Tensor, sharpness: Tensor, *, trained: bool = True
) -> NaiveRays:
    """Render rays, with distance, gradient and colour at every sample.

    Args:
        field: the networks.
        origins, directions: (R, 3) metres and unit.
        depths: (R, S) rising, metres along the ray: the middles of its sections.
        sharpness: NeuS's s, per metre.
        trained: whether gradients are asked for afterwards.
    """
    count, samples = depths.shape
    points = (origins[:, None] + depths[..., None] * directions[:, None]).reshape(-1, 3)
    distance, features, gradient = field.sdf_and_gradient(points, trained=trained)
    color = field.color(points, gradient, features).view(count, samples, 3)
    eikonal = (gradient.norm(dim=1) - 1.0).square().sum()
    gradient = gradient.view(count, samples, 3)
    steps = depths.diff(dim=1)
    lengths = torch.cat([steps, steps[:, -1:]], dim=1)
    weights = section_weights(
        section_opacities(distance.view(count, samples), gradient, directions, lengths, sharpness)
    )
    return NaiveRays(
        color=(weights[..., None] * color).sum(1),
        normal=(weights[..., None] * gradient).sum(1),
        opacity=weights.sum(1),
        eikonal=eikonal,
    )


def sphere_depths(
    origins: Tensor, directions: Tensor, centre: Tensor, radius: float, samples: int, generator: torch.Generator
) -> Tensor:
    """Return (R, samples) rising depths in metres through the sphere that holds the scene, moved as one a ray.

    As NeuS does, from one radius before the point nearest to the centre to one radius behind it.
    """
    middle = ((centre - origins) * directions).sum(1, keepdim=True)
    even = (torch.arange(samples, device=origins.device) + 0.5) / samples * 2.0 - 1.0
    shift = torch.rand(len(origins), 1, generator=generator, device=generator.device).to(origins) - 0.5
    return middle + radius * (even + shift * (2.0 / samples))


def _layers(sizes: list[int]) -> list[nn.Linear]:
    """Linear layers without values: their weights are drawn elsewhere, from an explicit generator."""
    return [nn.utils.skip_init(nn.Linear, *pair) for pair in itertools.pairwise(sizes)]
