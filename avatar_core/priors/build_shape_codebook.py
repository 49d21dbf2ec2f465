"""Build the shape codebook of the embedded body model.

python -m avatar_core.priors.build_shape_codebook --out avatar_core/weights/shape_codebook
"""

import argparse
import itertools
import json
import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.stats import qmc
from torch import Tensor

from avatar_core.bodies import BodyModel, load_body
from avatar_core.errors import BodyError
from avatar_core.priors.shape_codebook import load_shape_codebook, write_config

log = logging.getLogger(__name__)

LATENT = 16
SAMPLED_VERTICES = 1500

CORNERS = {
    "gender": (0.0, 1.0),
    "age": (1 / 3, 2 / 3, 1.0),
    "muscle": (0.0, 0.5, 1.0),
    "weight": (0.0, 0.5, 1.0),
    "height": (0.1, 0.4, 0.75),
    "proportions": (0.6,),
}
"""Every combination of these is an entry, so that the extremes which prompts name are there."""

AGES = ((0.15, 0.40, 0.18), (0.58, 0.80, 0.60), (0.85, 1.0, 0.22))
"""Child, adult and old: from, to, share of the entries."""


def sample_phenotypes(labels: tuple[str, ...], count: int, seed: int) -> NDArray[np.float64]:
    """Return shape vectors (count, S) of plausible people: all corners, then a scrambled Halton sequence.

    Adults dominate; gender gathers at both ends; heights gather about the real mean, with tall and short extremes.
    Raises BodyError when the body model has other phenotypes, ValueError when `count` is too small.
    """
    if set(labels) != set(CORNERS):
        raise BodyError(
            f"the shape codebook knows the phenotypes {', '.join(CORNERS)}, not {', '.join(labels)}"
        )
    corners = np.array(list(itertools.product(*(CORNERS[label] for label in labels))))
    if count <= len(corners):
        raise ValueError(f"{count} entries cannot hold the {len(corners)} corners; ask for more")
    unit = qmc.Halton(len(labels), scramble=True, rng=np.random.default_rng(seed)).random(count - len(corners))
    spread = {
        "gender": lambda u: np.where(
            u < 0.45, u / 0.45 * 0.1, np.where(u > 0.55, 1 - (1 - u) / 0.45 * 0.1, u)
        ),
        "age": _ages,
        "muscle": lambda u: 0.5 - 0.5 * np.cos(np.pi * u),
        "weight": lambda u: 0.5 - 0.5 * np.cos(np.pi * u),
        "height": lambda u: np.clip(0.4 + 0.35 * np.sign(u - 0.5) * np.abs(2 * u - 1) ** 1.4, 0.05, 0.8),
        "proportions": lambda u: 0.3 + 0.6 * u,
    }
    drawn = np.stack([spread[label](unit[:, column]) for column, label in enumerate(labels)], axis=1)
    return np.concatenate([corners, drawn])


def _ages(unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map numbers in [0, 1) to ages by the shares of AGES."""
    ages, start = np.zeros_like(unit), 0.0
    for low, high, share in AGES:
        inside = (unit >= start) & (unit < start + share + 1e-12)
        ages[inside] = low + (high - low) * (unit[inside] - start) / share
        start += share
    return ages


def build_shape_codebook(body: BodyModel, count: int, seed: int, folder: Path) -> dict[str, float]:
    """Write codebook.safetensors and config.json to `folder`; return what the latent keeps of the shapes."""
    betas = torch.from_numpy(sample_phenotypes(body.shape_labels, count, seed)).float()
    index = torch.linspace(0, len(body.template) - 1, SAMPLED_VERTICES).round().long()
    flat = torch.stack([body.shape(beta.to(body.template.device)).vertices[index].cpu() for beta in betas])
    flat = flat.flatten(1)
    mean = flat.mean(0)
    _, strengths, axes = torch.linalg.svd(flat - mean, full_matrices=False)
    scale = strengths[:LATENT] / (count - 1) ** 0.5
    axes = _fixed_signs(axes[:LATENT])
    latents = (flat - mean) @ (axes / scale[:, None]).mT
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        "latents": latents.half(),
        "betas": betas.half(),
        "mean": mean,
        "axes": axes / scale[:, None],
        "vertex_index": index.to(torch.int32),
    }
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "codebook.safetensors")
    write_config(folder, body.name, body.digest, body.shape_labels)
    back = latents * scale @ axes + mean
    error = (back - flat).unflatten(1, (-1, 3)).norm(dim=-1) * 1000
    return {
        "entries": count,
        "variance_kept": (scale.square().sum() * (count - 1) / strengths.square().sum()).item(),
        "vertex_error_mm": error.mean().item(),
        "vertex_error_mm_p95": error.mean(1).quantile(0.95).item(),
    }


def _fixed_signs(axes: Tensor) -> Tensor:
    """Make each axis's largest entry positive: the sign of a component is arbitrary otherwise."""
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return axes * largest.sign()


def _betas_error(body: BodyModel, folder: Path, seed: int) -> float:
    """Mean absolute difference of betas between fresh shapes and what their latents decode to."""
    codebook = load_shape_codebook(folder)
    betas = torch.from_numpy(sample_phenotypes(body.shape_labels, 464, seed + 1)[-300:]).float()
    vertices = torch.stack([body.shape(beta).vertices for beta in betas])
    return (codebook.decode(codebook.encode(vertices)) - betas).abs().mean().item()


def main(arguments: list[str] | None = None) -> None:
    """Build the codebook and write it with its measures to --out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder that receives the codebook")
    parser.add_argument("--entries", type=int, default=1536)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    body = load_body()
    measures = build_shape_codebook(body, options.entries, options.seed, options.out)
    measures["decoded_betas_error"] = _betas_error(body, options.out, options.seed)
    log.info("measures: %s", json.dumps(measures))
    (options.out / "measures.json").write_text(json.dumps(measures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
