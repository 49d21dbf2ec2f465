"""The second encoder, which never guides: whether another model too sees what the guiding one was led to."""

from __future__ import annotations

import functools

import torch

from avatar_core.perception.encoder import Encoder, load_encoder

JUDGE = "judge"
"""Name of the embedded encoder that judges; see its card for what it knows."""


def held_out_judge(guide: Encoder) -> Encoder | None:
    """Return the encoder that judges what `guide` led to, on the same device; None where `guide` is that encoder.

    Raises WeightsError where its weights are missing.
    """
    judge = _loaded(guide.device)
    return None if judge.digest == guide.digest else judge


@functools.lru_cache(maxsize=2)
def _loaded(device: torch.device) -> Encoder:
    return load_encoder(JUDGE, device)
