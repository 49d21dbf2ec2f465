"""Image and text encoders of the CLIP family behind one interface."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from avatar_core.perception.checkpoint_folder import encoder_folder
from avatar_core.perception.openai_encoder import PREFIX, load_openai
from avatar_core.perception.transformers_encoder import DTYPES, load_folder


class Encoder(Protocol):
    """Maps images and texts into one space of unit vectors, where the cosine says how well they agree."""

    name: str
    digest: str  # sha256 of all that decides the features, hex
    image_size: int
    dim: int
    device: torch.device
    dtypes: tuple[torch.dtype, ...]  # what its model can compute in

    def in_dtype(self, dtype: torch.dtype) -> Encoder:
        """Return the same encoder computing in another of `dtypes`; raises WeightsError for any other."""
        ...

    def encode_images(self, images: Tensor) -> Tensor:
        """Return float32 unit vectors (B, D) of images (B, 3, H, W) in [0, 1]; differentiable."""
        ...

    def encode_texts(self, texts: list[str]) -> Tensor:
        """Return float32 unit vectors (B, D) of texts; no gradient."""
        ...

    def text_length(self, text: str) -> float:
        """Return the length of a text's feature before it is made a unit vector."""
        ...


def load_encoder(
    name_or_path: str = "bodyclip", device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Encoder:
    """Load an encoder by embedded name, folder, hub name or name of OpenAI's own package.

    Args:
        name_or_path: "bodyclip" or its "judge" (they ship with the package), the folder of a Hugging Face checkpoint,
            a hub name such as "openai/clip-vit-base-patch32", or "clip:ViT-B/32" for a model of OpenAI's `clip`.
        device: where it runs.
        dtype: what the model computes in: float32, bfloat16 or float16; features are float32 all the same. In
            float16 small gradients vanish, so that bfloat16 is the better one to optimise with.
    Raises:
        WeightsError: the weights are not there, would run code, or do not fit; the message says what to do.
        ValueError: another dtype.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype}; expected one of {', '.join(map(str, DTYPES))}")
    if name_or_path.startswith(PREFIX):
        return load_openai(name_or_path, device, dtype)
    return load_folder(encoder_folder(name_or_path), name_or_path, device, dtype)
