"""Checkpoint folders of encoders: where they are, which files count, and what may be read of them."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from avatar_core.documents import read_json, shown
from avatar_core.errors import WeightsError
from avatar_core.perception.openai_encoder import PREFIX
from avatar_core.storage.npz import UNREADABLE

EMBEDDED: dict[str, str] = {"bodyclip": "bodyclip", "judge": "judge"}
"""Encoders that ship with the package, and their folders under avatar_core/weights; the judge never guides."""

PICKLE = ".bin"
"""Suffix of weights that are a pickle, of which only tensors may be read."""

_UNPICKLED = "Get the same model as *.safetensors: most hub pages have it, and `save_pretrained` writes it."
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_HASHED = (
    "config.json", "tokenizer.json", "preprocessor_config.json", "processor_config.json", "vocab.json", "merges.txt",
    "spiece.model",
)  # fmt: skip
_FETCHED = ["*.json", "*.safetensors", "*.txt", "*.model"]


def encoder_folder(name_or_path: str = "bodyclip") -> Path:
    """Return the checkpoint folder of an encoder without loading it; hub names are fetched where needed.

    Raises:
        WeightsError: there is no such folder, the checkpoint is not here and cannot be fetched, or the name is one of
            OpenAI's clip package, whose models have no folder.
    """
    if name_or_path.startswith(PREFIX):
        raise WeightsError(
            f"encoder {name_or_path!r} has no checkpoint folder: OpenAI's clip package keeps its weights itself. Ask "
            "`load_encoder(...).digest` for its digest, or give a folder or a hub name"
        )
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

    try:
        folder = Path(snapshot_download(name, allow_patterns=_FETCHED, local_files_only=_offline()))
        if not weight_files(folder):  # pickles only where there is nothing better: most models have both
            snapshot_download(name, allow_patterns=["pytorch_model*.bin"], local_files_only=_offline())
    except (OSError, ValueError, RuntimeError, HFValidationError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"encoder {name!r} is not on this machine and could not be fetched ({reason}). Fetch it once where a "
            f"network is at hand: `hf download {name} --local-dir FOLDER`, copy FOLDER here, and give its path; or "
            'use the embedded encoder, "bodyclip".'
        ) from error
    return folder


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold a checkpoint's weights, one or its shards; safetensors where there are both.

    Returns nothing where the folder holds none.

    Raises:
        WeightsError: an index of shards cannot be read, or lists a file that is not there.
    """
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return [folder / name]
        if (folder / f"{name}.index.json").is_file():
            return _shards(folder / f"{name}.index.json")
    return []


def _shards(index: Path) -> list[Path]:
    try:
        names = set(read_json(index.read_text(encoding="utf-8"))["weight_map"].values())
        if any(Path(name).name != name for name in names):
            raise ValueError("a shard outside of the folder")
        shards = sorted(index.parent / name for name in names)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{index} is no index of shards ({error!r}); fetch the checkpoint again") from error
    for shard in shards:
        if not shard.is_file():
            raise WeightsError(f"{index} lists {shard.name}, which is not there; fetch the checkpoint again")
    return shards


def check_pickle(path: Path) -> None:
    """Check that torch can read the tensors of a pickled state dict without running anything; it is not loaded.

    Raises:
        WeightsError: it would run code, is damaged, or holds something else.
    """
    if zipfile.is_zipfile(path):
        _check_stored(path)
    try:
        found = torch.load(path, map_location="meta", weights_only=True)
    except pickle.UnpicklingError as error:
        # Without torch's own message, which tells how to run the code.
        raise WeightsError(f"{path} {pickle_refusal(str(error))}. {_UNPICKLED}") from None
    except Exception as error:  # what torch raises for damage is not documented
        raise WeightsError(f"{path} is damaged ({str(error) or type(error).__name__}); fetch it again") from error
    if not (isinstance(found, dict) and found and all(isinstance(value, Tensor) for value in found.values())):
        raise WeightsError(f"{path} holds no tensors by name, so it is no checkpoint of a model. {_UNPICKLED}")


def _check_stored(path: Path) -> None:
    """Raise WeightsError for an archive that unpacks to more than it is: torch stores tensors as they are."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except UNREADABLE as error:
        raise WeightsError(f"{path} is damaged ({error}); fetch it again") from error
    if unpacked > path.stat().st_size:
        raise WeightsError(f"{path} unpacks to {unpacked >> 20} MiB, more than its own size. {_UNPICKLED}")


MAX_CONFIG = 1 << 20
"""Bytes of the longest config.json that is read."""
MAX_SIZE = 1 << 20
"""Largest number in one: vocabularies have a quarter of it."""
MAX_LAYERS = 200
_ATTENTION = ("eager", "sdpa", "flash_attention_2", "flex_attention")


def check_config(path: Path) -> None:
    """Check what a checkpoint's config.json asks for before a model is built of it.

    Raises:
        WeightsError: it is no JSON object of a model, asks for code from elsewhere, or for a model of absurd size.
    """
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise ValueError(f"it has more than {MAX_CONFIG >> 20} MiB")
        config = read_json(path.read_bytes())
        if not isinstance(config, dict):
            raise ValueError(f"it holds a {type(config).__name__}")
        _check_settings(config)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} is no configuration that is used ({error}); fetch the checkpoint again") from error


def _check_settings(settings: dict[str, Any], depth: int = 0) -> None:
    if depth > 8:
        raise ValueError("it is nested too deep")
    for name, value in settings.items():
        if name in ("auto_map", "quantization_config"):
            raise ValueError(f"{name} asks for code that is not part of transformers")
        if name.strip("_") == "attn_implementation" and value not in (None, *_ATTENTION):
            raise ValueError(f"{name} asks for code that is not part of transformers")
        if isinstance(value, dict):
            _check_settings(value, depth + 1)
        elif isinstance(value, int | float) and not abs(value) <= (MAX_LAYERS if "layers" in name else MAX_SIZE):
            raise ValueError(f"{name} is {shown(value)}")


def pickle_refusal(message: str) -> str:
    """Return what is wrong with a pickle that torch would not read, from torch's own message."""
    asked = re.search(r"GLOBAL (\S+)", message)
    if asked:
        return f"is a pickle that asks for {asked[1]}; reading it could run code, so it is refused"
    return "is damaged, or a pickle of more than tensors, which could run code; it is refused"


def folder_digest(folder: Path) -> str:
    """Return the sha256 (hex) of a checkpoint folder's weights, configuration and tokenizer.

    Raises WeightsError where its index of shards does not fit.
    """
    summed = hashlib.sha256()
    facts = [folder / name for name in _HASHED if (folder / name).is_file()]
    for path in sorted([*weight_files(folder), *facts]):
        summed.update(path.name.encode())
        with open(path, "rb") as file:
            summed.update(hashlib.file_digest(file, "sha256").digest())
    return summed.hexdigest()
