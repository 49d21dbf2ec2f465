"""R-precision: whether an avatar's pictures fit its own prompt better than the prompts of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def fits(features: Tensor, kinds: Sequence[str], texts: Mapping[str, Tensor]) -> Tensor:
    """Return how well the pictures of one avatar fit each of P prompts, (P,): the mean cosine over its views.

    Args:
        features: (B, D) unit vectors of its views.
        kinds: of the prompt that each view is compared with.
        texts: (P, D) unit vectors of the prompts, by kind.
    """
    return torch.stack([texts[kind] @ feature for kind, feature in zip(kinds, features)]).mean(0)


def rank(scores: Tensor, own: int) -> int:
    """Return the place of entry `own` among scores (P,), from 1; of equals it comes last, so that ties are no luck."""
    return int((scores >= scores[own]).sum())
