"""What texturing minimises: guidance by the image-text model, and what keeps surface and colours plausible."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from avatar_core.errors import ConfigError
from avatar_core.fields import AvatarField
from avatar_core.fields.field_renderer import FieldViews
from avatar_core.perception.encoder import Encoder

Loss = Callable[[FieldViews, AvatarField], Tensor]
"""A loss of a caller's own: from the views of a step and the field that they show to a scalar, weighted already."""


class LossConfig(BaseModel):
    """Weights of the losses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lit: float = Field(1.0, ge=0)
    """1 - cosine of lit, textured views and their prompt."""
    clay: float = Field(0.5, ge=0)
    """1 - cosine of texture-less views and their prompt: what shapes the geometry."""
    clay_share: float = Field(0.5, gt=0, le=1)
    """Part of a step's views that are seen without texture too, in turn."""
    eikonal: float = Field(0.1, ge=0)
    """(|gradient of the distance| - 1)² on the surface."""
    laplacian: float = Field(1e-3, ge=0)
    """Squared Laplacian of the learned distance, per metre: keeps the surface from wrinkling."""
    residual: float = Field(4.0, ge=0)
    """Squared learned distance over its outward limit: the body's shape is kept where guidance is indifferent."""
    mask: float = Field(0.1, ge=0)
    """1 - opacity of rays that hit the body: guidance may add to the body, not open holes in it."""
    variation: float = Field(0.3, ge=0)
    """Difference of learned colours between neighbouring points: total variation on the surface."""
    variation_step: float = Field(0.012, gt=0)
    """Standard deviation of the neighbours' offset, metres."""
    change: float = Field(0.4, ge=0)
    """Squared learned change of the albedo's logits: colours stay with their region's unless guidance insists."""
    palette: float = Field(2.0, ge=0)
    """Squared change of the region colours' logits: what the prompt does not speak of keeps its plausible colour."""
    saturation: float = Field(0.02, ge=0)
    """Squared excess of the albedo beyond what reads as paint (below 0.03, above 0.97)."""


def guidance(encoder: Encoder, images: Tensor, targets: Tensor) -> Tensor:
    """Return 1 - cosine (B,) of images (B, 3, H, W) in [0, 1] and unit text features (B, D)."""
    return 1.0 - (encoder.encode_images(images) * targets).sum(1)


def guided_images(views: FieldViews, targets: Tensor, config: LossConfig, step: int) -> tuple[Tensor, Tensor]:
    """Return what the image-text model has to see of B views: images (B + C, 3, H, W) and text features (B + C, D).

    The last C images are texture-less. targets: (B, D) unit text features of the prompts that the views are compared
    with; step: running number, which decides whose turn it is to be seen without texture.
    """
    if views.clay is None or config.clay <= 0:
        return views.image, targets
    count = len(targets)
    seen = max(1, round(config.clay_share * count))
    turn = (torch.arange(seen, device=targets.device) + step * seen) % count
    return torch.cat([views.image, views.clay[turn]]), torch.cat([targets, targets[turn]])


def neighbours(views: FieldViews, config: LossConfig, generator: torch.Generator) -> Tensor:
    """Return a random point (N, 3) near each of the views' surface points, where the loss compares the colours.

    generator: on the views' device.
    """
    draws = torch.randn(views.points.shape, generator=generator, device=generator.device)
    return views.points + config.variation_step * draws


def total_loss(
    views: FieldViews, disagreement: Tensor, field: AvatarField, config: LossConfig, neighbour_change: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the weighted sum and its parts before weighting (detached scalars).

    disagreement: (B + C,) 1 - cosine of the images that `guided_images` gave; neighbour_change: (N, 3) learned change
    of the albedo's logits at `neighbours`.
    """
    count = len(views.image)
    parts = {"lit": disagreement[:count].mean()}
    if len(disagreement) > count:
        parts["clay"] = disagreement[count:].mean()
    parts |= regularisation(views, field, neighbour_change)
    total = torch.stack([getattr(config, name) * value for name, value in parts.items()]).sum()
    return total, {name: value.detach() for name, value in parts.items()}


def check_names(losses: Mapping[str, Loss]) -> None:
    """Raise ConfigError where a loss of the caller's own is called as one of ours."""
    taken = sorted({*LossConfig.model_fields, "loss", "step"} & losses.keys())
    if taken:
        raise ConfigError(f"losses: {', '.join(taken)}: texturing has such numbers itself; give yours another name")


def own_losses(losses: Mapping[str, Loss], views: FieldViews, field: AvatarField) -> dict[str, Tensor]:
    """Return the caller's own losses by name, scalars; raises ConfigError where one is something else."""
    found = {name: loss(views, field) for name, loss in losses.items()}
    for name, value in found.items():
        if not isinstance(value, Tensor) or value.ndim or not value.is_floating_point():
            given = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
            raise ConfigError(
                f"losses: {name}: gave {given}; return one floating-point number, as .mean() does"
            )
    return found


def regularisation(views: FieldViews, field: AvatarField, neighbour_change: Tensor) -> dict[str, Tensor]:
    """Return the parts of the loss that need no prompt."""
    excess = (views.albedo - views.albedo.clamp(0.03, 0.97)).square().sum(1)
    on_body = views.rays.on_body
    # Not picked out by a mask: how many they are would have to be known here, and a GPU be waited for.
    missed = torch.where(on_body, 1.0 - views.rendered.opacity, 0.0)
    on_surface = {
        "eikonal": (views.gradient.norm(dim=1) - 1.0).square(),
        "laplacian": views.laplacian.square(),
        "residual": (views.residual / field.config.outward).square(),
        "variation": (neighbour_change - views.color_change).abs().mean(1),
        "change": views.color_change.square().mean(1),
        "saturation": excess,
    }
    # The mean of the points that are shown, and zero of none.
    means = torch.stack(list(on_surface.values())) @ views.shown / views.shown.sum().clamp_min(1.0)
    parts = dict(zip(on_surface, means.unbind()))
    return parts | {"mask": missed.sum() / on_body.sum().clamp_min(1), "palette": field.base.drift()}
