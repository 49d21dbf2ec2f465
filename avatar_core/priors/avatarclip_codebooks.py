"""AvatarCLIP's codebooks, of poses and of shapes, and its shape VAE, which users bring (Hong et al. 2022).

The features in the codebooks' files are CLIP ViT-B/32's of AvatarCLIP's own pictures: they are checked and left. Ours
are computed for the encoder and the views that are in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from avatar_core.errors import WeightsError
from avatar_core.priors.checkpoint_tensors import below, checked

FEATURE = 512
POSE_LATENT, SHAPE_LATENT = 32, 16
ENTRIES = 100_000
"""Of a codebook, at most."""
SHAPE_HIDDEN, SHAPE_NUMBERS = 8192, 3 * 6890
_DECODER = ("dec1.", "dec2.")


def is_pose_codebook(content: Any) -> bool:
    """Tell whether a file may be AvatarCLIP's codebook of poses."""
    return isinstance(content, dict) and {"codebook", "codebook_embedding"} <= {
        name for name in content if isinstance(name, str)
    }


def read_pose_codebook(content: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """Return `latents` (N, 32) of VPoser; raises WeightsError, which names what does not fit."""
    count = _entries(content["codebook"], source)
    layout = {"codebook": (count, POSE_LATENT), "codebook_embedding": (count, FEATURE)}
    found = checked(source, "AvatarCLIP's pose codebook", {name: content[name] for name in layout}, layout)
    return {"latents": found["codebook"]}


def is_shape_codebook(content: Any) -> bool:
    """Tell whether a file may be AvatarCLIP's codebook of shapes: one entry, whose key is a tensor itself."""
    return isinstance(content, dict) and len(content) == 1 and isinstance(next(iter(content)), Tensor)


def read_shape_codebook(content: Mapping[Tensor, Any], source: str) -> dict[str, Tensor]:
    """Return `latents` (N, 16) of the shape VAE; raises WeightsError, which names what does not fit."""
    latents, features = next(iter(content.items()))
    count = _entries(latents, source)
    layout = {"key": (count, SHAPE_LATENT), "value": (count, FEATURE)}
    found = checked(source, "AvatarCLIP's shape codebook", {"key": latents, "value": features}, layout)
    return {"latents": found["key"]}


def is_shape_vae(state: Mapping[str, Any]) -> bool:
    """Tell whether a state dict may be AvatarCLIP's shape VAE."""
    return "dec1.weight" in state


def read_shape_vae(state: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """Return the decoder, two linear layers in a row, as the affine map that it is.

    `axes` (3 V, 16) and `offset` (3 V,), metres, from latents to what is added to SMPL's template; the encoder is left.
    Raises WeightsError, which names the tensors that do not fit.
    """
    hidden, numbers = _rows(state.get("dec1.weight")), _rows(state.get("dec2.weight"))
    hidden = hidden if 0 < hidden <= SHAPE_HIDDEN else SHAPE_HIDDEN
    numbers = numbers if 0 < numbers <= SHAPE_NUMBERS * 4 and numbers % 3 == 0 else SHAPE_NUMBERS
    layout = {
        "dec1.weight": (hidden, SHAPE_LATENT),
        "dec1.bias": (hidden,),
        "dec2.weight": (numbers, hidden),
        "dec2.bias": (numbers,),
    }
    found = checked(source, "AvatarCLIP's shape VAE", below(state, *_DECODER), layout)
    outer = found["dec2.weight"]
    axes, offset = outer @ found["dec1.weight"], torch.mv(outer, found["dec1.bias"]) + found["dec2.bias"]
    if not bool(torch.isfinite(axes).all() and torch.isfinite(offset).all()):
        raise WeightsError(f"{source}: its two layers together are not finite; get the file again")
    return {"axes": axes, "offset": offset}


def _rows(value: Any) -> int:
    return int(value.shape[0]) if isinstance(value, Tensor) and value.ndim == 2 else 0


def _entries(value: Any, source: str) -> int:
    count = _rows(value)
    if not 0 < count <= ENTRIES:
        raise WeightsError(
            f"{source}: its codebook is no table of 1 to {ENTRIES} rows; give AvatarCLIP's own file, unchanged"
        )
    return count
