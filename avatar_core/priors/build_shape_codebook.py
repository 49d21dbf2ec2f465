"""Build the shape codebook of a body model; run as a program, of the embedded one.

python -m avatar_core.priors.build_shape_codebook --out avatar_core/weights/shape_codebook
"""

import argparse
import json
import logging
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from avatar_core.bodies import BodyModel, load_body
from avatar_core.priors.shape_codebook import load_shape_codebook, write_config

log = logging.getLogger(__name__)

LATENT = 16
SAMPLED_VERTICES = 1500
NOTHING = 1e-4
"""Strength of a component, as a part of the first one's, that is rounding."""


def build_shape_codebook(body: BodyModel, count: int, seed: int, folder: Path) -> dict[str, float]:
    """Write codebook.safetensors and config.json to `folder`; return what the latent keeps of the shapes."""
    betas = body.plausible_shapes(count, seed)
    index = torch.linspace(0, len(body.template) - 1, SAMPLED_VERTICES).round().long()
    flat = torch.stack([body.shape(beta.to(body.template.device)).vertices[index].cpu() for beta in betas])
    flat = flat.flatten(1)
    mean = flat.mean(0)
    _, strengths, axes = torch.linalg.svd(flat - mean, full_matrices=False)
    kept = min(LATENT, int((strengths > NOTHING * strengths[0]).sum()))
    scale = strengths[:kept] / (count - 1) ** 0.5
    axes = _fixed_signs(axes[:kept])
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
    betas = body.plausible_shapes(464, seed + 1)[-300:]
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
