"""A latent space of body shapes and a codebook over it: principal components of bind-pose vertices."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from avatar_core.errors import WeightsError
from avatar_core.priors.weights import file_digest, read_config, weights_folder

NEIGHBOURS = 8


@dataclass(frozen=True)
class ShapeCodebook:
    """Shapes of one body model that stand for all of them.

    latents: (N, 16) principal components of the vertices, each of unit variance over the codebook.
    betas: (N, S) the body model's own shape vectors.
    mean, axes: (3 M,) and (16, 3 M), from M sampled vertices to the latent: (vertices - mean) @ axes.mT.
    vertex_index: (M,) the sampled vertices.
    body, body_digest: name and weights of the body model that it was built on.
    digest: of the file.
    """

    latents: Tensor
    betas: Tensor
    mean: Tensor
    axes: Tensor
    vertex_index: Tensor
    body: str
    body_digest: str
    digest: str

    def __len__(self) -> int:
        return len(self.latents)

    def encode(self, vertices: Tensor) -> Tensor:
        """Return latents (B, 16) of bind-pose vertices (B, V, 3) in metres, standing on y = 0."""
        return (vertices[:, self.vertex_index].flatten(1) - self.mean) @ self.axes.mT

    def decode(self, latents: Tensor) -> Tensor:
        """Return shape vectors (B, S) of latents (B, 16), differentiable.

        Interpolates the nearest entries by inverse squared distance (Shepard 1968), so that an entry's own latent
        gives its own betas.
        """
        distance, index = torch.cdist(latents, self.latents).topk(min(NEIGHBOURS, len(self)), largest=False)
        weights = 1 / (distance.square() + 1e-6)
        return ((weights / weights.sum(1, keepdim=True))[..., None] * self.betas[index]).sum(1)


def load_shape_codebook(folder: str | Path | None = None) -> ShapeCodebook:
    """Load config.json and codebook.safetensors from `folder` (by default the shipped weights).

    Raises WeightsError when the files are missing or do not fit.
    """
    folder = Path(folder) if folder is not None else weights_folder("shape_codebook")
    config = read_config(folder, "shape_codebook")
    path = folder / "codebook.safetensors"
    try:
        tensors = load_file(path)
        return ShapeCodebook(
            latents=tensors["latents"].float(),
            betas=tensors["betas"].float(),
            mean=tensors["mean"].float(),
            axes=tensors["axes"].float(),
            vertex_index=tensors["vertex_index"].long(),
            body=config["body"],
            body_digest=config["body_digest"],
            digest=file_digest(path),
        )
    except (OSError, SafetensorError, KeyError) as error:
        raise WeightsError(f"{path}: no shape codebook ({error}); build or install it again") from error


def write_config(folder: Path, body: str, body_digest: str, shape_labels: tuple[str, ...]) -> None:
    """Write the config.json that `load_shape_codebook` reads."""
    config = {
        "kind": "shape_codebook",
        "body": body,
        "body_digest": body_digest,
        "shape_labels": list(shape_labels),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
