"""In what precision an encoder guides an optimisation."""

from __future__ import annotations

from typing import Literal

import torch

from avatar_core.perception.encoder import Encoder

Precision = Literal["auto", "float32", "bfloat16"]


def for_guidance(encoder: Encoder, precision: Precision) -> Encoder:
    """Return `encoder` computing in `precision`: features and gradients are the same model's, but for rounding.

    auto: bfloat16 on a CUDA device that computes in it, where the encoder can; else float32.
    Raises WeightsError when the encoder cannot compute in what was asked for.
    """
    if precision == "auto":
        fast = encoder.device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bfloat16" if fast and torch.bfloat16 in encoder.dtypes else "float32"
    return encoder.in_dtype(getattr(torch, precision))
