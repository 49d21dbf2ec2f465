"""What every encoder does alike: resize and normalise images, keep texts, return unit vectors."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from avatar_core.errors import WeightsError
from avatar_core.perception.preprocess import normalize, resize

CLIP_MEAN: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's image normalisation."""


class FrozenEncoder(ABC):
    """An Encoder around a model that returns features; subclasses are ready to encode before they call `__init__`.

    Args:
        name: what the user called it.
        digest: of everything that decides its features, hex.
        device: where the model is.
        image_size: the side, in pixels, that the model sees.
        mean, std: of the image normalisation, by channel.
        dtype: what the model computes in.
    """

    dtypes: tuple[torch.dtype, ...] = (torch.float32,)
    _model: Any
    """Computes the features; a module where there is more than one of `dtypes`."""

    def __init__(
        self,
        *,
        name: str,
        digest: str,
        device: torch.device,
        image_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.name, self.digest, self.device, self.image_size = name, digest, device, image_size
        self._mean, self._std = torch.tensor(mean, device=device), torch.tensor(std, device=device)
        self._by_dtype: dict[torch.dtype, FrozenEncoder] = {dtype: self}
        self._texts: dict[str, Tensor] = {}
        self.dim = int(self.encode_texts(["a person"]).shape[1])

    @abstractmethod
    def _image_features(self, pixels: Tensor) -> Tensor:
        """Return features (B, D) of any length of normalised float32 images (B, 3, S, S)."""

    def in_dtype(self, dtype: torch.dtype) -> FrozenEncoder:
        """Return the same encoder computing in `dtype`, converted once; raises WeightsError where it cannot."""
        if dtype not in self.dtypes:
            raise WeightsError(f"encoder {self.name!r} computes in {', '.join(map(str, self.dtypes))}, not in {dtype}")
        if dtype not in self._by_dtype:
            converted = copy.copy(self)
            converted._model = copy.deepcopy(self._model).to(dtype)
            converted._texts = {}
            self._by_dtype[dtype] = converted
        return self._by_dtype[dtype]

    @abstractmethod
    def _text_features(self, texts: list[str]) -> Tensor:
        """Return features (B, D) of any length of texts, cut to the model's context."""

    def encode_images(self, images: Tensor) -> Tensor:
        """Encode images.

        Args:
            images: (B, 3, H, W) float in [0, 1], any height and width.
        Returns:
            (B, D) float32 unit vectors; gradients flow back to `images`.
        Raises:
            ValueError: images of another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images have shape {tuple(images.shape)}; expected (B, 3, H, W)")
        pixels = normalize(resize(images.to(self.device, torch.float32), self.image_size), self._mean, self._std)
        return nn.functional.normalize(self._image_features(pixels).float(), dim=-1)

    @torch.no_grad()
    def encode_texts(self, texts: list[str]) -> Tensor:
        """Encode texts into (B, D) float32 unit vectors; each is computed once, what exceeds the context is cut."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if missing:
            features = self._text_features(missing).float()
            self._texts.update(zip(missing, nn.functional.normalize(features, dim=-1)))
        return torch.stack([self._texts[text] for text in texts])

    @torch.no_grad()
    def text_length(self, text: str) -> float:
        """Return the length of a text's feature before it is made a unit vector."""
        return float(self._text_features([text]).float().norm())
