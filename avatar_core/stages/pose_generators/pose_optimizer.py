"""The method "pose_optimizer": joint rotations themselves are optimised against the views' score (AvatarCLIP).

Nothing but the score would bend joints anyhow, so that two priors hold the pose: joint limits taken from the codebook,
and nearness to what the pose VAE can express.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from avatar_core.bodies.rotations import matrix_to_6d, matrix_to_axis_angle, sixd_to_matrix
from avatar_core.priors.choices import EMBEDDED
from avatar_core.stages.base import StageContext
from avatar_core.stages.pose_generators.ascent import AscentConfig, ascend
from avatar_core.stages.pose_generators.base import PosePrior, ScoredPoses

NAME = "pose_optimizer"
QUANTILES = (0.01, 0.99)
"""Of the codebook's poses, whose axis-angle components are the limits."""


class Config(AscentConfig):
    """Settings of the method."""

    learning_rate: float = Field(0.02, gt=0)
    """Of Adam, on numbers of the 6D rotations."""
    limit_weight: float = Field(20.0, ge=0)
    """Of the joint limits: the mean over the joints of the squared excess, square radians."""
    prior_weight: float = Field(8.0, ge=0)
    """Of the mean squared 6D difference from the pose as the pose VAE gives it back."""
    latent_weight: float = Field(0.02, ge=0)
    """Of the mean square of that pose's latent."""


class PoseOptimizer:
    """Starts at the best of codebook entries that were drawn at random."""

    def __init__(self, config: Config, prior: str = EMBEDDED) -> None:
        """prior: whose poses (see `priors.choices`)."""
        self.config, self.prior = config, prior

    def generate(self, prompt: str, *, seed: int, context: StageContext) -> ScoredPoses:
        """Optimise all starts; raises DivergenceError when numbers are not finite."""
        config, prior = self.config, PosePrior(prompt, context, self.prior)
        entries = prior.starts(config.draws, config.starts, seed, NAME, context)
        start = matrix_to_6d(prior.rotations(entries))
        limits = joint_limits(prior)
        sixd = start.clone().requires_grad_(True)

        def penalty(rotations: Tensor) -> Tensor:
            body = matrix_to_6d(rotations[:, 1:])
            latent = prior.vae.encode_rotations(rotations[:, 1:])
            away = (matrix_to_6d(prior.vae.decode(latent)) - body).square().mean((1, 2))
            tilt = (matrix_to_6d(rotations[:, 0]) - start[:, 0]).square().mean(-1)
            return (
                config.limit_weight * limit_excess(rotations, limits)
                + config.prior_weight * away
                + config.latent_weight * latent.square().mean(-1)
                + config.attitude_weight * tilt
            )

        rotations = ascend(
            [sixd],
            lambda: sixd_to_matrix(sixd),
            penalty,
            prior=prior,
            config=config,
            learning_rate=config.learning_rate,
            seed=seed,
            name=NAME,
            context=context,
        )
        return ScoredPoses(rotations, prior.score(rotations), entries)


def joint_limits(prior: PosePrior) -> Tensor:
    """Least and greatest axis-angle components (2, 21, 3) of the codebook's joints, the pelvis left out, radians.

    No joint but the pelvis comes near half a turn there, so that the components are continuous.
    """
    turned = matrix_to_axis_angle(prior.rotations()[:, 1:])
    return turned.quantile(turned.new_tensor(QUANTILES), dim=0)


def limit_excess(rotations: Tensor, limits: Tensor) -> Tensor:
    """Mean (n,) over the joints of poses (n, 22, 3, 3) of the squared angle beyond `joint_limits`, square radians."""
    turned = matrix_to_axis_angle(rotations[:, 1:])
    beyond = (limits[0] - turned).clamp_min(0) + (turned - limits[1]).clamp_min(0)
    return beyond.square().sum(-1).mean(-1)
