"""The method "realnvp": poses drawn from a flow that was trained for the encoder (AvatarCLIP)."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field

from avatar_core.bodies.rotations import sixd_to_matrix
from avatar_core.priors.choices import EMBEDDED, draw_pose_latents
from avatar_core.seeds import torch_generator
from avatar_core.stages.base import StageContext
from avatar_core.stages.pose_generators.base import PosePrior, ScoredPoses

NAME = "realnvp"


class Config(BaseModel):
    """Settings of the method."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    draws: int = Field(128, ge=1)
    """Latents that are drawn and scored."""
    temperature: float = Field(0.8, gt=0)
    """Standard deviation of the noise that becomes latents; less than one gives likelier and less varied poses."""


class FlowSampler:
    """Draws latents given the text; the pelvis's attitude is that of the codebook entry with the nearest latent."""

    def __init__(self, config: Config, prior: str = EMBEDDED) -> None:
        """prior: whose poses (see `priors.choices`)."""
        self.config, self.prior = config, prior

    @torch.no_grad()
    def generate(self, prompt: str, *, seed: int, context: StageContext) -> ScoredPoses:
        """Draw and score poses; raises WeightsError when there is no flow for this encoder and pose VAE."""
        prior = PosePrior(prompt, context, self.prior)
        latents = draw_pose_latents(
            self.prior,
            prior.target,
            prompt,
            self.config.draws,
            generator=torch_generator(seed, NAME, "draws"),
            temperature=self.config.temperature,
            encoder=context.encoder,
            pose_model=prior.vae,
        )
        entries = torch.cdist(latents, prior.book.latents.to(latents)).argmin(1).cpu()
        root = sixd_to_matrix(prior.book.roots[entries].to(latents))
        rotations = torch.cat([root[:, None], prior.vae.decode(latents)], dim=1)
        return ScoredPoses(rotations, prior.score(rotations), entries)
