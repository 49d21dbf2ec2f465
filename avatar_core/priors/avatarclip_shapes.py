"""AvatarCLIP's body shapes as shape vectors of the user's own SMPL."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from avatar_core.bodies.brought import load_model
from avatar_core.errors import WeightsError

logger = logging.getLogger(__name__)

LARGEST_MISS = 0.02
"""Mean distance of vertices, metres, between a shape and the nearest one that SMPL's components make: with more,
the two are not of one mesh."""


def betas_of(latents: Tensor, axes: Tensor, offset: Tensor) -> Tensor:
    """Return SMPL's shape vectors (N, S) that are nearest to the shapes of latents (N, 16), by least squares.

    Args:
        latents: of the shape VAE.
        axes, offset: (3 V, 16) and (3 V,) its decoder, metres, added to SMPL's template in the T-pose.
    Raises:
        ConfigError: there is no neutral SMPL on this machine.
        WeightsError: the VAE is of another mesh.
    """
    _, arrays = load_model("smpl")
    directions = torch.from_numpy(arrays.shape_directions).double().flatten(0, 1)
    if len(directions) != len(axes):
        raise WeightsError(
            f"AvatarCLIP's shape VAE is of {len(axes) // 3} vertices, your SMPL of {len(arrays.template)}: add the "
            "neutral SMPL model that it was made for"
        )
    wanted = (latents @ axes.mT + offset).double().mT
    betas = torch.linalg.lstsq(directions, wanted).solution
    away = (directions @ betas - wanted).unflatten(0, (-1, 3)).norm(dim=1).mean()
    if not float(away) < LARGEST_MISS:
        raise WeightsError(
            f"AvatarCLIP's shapes lie {1000 * float(away):.0f} mm from any shape of your SMPL, which is another "
            "model: add the neutral SMPL that they were made for"
        )
    logger.info("AvatarCLIP's %d shapes as SMPL's shape vectors: %.1f mm off", len(latents), 1000 * float(away))
    return betas.mT.float().contiguous()
