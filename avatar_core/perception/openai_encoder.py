"""Encoders from OpenAI's `clip` package, which is imported only when one is asked for."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from avatar_core.errors import WeightsError
from avatar_core.perception.frozen_encoder import CLIP_MEAN, CLIP_STD, FrozenEncoder

PREFIX = "clip:"
"""Begins the names of these encoders; the package's own name of the model follows, as in "clip:ViT-B/32"."""

_TWIN = 'The encoder "openai/clip-vit-base-patch32" holds the weights of ViT-B/32 and needs no such package.'
_USED = ("available_models", "load", "tokenize")


class OpenAIEncoder(FrozenEncoder):
    """A model of OpenAI's `clip` package as an Encoder, in float32.

    Args:
        package: the imported `clip`, for its tokenizer.
        model: has `encode_image`, `encode_text` and `visual.input_resolution`; frozen here.
        name: what the user called it.
        device: where it runs.
    """

    def __init__(self, package: Any, model: Any, *, name: str, device: torch.device | str = "cpu") -> None:
        place = torch.device(device)
        model = model.float().eval().requires_grad_(False)
        digest = state_digest(model.state_dict())
        self._package, self._model = package, model.to(place)
        size = int(model.visual.input_resolution)
        super().__init__(name=name, digest=digest, device=place, image_size=size, mean=CLIP_MEAN, std=CLIP_STD)

    def _image_features(self, pixels: Tensor) -> Tensor:
        return self._model.encode_image(pixels)

    def _text_features(self, texts: list[str]) -> Tensor:
        return self._model.encode_text(self._package.tokenize(texts, truncate=True).to(self.device))


def load_openai(name: str, device: torch.device | str, dtype: torch.dtype) -> OpenAIEncoder:
    """Load an encoder of OpenAI's `clip` package, which fetches and checks its weights itself.

    Args:
        name: PREFIX and one of `clip.available_models()`.
        device: where it runs.
        dtype: float32, the only one here.
    Raises:
        WeightsError: the package or the weights are not there, there is no such model, or another dtype is wanted.
    """
    if dtype != torch.float32:
        raise WeightsError(f"encoder {name!r} runs in float32 only, not in {dtype}. {_TWIN}")
    package = _import_clip(name)
    model_name = name.removeprefix(PREFIX)
    known = package.available_models()
    if model_name not in known:
        raise WeightsError(
            f"encoder {name!r}: OpenAI's clip package has no model {model_name!r}; it has {', '.join(known)}"
        )
    try:
        model, _ = package.load(model_name, device="cpu", jit=False)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"encoder {name!r} is not on this machine and could not be fetched ({error}). Run "
            f"`python -c 'import clip; clip.load(\"{model_name}\")'` where a network is at hand, and copy "
            f"~/.cache/clip here. {_TWIN}"
        ) from error
    return OpenAIEncoder(package, model, name=name, device=device)


def _import_clip(name: str) -> Any:
    try:
        package = importlib.import_module("clip")
    except Exception as error:  # a torchvision that does not fit torch raises anything
        raise WeightsError(_how_to_install(name, f"does not import here ({error})")) from error
    if not all(hasattr(package, one) for one in _USED):
        raise WeightsError(_how_to_install(name, "is another one here, of the same name"))
    return package


def _how_to_install(name: str, trouble: str) -> str:
    return (
        f"encoder {name!r} needs OpenAI's clip package, which {trouble}. Install it with "
        f"`pip install git+https://github.com/openai/CLIP.git`. {_TWIN}"
    )


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Return the sha256 (hex) of tensors of any shape, in the order of their names; the same on every device."""
    summed = hashlib.sha256()
    for name in sorted(state):
        values = state[name].detach().cpu().numpy()
        summed.update(f"{name} {values.dtype} {values.shape}\n".encode())
        summed.update(values.tobytes())
    return summed.hexdigest()
