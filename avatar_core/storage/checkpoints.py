"""Checkpoints of a running computation: safetensors with a JSON tree in the header; torn ones are skipped."""

import hashlib
import json
import logging
import re
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch

from avatar_core.errors import ArtifactError
from avatar_core.storage.location import Location
from avatar_core.storage.paths import remove_stale

logger = logging.getLogger(__name__)

KEPT = 2
_FORMAT = "1"
_STALE_SECONDS = 3600.0
_NAME = re.compile(r"step-(\d{12})-[0-9a-f]{8}\.safetensors")


class CheckpointStore:
    """The checkpoints of one computation, in a folder of their own; `kill -9` leaves a usable one."""

    def __init__(self, folder: Location) -> None:
        self._folder = folder

    def save(self, state: Mapping[str, Any], step: int) -> None:
        """Store `state` after `step` >= 0 steps, then drop all but the two newest checkpoints.

        Of several states after as many steps the one that was saved last counts as the newest.
        `state` holds tensors, numpy arrays, integers, floats, strings, booleans and None, in any nesting of
        mappings, lists and tuples, such as `optimizer.state_dict()`. Keep a generator as
        `generator.get_state()` (a uint8 tensor). Raises ArtifactError if the place cannot be written,
        TypeError for other values.
        """
        if step < 0:
            raise ValueError(f"step is {step}: it counts finished steps, so it cannot be negative")
        data = _encode(state, step)
        try:
            # A number that rises with every save of one step, and four random digits against writers of one name.
            revision = f"{self._revisions(step):04x}{uuid.uuid4().hex[:4]}"
            self._folder.write(f"step-{step:012d}-{revision}.safetensors", data)
            for _, name in self._newest_first()[KEPT:]:
                self._folder.remove(name)
        except OSError as error:
            raise ArtifactError(
                f"No checkpoint can be written to {self._folder.url}: {error}. Check space and permissions."
            ) from error
        if self._folder.is_local:
            remove_stale(self._folder.path(), _STALE_SECONDS)

    def load(self) -> tuple[dict[str, Any], int] | None:
        """Return the newest intact state, with tensors on the CPU, and its step; None if there is none.

        Damaged checkpoints are logged and deleted. Raises ArtifactError if the place cannot be read.
        """
        for step, name in self._newest_first():
            try:
                return _decode(self._folder.read(name), step), step
            except FileNotFoundError:  # dropped by another process since it was listed
                continue
            except _Torn as torn:
                logger.warning("Skipping the damaged checkpoint %s/%s: %s.", self._folder.url, name, torn)
                self._folder.remove(name)
            except OSError as error:
                raise ArtifactError(f"Checkpoint {self._folder.url}/{name} cannot be read: {error}.") from error
        return None

    def clear(self) -> None:
        """Delete all checkpoints of this computation."""
        self._folder.remove_folder()

    def _revisions(self, step: int) -> int:
        """The revision after the highest of the checkpoints after `step` steps; 0 where there are none."""
        names = [name for number, name in self._newest_first() if number == step]
        return int(names[0].split("-")[2][:4], 16) + 1 if names else 0

    def _newest_first(self) -> list[tuple[int, str]]:
        matches = (_NAME.fullmatch(name) for name in self._folder.files())
        return sorted(((int(match[1]), match[0]) for match in matches if match), reverse=True)


class _Torn(Exception):
    """A checkpoint whose content is not what was written."""


def _encode(state: Mapping[str, Any], step: int) -> bytes:
    tensors: dict[str, torch.Tensor] = {}
    tree = json.dumps(_pack(state, "state", tensors), separators=(",", ":"))
    metadata = {"format": _FORMAT, "step": str(step), "tree": tree, "digest": _digest(tree, step, tensors)}
    return safetensors.torch.save(tensors, metadata=metadata)


def _decode(data: bytes, step: int) -> dict[str, Any]:
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = header["__metadata__"]
        tensors = safetensors.torch.load(data)
        if metadata["format"] != _FORMAT:
            raise _Torn(f"its format {metadata['format']} is not {_FORMAT}")
        if metadata["digest"] != _digest(metadata["tree"], step, tensors):
            raise _Torn("its content was altered")
        return _unpack(json.loads(metadata["tree"]), tensors)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _Torn(f"it is cut off or altered ({error})") from error


def _digest(tree: str, step: int, tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.blake2b(f"{step}\n{tree}\n".encode(), digest_size=32)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


def _pack(value: Any, place: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Return a JSON tree of `value` in which tensors, moved to `tensors`, are named."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return _pack(value.item(), place, tensors)
    if isinstance(value, torch.Tensor | np.ndarray):
        name = str(len(tensors))
        # Copies, because safetensors refuses tensors that share memory.
        if isinstance(value, np.ndarray):
            tensors[name] = torch.from_numpy(np.array(value, order="C"))
            return {"array": name}
        tensors[name] = value.detach().cpu().clone().contiguous()
        return {"tensor": name}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str | int):
                raise TypeError(f"{place} has the key {key!r}: a checkpoint takes text and integers as keys")
        return {"map": [[key, _pack(item, f"{place}[{key!r}]", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_pack(item, f"{place}[{index}]", tensors) for index, item in enumerate(value)]}
    raise TypeError(f"{place} is of type {type(value).__name__}, which a checkpoint cannot hold")


def _unpack(tree: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "array":
        return tensors[content].numpy()
    if kind == "map":
        return {key: _unpack(item, tensors) for key, item in content}
    items = [_unpack(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items
