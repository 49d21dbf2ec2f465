"""Writes a trained encoder as a Hugging Face checkpoint folder."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from avatar_core.training.bodyclip_model import IMAGE_MEAN, IMAGE_STD
from avatar_core.training.bodyclip_tokenizer import save_tokenizer


def export_bodyclip(
    model: PreTrainedModel, weights: dict[str, Tensor], tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    """Write config.json, model.safetensors (half precision), the tokenizer and preprocessor_config.json.

    Args:
        model: gives the configuration.
        weights: the state to write (the averaged weights, say), with the model's keys.
        tokenizer: saved beside.
        folder: made where it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    half = {
        name: value.detach().to(torch.float16).contiguous() if value.is_floating_point() else value.contiguous()
        for name, value in weights.items()
    }
    save_file(half, str(folder / "model.safetensors"), metadata={"format": "pt"})
    config = json.loads(model.config.to_json_string(use_diff=False))
    config |= {"architectures": [type(model).__name__], "dtype": "float32", "model_type": model.config.model_type}
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    size = config["vision_config"]["image_size"]
    preprocessor = {
        "image_processor_type": "CLIPImageProcessor", "do_resize": True, "size": {"height": size, "width": size},
        "do_center_crop": False, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
        "do_convert_rgb": True, "resample": 3, "image_mean": list(IMAGE_MEAN), "image_std": list(IMAGE_STD),
    }  # fmt: skip
    text = json.dumps(preprocessor, indent=2) + "\n"
    (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")
    save_tokenizer(tokenizer, folder)
