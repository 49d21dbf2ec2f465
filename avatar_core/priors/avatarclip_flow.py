"""AvatarCLIP's conditional RealNVP over VPoser's latent, which users bring (Hong et al. 2022).

It reads the features of CLIP ViT-B/32's text tower as they come, not made unit vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from avatar_core.errors import WeightsError
from avatar_core.priors.checkpoint_tensors import below, checked, layout_of

LATENT, FEATURE, HIDDEN, BLOCKS = 32, 512, 256, 8
_PREFIXES = ("s.", "t.", "mask")


class AvatarClipFlow(nn.Module):
    """Eight affine couplings under their authors' names: `s` tells log-scales, `t` shifts, `mask` what is kept."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.s = nn.ModuleList(_network(nn.Tanh()) for _ in range(BLOCKS))
        self.t = nn.ModuleList(_network() for _ in range(BLOCKS))
        self.register_buffer("mask", torch.zeros(BLOCKS, 1, LATENT))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], device: torch.device | str = "cpu") -> AvatarClipFlow:
        """Return the flow with what `read_flow` found, ready for inference."""
        model = cls()
        model.load_state_dict(dict(tensors))
        return model.eval().requires_grad_(False).to(device)

    def to_latents(self, noise: Tensor, features: Tensor) -> Tensor:
        """Return latents (B, 32) of VPoser for noise (B, 32) and text features (B, 512)."""
        values = noise
        for scale, shift, kept in zip(self.s, self.t, self.mask):
            read = torch.cat([values * kept, features], dim=-1)
            free = 1 - kept
            values = values * kept + free * (values * (scale(read) * free).exp() + shift(read))
        return values

    def sample(self, target: Tensor, count: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Draw latents (count, 32) for a text feature (512,) of the encoder's own length.

        generator: on the CPU; temperature: standard deviation of the noise, less than one for likelier poses.
        """
        noise = torch.randn(count, LATENT, generator=generator).to(target.device) * temperature
        return self.to_latents(noise, target.expand(count, -1))


def _network(*last: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(LATENT + FEATURE, HIDDEN),
        nn.LeakyReLU(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.LeakyReLU(),
        nn.Linear(HIDDEN, LATENT),
        *last,
    )


def is_flow(state: Mapping[str, Any]) -> bool:
    """Tell whether a state dict may be AvatarCLIP's flow."""
    return "mask" in state and any(name.startswith("s.0.") for name in state)


def read_flow(state: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """Return the flow's tensors out of a state dict; those of other models beside it are left.

    Raises WeightsError, which names the tensors that do not fit.
    """
    found = checked(source, "AvatarCLIP's pose flow", below(state, *_PREFIXES), layout_of(AvatarClipFlow()))
    if not bool(((found["mask"] == 0) | (found["mask"] == 1)).all()):
        raise WeightsError(f"{source}: mask holds other numbers than 0 and 1; get the file again")
    return found
