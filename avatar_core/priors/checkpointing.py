"""First weights and checkpoints of a prior's training: everything needed to repeat it and to go on exactly.

The draws of step n come from a generator derived from (seed, n), so that there is no generator state to keep.
"""

import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from avatar_core.errors import WeightsError


@dataclass(frozen=True)
class TrainingCheckpoint:
    """File of one training; `settings` are what must not change between the runs that share it."""

    path: Path
    settings: dict[str, int | float | str]

    def save(self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write the state after `step` steps over the previous one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "step": step,
            "settings": self.settings,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        temporary = self.path.with_suffix(".writing")
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Load the saved state and return its step, or 0 when there is none.

        Raises WeightsError when the file belongs to a training with other settings.
        """
        if not self.path.is_file():
            return 0
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            settings, step = state["settings"], int(state["step"])
        except (pickle.UnpicklingError, OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(
                f"{self.path}: no checkpoint of a training, or damaged; delete it or give another --checkpoint"
            ) from error
        if settings != self.settings:
            raise WeightsError(
                f"{self.path}: a checkpoint of a training with other settings ({settings}, "
                f"now {self.settings}); delete it or give another --checkpoint"
            )
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return step


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of every linear and convolution layer from `generator`, with zero biases.

    Attention's packed projections are drawn as the linear layers that they are.
    """
    for name, value in sorted(model.named_parameters()):
        if value.dim() >= 2:
            nn.init.xavier_uniform_(value, generator=generator)
        elif name.endswith("bias"):
            nn.init.zeros_(value)
