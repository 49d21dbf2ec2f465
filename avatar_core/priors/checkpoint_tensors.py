"""Reads the tensors of PyTorch checkpoints that users brought: nothing in them is run, and every tensor is checked."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from avatar_core.bodies.smpl_files import ModelFile
from avatar_core.errors import WeightsError
from avatar_core.perception.checkpoint_folder import pickle_refusal

SUFFIXES = (".ckpt", ".pth", ".pt")
"""Of checkpoints."""
BYTES = 2 << 30
"""Size of the largest checkpoint that is read, unpacked."""
LISTED = 8
"""Problems that a message names; of more it tells the number."""
Shape = tuple[int, ...]
Layout = Mapping[str, Shape]
"""Shapes of tensors by the names that their authors gave them."""

_DAMAGE = (
    OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError,
    OverflowError, MemoryError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
"""What torch raises for files that are damaged."""
_SCALARS: list[Any] = [
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
    np.dtype, type(np.dtype(np.float64)), type(np.dtype(np.float32)), type(np.dtype(np.int64)),
]  # fmt: skip
"""What torch may make besides tensors: single numbers of NumPy, which trainers keep beside the weights."""
_RESAVE = "Get a file of its tensors alone, as torch.save(model.state_dict(), FILE) writes"


def read_checkpoint(file: ModelFile) -> Any:
    """Return what a checkpoint holds: tensors on the CPU, numbers, texts, lists and dictionaries.

    Raises WeightsError when it would run code, is damaged or too large.
    """
    source: Path | io.BytesIO = file.place if file.place is not None else io.BytesIO(file.content)
    try:
        size = source.stat().st_size if isinstance(source, Path) else len(source.getbuffer())
        zipped = zipfile.is_zipfile(source)
        if zipped:
            with zipfile.ZipFile(source) as archive:
                size = max(size, sum(entry.file_size for entry in archive.infolist()))
        if size > BYTES:
            raise WeightsError(f"{file.name} takes more than {BYTES >> 20} MiB, which no prior does")
        if isinstance(source, io.BytesIO):
            source.seek(0)
        mapped = zipped and isinstance(source, Path)
        with torch.serialization.safe_globals(_SCALARS):
            return torch.load(source, map_location="cpu", weights_only=True, mmap=mapped or None)
    except pickle.UnpicklingError as error:
        # Without torch's own message, which tells how to run the code.
        raise WeightsError(f"{file.name} {pickle_refusal(str(error))}. {_RESAVE}") from None
    except _DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{file.name} is damaged, or no checkpoint of PyTorch ({reason}); get it again") from error


def state_dict_of(content: Any) -> dict[str, Any]:
    """Return the state dict of a checkpoint, which may lie in its entry `state_dict`; empty where there is none."""
    found = content.get("state_dict", content) if isinstance(content, dict) else {}
    return {name: value for name, value in found.items() if isinstance(name, str)} if isinstance(found, dict) else {}


def layout_of(module: nn.Module) -> dict[str, Shape]:
    """Return the shapes of a module's tensors by name, less the counters of batch norms."""
    return {
        name: tuple(value.shape)
        for name, value in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def checked(source: str, title: str, found: Mapping[str, Any], layout: Layout) -> dict[str, Tensor]:
    """Return the tensors of `layout` out of `found`, in float32.

    Raises WeightsError, which names every tensor that is missing, unexpected, of another shape or not finite.
    """
    problems = list(_problems(found, layout))
    if problems:
        more = f"; and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise WeightsError(
            f"{source} is not {title} as docs/priors.md has it: {'; '.join(problems[:LISTED])}{more}. Give the file of "
            "that model, unchanged"
        )
    tensors = {name: found[name].detach().to(torch.float32).contiguous().clone() for name in layout}
    broken = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if broken:
        names = ", ".join(broken[:LISTED])
        raise WeightsError(f"{source}: {names} hold values that are not finite; get the file again")
    return tensors


def _problems(found: Mapping[str, Any], layout: Layout) -> Iterator[str]:
    """What is wrong: first with tensors that are there, then those that are not, then those that should not be."""
    for name, shape in layout.items():
        value = found.get(name)
        if value is None:
            continue
        if not isinstance(value, Tensor) or value.layout is not torch.strided or not value.is_floating_point():
            yield f"{name} is no tensor of floating-point numbers"
        elif tuple(value.shape) != shape:
            yield f"{name} has the shape {list(value.shape)}, expected {list(shape)}"
    yield from (f"{name} {list(shape)} is missing" for name, shape in layout.items() if found.get(name) is None)
    for name in found:
        if name not in layout and not name.endswith("num_batches_tracked"):
            yield f"{name} is unexpected"


def below(state: Mapping[str, Any], *prefixes: str) -> dict[str, Any]:
    """Return the entries whose names begin with one of `prefixes`, names whole."""
    return {name: value for name, value in state.items() if name.startswith(prefixes)}
