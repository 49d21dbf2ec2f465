"""What all measurements share: loaded models and one dressed avatar that texturing runs start from."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from avatar_core.bodies import load_body
from avatar_core.config import Preset
from avatar_core.perception.encoder import load_encoder
from avatar_core.stages import implicit_init
from avatar_core.stages.base import StageContext
from avatar_core.stages.implicit_init import ImplicitAvatar
from avatar_core.stages.texturing import Config, TexturingRun
from avatar_core.storage import open_location
from avatar_core.storage.checkpoints import CheckpointStore

Say = Callable[[int, int, str], None]
"""Is told (done, total, what is measured)."""


@dataclass(frozen=True)
class Shape:
    """A body, as later stages read it."""

    betas: Tensor
    """(S,) shape vector."""


@dataclass(frozen=True, eq=False)
class Workbench:
    """Models, settings and a dressed avatar."""

    context: StageContext
    preset: Preset
    prompt: str
    seed: int
    clock: Callable[[], float]
    """Seconds, after the work queued on the device."""
    avatar: ImplicitAvatar
    dressed: dict[str, Any]
    """Checkpoint of texturing after its search for an outfit and before its first step."""

    @classmethod
    def prepare(
        cls, preset: Preset, prompt: str, seed: int, device: torch.device, clock: Callable[[], float], say: Say
    ) -> Workbench:
        """Load the models and dress the neutral body for `prompt`."""
        say(0, 3, "loading models")
        context = StageContext(load_body(device=device), load_encoder(device=device), device)
        say(1, 3, "implicit body")
        shape = Shape(context.body.neutral_shape)
        avatar = implicit_init.run(shape, config=preset.implicit_init, seed=seed, context=context)
        say(2, 3, "outfit")
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            checkpoint = CheckpointStore(open_location(folder))
            run = TexturingRun(avatar, prompt, preset.texturing, seed, replace(context, checkpoint=checkpoint))
            run.begin()
            run.keep()
            kept = checkpoint.load()
        assert kept is not None
        say(3, 3, "ready")
        return cls(context, preset, prompt, seed, clock, avatar, kept[0])

    def texturing(self, config: Config | None = None) -> TexturingRun:
        """Return a run of texturing at its first step, by other settings than the preset's if given."""
        run = TexturingRun(self.avatar, self.prompt, config or self.preset.texturing, self.seed, self.context)
        run.restore(copy.deepcopy(self.dressed), 0)
        return run
