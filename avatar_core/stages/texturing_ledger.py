"""The numbers of a run's steps: kept on the device until they are looked at, so that a GPU is seldom waited for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from avatar_core.stages.texturing_recovery import RecoveryConfig, check_gradient, check_loss


class Ledger:
    """Losses, their parts and the gradients' norms, step by step.

    Args:
        config: what counts as divergence.
        history: of the steps before, as in `TexturedAvatar.history`.
    """

    def __init__(self, config: RecoveryConfig, history: Sequence[Mapping[str, float]] = ()) -> None:
        self._config = config
        self.history = [dict(entry) for entry in history]
        """Each step's number, loss and parts of the loss before weighting, of the steps that were looked at."""
        self._unread: list[tuple[tuple[str, ...], Tensor]] = []

    def note(self, loss: Tensor, parts: Mapping[str, Tensor], parameters: Iterable[Tensor]) -> None:
        """Keep the numbers of a step whose loss has gone backward into the gradients of `parameters`."""
        norm = torch.nn.utils.get_total_norm([one.grad for one in parameters if one.grad is not None])
        self._unread.append((tuple(parts), torch.stack([norm, loss.detach(), *parts.values()])))

    def look(self) -> None:
        """Add what was kept to the history; raises Diverged at the first step that ought not to have been taken."""
        names, numbers = [names for names, _ in self._unread], [numbers for _, numbers in self._unread]
        self._unread = []
        # One transfer, whatever the number of steps.
        read = torch.cat(numbers).cpu().split([len(one) for one in numbers])
        for parts, (norm, loss, *values) in zip(names, (one.tolist() for one in read)):
            check_loss(loss, self.history, self._config)
            check_gradient(norm)
            self.history.append({"step": float(len(self.history) + 1), "loss": loss, **dict(zip(parts, values))})
