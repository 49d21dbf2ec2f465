"""A whole optimisation step of the naive NeuS: the same views and rays, the same image-text model, Adam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from avatar_core.fields.neus import Sharpness
from avatar_core.fields.shell import ShellRays
from avatar_core.perception.encoder import Encoder
from avatar_core.rendering.lights import shade
from avatar_core.stages.texturing_losses import guidance
from avatar_core.stages.texturing_views import Views

from .naive_neus import NaiveNeus, NaiveRays, render_rays, sphere_depths

LEARNING_RATE = 5e-4
INITIAL_SHARPNESS = 20.0
"""NeuS's s at the start, per metre: its variance of 0.3."""
EIKONAL = 0.1
CLAY = 0.75
"""Albedo of the texture-less views."""


@dataclass(frozen=True)
class NaiveTimes:
    """Seconds of one step."""

    rays: float
    """Rendering the rays forward and backward: of those that were rendered, grown linearly to all."""
    clip: float
    """The image-text model forward and backward, on whole images."""
    optimiser: float

    @property
    def total(self) -> float:
        """Seconds of the whole step."""
        return self.rays + self.clip + self.optimiser


class NaiveStep:
    """The state of a naive optimisation.

    Args:
        centre, radius: of the sphere that holds the body, (3,) and a number, metres.
        encoder: the image-text model.
        targets: (K, D) text features by prompt kind.
        samples: a ray.
        chunk: rays whose graph is held at once.
        clay_share: part of the views that are compared without texture too.
        generator: of the first weights and the samples' places.
        clock: seconds.
    """

    def __init__(
        self,
        centre: Tensor,
        radius: float,
        encoder: Encoder,
        targets: Tensor,
        *,
        samples: int,
        chunk: int,
        clay_share: float,
        generator: torch.Generator,
        clock: Callable[[], float],
    ) -> None:
        self.field = NaiveNeus(centre, radius, generator)
        self.sharpness = Sharpness(INITIAL_SHARPNESS).to(centre.device)
        parameters = [*self.field.parameters(), *self.sharpness.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)
        self._centre, self._radius, self._encoder, self._targets = centre, radius, encoder, targets
        self._samples, self._chunk, self._clay_share = samples, chunk, clay_share
        self._generator, self._clock = generator, clock

    def advance(self, views: Views, rays: ShellRays, chosen: Tensor) -> NaiveTimes:
        """Take one step with the `chosen` (N,) of `rays`; the others' pixels show the background.

        The images are needed before any ray's gradient, and the graph of all rays does not fit into memory. So the
        rays are rendered without a graph first, which does not count, and once more by chunks.
        """
        origins, directions = rays.origins[chosen], rays.directions[chosen]
        pixel, view = rays.pixel[chosen], rays.view[chosen]
        depths = sphere_depths(origins, directions, self._centre, self._radius, self._samples, self._generator)
        chunks = torch.arange(len(chosen), device=origins.device).split(self._chunk)
        background = views.background.permute(0, 2, 3, 1).reshape(-1, 3)[pixel]

        def pixels(part: Tensor, trained: bool) -> tuple[Tensor, Tensor, Tensor]:
            seen = render_rays(
                self.field, origins[part], directions[part], depths[part], self.sharpness(), trained=trained
            )
            lit, clay = _shaded(seen, views, view[part])
            opacity = seen.opacity[:, None]
            return background[part].lerp(lit, opacity), background[part].lerp(clay, opacity), seen.eikonal

        plain = [[value.detach() for value in pixels(part, False)[:2]] for part in chunks]
        lit, clay = (torch.cat(values) for values in zip(*plain))
        began = self._clock()
        slopes = self._guide(views, pixel, lit, clay)
        guided = self._clock()
        self.optimizer.zero_grad(set_to_none=True)
        for part in chunks:
            colors = pixels(part, True)
            eikonal = EIKONAL * colors[2] / depths.numel()
            torch.autograd.backward([*colors[:2], eikonal], [slopes[0][part], slopes[1][part], None])
        rendered = self._clock()
        self.optimizer.step()
        grown = len(rays) / max(len(chosen), 1)
        return NaiveTimes((rendered - guided) * grown, guided - began, self._clock() - rendered)

    def _guide(self, views: Views, pixel: Tensor, lit: Tensor, clay: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients (N, 3) of the image-text model's loss in the pixels of both kinds of view."""
        lit, clay = lit.requires_grad_(), clay.requires_grad_()
        count = len(views.prompt)
        seen = max(1, round(self._clay_share * count))
        images = torch.cat([_painted(views, pixel, lit), _painted(views, pixel, clay)[:seen]])
        prompts = torch.cat([views.prompt, views.prompt[:seen]])
        loss = guidance(self._encoder, images, self._targets[prompts])
        (loss[:count].mean() + 0.5 * loss[count:].mean()).backward()
        assert lit.grad is not None
        assert clay.grad is not None
        return lit.grad, clay.grad


def _shaded(seen: NaiveRays, views: Views, view: Tensor) -> tuple[Tensor, Tensor]:
    """Return lit colours (N, 3) with and without texture."""
    normals = torch.nn.functional.normalize(seen.normal, dim=1)
    light = shade(torch.ones_like(seen.color), normals, views.lights, view)
    return seen.color * light, CLAY * light


def _painted(views: Views, pixel: Tensor, colors: Tensor) -> Tensor:
    """Return the views' backgrounds (B, 3, H, W) with `colors` (N, 3) at `pixel` (N,)."""
    count, _, height, width = views.background.shape
    flat = views.background.permute(0, 2, 3, 1).reshape(-1, 3).index_copy(0, pixel, colors)
    return flat.reshape(count, height, width, 3).permute(0, 3, 1, 2)
