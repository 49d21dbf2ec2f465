"""Encoders from checkpoints of the `transformers` library: CLIP, SigLIP and the like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from avatar_core.documents import read_json
from avatar_core.errors import WeightsError
from avatar_core.perception.checkpoint_folder import PICKLE, check_config, check_pickle, folder_digest, weight_files
from avatar_core.perception.frozen_encoder import CLIP_MEAN, CLIP_STD, FrozenEncoder
from avatar_core.perception.patch_projection import project_patches

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""What these models compute in; in float16 small gradients vanish, so that bfloat16 is better to optimise with."""
_SIGLIP_MEAN = _SIGLIP_STD = (0.5, 0.5, 0.5)


class TransformersEncoder(FrozenEncoder):
    """Any CLIP-family model of `transformers` as an Encoder.

    Args:
        model: has `get_image_features` and `get_text_features`; frozen here, and run in the dtype that it has.
        tokenizer: of the model.
        name: what the user called it.
        digest: of its files.
        mean, std: of the image normalisation.
        device: where it runs.
    """

    dtypes: tuple[torch.dtype, ...] = DTYPES

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
        place = torch.device(device)
        self._model = project_patches(model).to(place).eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._context = int(model.config.text_config.max_position_embeddings)
        self._padding = "max_length" if _is_siglip(model) else "longest"
        size = int(model.config.vision_config.image_size)
        super().__init__(
            name=name, digest=digest, device=place, image_size=size, mean=mean, std=std, dtype=self._model.dtype
        )

    def _image_features(self, pixels: Tensor) -> Tensor:
        return _tensor(self._model.get_image_features(pixel_values=pixels.to(self._model.dtype)))

    def _text_features(self, texts: list[str]) -> Tensor:
        inputs = self._tokenizer(
            texts, padding=self._padding, truncation=True, max_length=self._context, return_tensors="pt"
        )
        kept = {one: inputs[one].to(self.device) for one in ("input_ids", "attention_mask") if one in inputs}
        return _tensor(self._model.get_text_features(**kept))


def _is_siglip(model: Any) -> bool:
    return "siglip" in model.config.model_type


def _tensor(output: Any) -> Tensor:
    """Return the features, which newer transformers wrap in an output object."""
    return output if isinstance(output, Tensor) else output.pooler_output


def load_folder(folder: Path, name: str, device: torch.device | str, dtype: torch.dtype) -> TransformersEncoder:
    """Load a checkpoint folder; a pickle only as far as it holds nothing but tensors.

    Args:
        folder: has config.json, the weights and the tokenizer.
        name: what the user called it.
        device: where it runs.
        dtype: of the weights and of what the model computes.
    Raises:
        WeightsError: files are missing, damaged or of another model, or a pickle would run code.
    """
    if not (folder / "config.json").is_file():
        raise WeightsError(f"encoder {name!r}: {folder} holds no config.json, so it is no checkpoint folder")
    model = _load_model(folder, name, dtype)
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        raise WeightsError(
            f"encoder {name!r} is a {type(model).__name__}, which does not encode both images and texts; use a CLIP or "
            "SigLIP checkpoint"
        )
    mean, std = _normalisation(folder, siglip=_is_siglip(model))
    return TransformersEncoder(
        model, _load_tokenizer(folder, name), name=name, digest=folder_digest(folder), mean=mean, std=std, device=device
    )


def _load_model(folder: Path, name: str, dtype: torch.dtype) -> nn.Module:
    from transformers import AutoModel
    from transformers.utils.logging import disable_progress_bar

    weights = weight_files(folder)
    if not weights:
        raise WeightsError(
            f"encoder {name!r}: {folder} holds neither model.safetensors nor pytorch_model.bin. Fetch the checkpoint "
            "again, or write it there with `model.save_pretrained(FOLDER)`."
        )
    check_config(folder / "config.json")
    pickles = [path for path in weights if path.suffix == PICKLE]
    for path in pickles:
        check_pickle(path)
    disable_progress_bar()
    try:
        model, loaded = AutoModel.from_pretrained(
            str(folder), use_safetensors=not pickles, weights_only=True, local_files_only=True, dtype=dtype,
            trust_remote_code=False, output_loading_info=True,
        )  # fmt: skip
    except Exception as error:  # what transformers raises for damaged files is not documented
        raise WeightsError(f"encoder {name!r}: {folder} could not be loaded ({error})") from error
    lacking = sorted(set(loaded["missing_keys"]) & {key for key, _ in model.named_parameters()})
    if lacking:
        raise WeightsError(
            f"encoder {name!r}: the weights in {folder} lack {len(lacking)} of the model's tensors, such as "
            f"{lacking[0]}; they are of another model than config.json says, or incomplete"
        )
    return model


def _load_tokenizer(folder: Path, name: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers raises Exception itself
        raise WeightsError(f"encoder {name!r}: the tokenizer in {folder} could not be loaded ({error})") from error


def _normalisation(folder: Path, *, siglip: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and deviation of the image processor that is saved beside the weights, or the family's own."""
    facts: dict[str, Any] = {}
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            try:
                saved = read_json((folder / name).read_bytes())
                facts |= saved.get("image_processor", saved)
            except (OSError, ValueError, TypeError, AttributeError) as error:
                raise WeightsError(f"{folder / name} cannot be read ({error}); fetch the checkpoint again") from error
    mean, std = (_SIGLIP_MEAN, _SIGLIP_STD) if siglip else (CLIP_MEAN, CLIP_STD)
    return _triple(folder, facts.get("image_mean", mean)), _triple(folder, facts.get("image_std", std))


def _triple(folder: Path, values: Any) -> tuple[float, ...]:
    """Return one number for each of red, green and blue."""
    whole = isinstance(values, list | tuple) and len(values) == 3
    if not whole or not all(isinstance(one, int | float) and abs(one) < 10 for one in values):
        raise WeightsError(f"{folder}: its image processor's mean or deviation is no three numbers; fetch it again")
    return tuple(map(float, values))
