"""Image and text encoders of the CLIP family behind one interface."""

from __future__ import annotations

import hashlib
import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from avatar_core.errors import WeightsError
from avatar_core.perception.preprocess import normalize, resize

EMBEDDED: dict[str, str] = {"bodyclip": "bodyclip"}
"""Encoders that ship with the package, and their folders under avatar_core/weights."""

_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_HASHED = ("config.json", "tokenizer.json", "preprocessor_config.json", "vocab.json", "merges.txt", "spiece.model")


class Encoder(Protocol):
    """Maps images and texts into one space of unit vectors, where the cosine says how well they agree."""

    name: str
    digest: str  # sha256 of weights, configuration and tokenizer, hex
    image_size: int
    dim: int
    device: torch.device

    def encode_images(self, images: Tensor) -> Tensor:
        """Return unit vectors (B, D) of images (B, 3, H, W) in [0, 1]; differentiable."""
        ...

    def encode_texts(self, texts: list[str]) -> Tensor:
        """Return unit vectors (B, D) of texts; no gradient."""
        ...


class TransformersEncoder:
    """Any CLIP-family model of `transformers` (CLIP, SigLIP and the like) as an Encoder.

    Args:
        model: has `get_image_features` and `get_text_features`; frozen here.
        tokenizer: of the model.
        name: what the user called it.
        digest: of its files.
        mean, std: of the image normalisation.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        digest: str,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device | str = "cpu",
    ) -> None:
        self.name, self.digest = name, digest
        self.device = torch.device(device)
        self._model = model.to(self.device).eval().requires_grad_(False)
        self._tokenizer, self._mean, self._std = tokenizer, mean, std
        self._texts: dict[str, Tensor] = {}
        self.image_size = int(model.config.vision_config.image_size)
        self._context = int(model.config.text_config.max_position_embeddings)
        self._padding = "max_length" if "siglip" in model.config.model_type else "longest"
        self.dim = int(self.encode_texts(["a person"]).shape[1])

    def encode_images(self, images: Tensor) -> Tensor:
        """Encode images.

        Args:
            images: (B, 3, H, W) float in [0, 1], any height and width.
        Returns:
            (B, D) unit vectors; gradients flow back to `images`.
        Raises:
            ValueError: images of another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images have shape {tuple(images.shape)}; expected (B, 3, H, W)")
        pixels = normalize(resize(images.to(self.device, torch.float32), self.image_size), self._mean, self._std)
        features = self._model.get_image_features(pixel_values=pixels.to(self._model.dtype))
        return nn.functional.normalize(_tensor(features).float(), dim=-1)

    @torch.no_grad()
    def encode_texts(self, texts: list[str]) -> Tensor:
        """Encode texts into (B, D) unit vectors; each text is computed once, what exceeds the context is cut."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if missing:
            inputs = self._tokenizer(
                missing, padding=self._padding, truncation=True, max_length=self._context, return_tensors="pt"
            )
            kept = {name: inputs[name].to(self.device) for name in ("input_ids", "attention_mask") if name in inputs}
            features = _tensor(self._model.get_text_features(**kept)).float()
            self._texts.update(zip(missing, nn.functional.normalize(features, dim=-1)))
        return torch.stack([self._texts[text] for text in texts])


def _tensor(output: Any) -> Tensor:
    """Return the features, which newer transformers wrap in an output object."""
    return output if isinstance(output, Tensor) else output.pooler_output


def load_encoder(name_or_path: str = "bodyclip", device: torch.device | str = "cpu") -> Encoder:
    """Load an encoder by embedded name, folder or hub name.

    Args:
        name_or_path: "bodyclip" (ships with the package), the folder of a Hugging Face checkpoint, or a hub name such
            as "openai/clip-vit-base-patch32".
        device: where it runs.
    Raises:
        WeightsError: the weights are not there, are a pickle, or do not fit; the message says what to do.
    """
    return _load_folder(encoder_folder(name_or_path), name_or_path, device)


def encoder_folder(name_or_path: str = "bodyclip") -> Path:
    """Return the checkpoint folder of an encoder without loading it; hub names are fetched where needed.

    Raises:
        WeightsError: there is no such folder, or the checkpoint is not here and cannot be fetched.
    """
    if name_or_path in EMBEDDED:
        return Path(str(files("avatar_core") / "weights" / EMBEDDED[name_or_path]))
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or name_or_path.startswith((".", "~")) or name_or_path.count("/") > 1:
        raise WeightsError(f"encoder {name_or_path!r}: there is no such folder")
    return _fetch(name_or_path)


def _fetch(name: str) -> Path:
    """Return the local folder of a hub checkpoint, fetching it where a network is at hand."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    wanted = ["*.json", "*.safetensors", "*.txt", "*.model"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=_offline()))
    except (OSError, ValueError, RuntimeError, HFValidationError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"encoder {name!r} is not on this machine and could not be fetched ({reason}). Fetch it once where a "
            f"network is at hand: `hf download {name} --local-dir FOLDER`, copy FOLDER here, and give its path; or "
            'use the embedded encoder, "bodyclip".'
        ) from error


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def _load_folder(folder: Path, name: str, device: torch.device | str) -> Encoder:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    weights = sorted(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file():
        raise WeightsError(f"encoder {name!r}: {folder} holds no config.json, so it is no checkpoint folder")
    if not weights:
        pickles = sorted(one.name for one in (*folder.glob("*.bin"), *folder.glob("*.pt")))
        found = f" ({', '.join(pickles)} is a pickle, which can run code, and is not read)" if pickles else ""
        raise WeightsError(
            f"encoder {name!r}: {folder} holds no *.safetensors{found}. Convert it once with "
            "`AutoModel.from_pretrained(FOLDER, weights_only=True).save_pretrained(FOLDER)`."
        )
    disable_progress_bar()
    try:
        model = AutoModel.from_pretrained(
            str(folder), use_safetensors=True, local_files_only=True, dtype=torch.float32, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"encoder {name!r}: {folder} could not be loaded ({error})") from error
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        raise WeightsError(
            f"encoder {name!r} is a {type(model).__name__}, which does not encode both images and texts; use a CLIP or "
            "SigLIP checkpoint"
        )
    mean, std = _normalisation(folder)
    digest = folder_digest(folder)
    return TransformersEncoder(model, tokenizer, name=name, digest=digest, mean=mean, std=std, device=device)


def _normalisation(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return _CLIP_MEAN, _CLIP_STD
    facts = json.loads(path.read_text(encoding="utf-8"))
    return tuple(facts.get("image_mean", _CLIP_MEAN)), tuple(facts.get("image_std", _CLIP_STD))


def folder_digest(folder: Path) -> str:
    """Return the sha256 (hex) of a checkpoint folder's weights, configuration and tokenizer."""
    summed = hashlib.sha256()
    names = sorted(
        {path.name for path in folder.glob("*.safetensors")} | {n for n in _HASHED if (folder / n).is_file()}
    )
    for name in names:
        summed.update(name.encode())
        with open(folder / name, "rb") as file:
            summed.update(hashlib.file_digest(file, "sha256").digest())
    return summed.hexdigest()
