"""What the stages need of a motion prior; one implementation a file."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class MotionModel(Protocol):
    """Latents of whole motions at 30 frames a second; of unit variance over the motions it was made of."""

    digest: str  # sha256 of the weights, hex
    rest_joints: Tensor  # (22, 3) skeleton on which heights and feet are judged, metres

    @property
    def frames(self) -> int:
        """Frames of a motion."""
        ...

    @property
    def latent_size(self) -> int:
        """Numbers in the latent."""
        ...

    def decode(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return rotations (B, F, 22, 3, 3) and pelvis positions (B, F, 3) in metres of latents; differentiable."""
        ...

    def contacts(self, latent: Tensor) -> Tensor:
        """Return which feet stand, left and right, in the motions of latents, as (B, F, 2) bool."""
        ...
