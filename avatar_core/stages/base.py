"""What every stage is given besides its inputs: models, device, progress and a place for checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from avatar_core.rendering.backends import DEFAULT_RENDERER, RendererName

if TYPE_CHECKING:
    from avatar_core.bodies import BodyModel
    from avatar_core.perception.encoder import Encoder
    from avatar_core.storage.checkpoints import CheckpointStore

Progress = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, a short note such as "loss 0.61")."""


def no_progress(done: int, total: int, note: str = "") -> None:
    """Ignore progress: the default of library callers."""


def never() -> bool:
    """Go on: the default of library callers."""
    return False


@dataclass(frozen=True)
class StageContext:
    """Loaded models and services that stages share; stages keep no state of their own."""

    body: BodyModel
    encoder: Encoder
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    progress: Progress = no_progress
    checkpoint: CheckpointStore | None = None
    """Where an interrupted stage finds what it had done; None when nothing is kept."""
    renderer: RendererName = DEFAULT_RENDERER
    """Who draws the grey bodies that shapes, poses and motions are judged by; those stages' settings say."""
    stop: Callable[[], bool] = never
    """Asked after each step of long stages: where it says yes, they keep a checkpoint and raise Interrupted."""
