"""When texturing may stop early: guidance has stopped to gain anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from avatar_core.stages.texturing_losses import LossConfig


class PlateauConfig(BaseModel):
    """When a run ends before its last step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    patience: int = Field(0, ge=0)
    """Steps without a gain after which the run ends; 0: it never ends early. Steps at less than full detail do not
    count."""
    gain: float = Field(0.002, ge=0)
    """What the smoothed guidance loss has to fall by to have gained."""
    window: int = Field(20, ge=1)
    """Steps that it is a mean of; it is looked at that often too."""


def has_stalled(
    history: Sequence[Mapping[str, float]], since: int, losses: LossConfig, config: PlateauConfig
) -> bool:
    """Tell whether the guidance loss has not fallen for `patience` steps.

    Args:
        history: each step's loss and parts before weighting.
        since: steps at full detail and resolution begin after this one; what came before is another loss.
        losses: weights of the parts.
        config: patience, gain and window.
    """
    if not config.patience or len(history) % config.window:
        return False
    guidance = [losses.lit * entry["lit"] + losses.clay * entry.get("clay", 0.0) for entry in history[since:]]
    if len(guidance) < config.window + config.patience:
        return False
    smooth = np.convolve(guidance, np.full(config.window, 1.0 / config.window), mode="valid")
    best, gained_at = smooth[0], 0
    for place, value in enumerate(smooth):
        if value < best - config.gain:
            best, gained_at = value, place
    return len(smooth) - 1 - gained_at >= config.patience
