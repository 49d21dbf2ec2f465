"""What the stages need of a pose prior; one implementation a file."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class PoseModel(Protocol):
    """Latents of body poses: 21 joint rotations without the pelvis; of unit variance over the poses it was made of."""

    digest: str  # sha256 of the weights, hex

    def encode_rotations(self, rotations: Tensor) -> Tensor:
        """Return the latents (B, 32) of rotation matrices (B, 21, 3, 3); differentiable."""
        ...

    def decode(self, latent: Tensor) -> Tensor:
        """Return joint rotations (B, 21, 3, 3) relative to the parents for latents (B, 32); differentiable."""
        ...
