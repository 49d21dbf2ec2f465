"""The method "latent_optimizer": the pose VAE's latent is optimised against the views' score (AvatarCLIP)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from avatar_core.bodies.rotations import sixd_to_matrix
from avatar_core.priors.choices import EMBEDDED
from avatar_core.stages.base import StageContext
from avatar_core.stages.pose_generators.ascent import AscentConfig, ascend
from avatar_core.stages.pose_generators.base import PosePrior, ScoredPoses

NAME = "latent_optimizer"


class Config(AscentConfig):
    """Settings of the method."""

    learning_rate: float = Field(0.06, gt=0)
    """Of Adam; the latent is of unit variance."""
    prior_weight: float = Field(0.05, ge=0)
    """Of the latent's mean square, which the prior's unit Gaussian calls for."""


class LatentOptimizer:
    """Starts at the best of codebook entries that were drawn at random."""

    def __init__(self, config: Config, prior: str = EMBEDDED) -> None:
        """prior: whose poses (see `priors.choices`)."""
        self.config, self.prior = config, prior

    def generate(self, prompt: str, *, seed: int, context: StageContext) -> ScoredPoses:
        """Optimise all starts; raises DivergenceError when numbers are not finite."""
        config, prior = self.config, PosePrior(prompt, context, self.prior)
        entries = prior.starts(config.draws, config.starts, seed, NAME, context)
        latent = prior.book.latents[entries].to(prior.device).clone().requires_grad_(True)
        start = prior.book.roots[entries].to(prior.device)
        root = start.clone().requires_grad_(True)

        def poses() -> Tensor:
            return torch.cat([sixd_to_matrix(root)[:, None], prior.vae.decode(latent)], dim=1)

        def penalty(rotations: Tensor) -> Tensor:
            tilt = (root - start).square().mean(-1)
            return config.prior_weight * latent.square().mean(-1) + config.attitude_weight * tilt

        rotations = ascend(
            [latent, root],
            poses,
            penalty,
            prior=prior,
            config=config,
            learning_rate=config.learning_rate,
            seed=seed,
            name=NAME,
            context=context,
        )
        return ScoredPoses(rotations, prior.score(rotations), entries)
