"""Checkpoints in the layout of VPoser's and AvatarCLIP's own files, filled with numbers of nobody's.

    python tests/support/brought_priors.py FOLDER

writes one of each into FOLDER, for trying out what is documented.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, size: int) -> Shapes:
    return {f"{name}.{part}": (size,) for part in ("weight", "bias", "running_mean", "running_var")}


VPOSER: Shapes = {
    **norm("encoder_net.1", 63), **linear("encoder_net.2", 63, 512), **norm("encoder_net.4", 512),
    **linear("encoder_net.6", 512, 512), **linear("encoder_net.7", 512, 512),
    **linear("encoder_net.8.mu", 512, 32), **linear("encoder_net.8.logvar", 512, 32),
    **linear("decoder_net.0", 32, 512), **linear("decoder_net.3", 512, 512), **linear("decoder_net.5", 512, 126),
}  # fmt: skip
"""As its authors name them; those of its trainer begin with vp_model."""


def attention(name: str) -> Shapes:
    projections = {f"{name}.in_proj_weight": (768, 256), f"{name}.in_proj_bias": (768,)}
    return projections | linear(f"{name}.out_proj", 256, 256)


def decoder_layer(name: str) -> Shapes:
    norms = {f"{name}.norm{part}.{kind}": (256,) for part in (1, 2, 3) for kind in ("weight", "bias")}
    feeding = linear(f"{name}.linear1", 256, 1024) | linear(f"{name}.linear2", 1024, 256)
    return attention(f"{name}.self_attn") | attention(f"{name}.multihead_attn") | feeding | norms


MOTION: Shapes = {
    "encoder.query": (1, 256),
    "decoder.pos_encoder.pe": (5000, 1, 256),
    **{
        key: shape
        for layer in range(4)
        for key, shape in decoder_layer(f"decoder.seqTransDecoder.layers.{layer}").items()
    },
    **linear("decoder.final", 256, 330),
}
FLOW: Shapes = {
    key: shape
    for net in ("s", "t")
    for block in range(8)
    for place, inputs, outputs in ((0, 544, 256), (2, 256, 256), (4, 256, 32))
    for key, shape in linear(f"{net}.{block}.{place}", inputs, outputs).items()
}


def drawn(shapes: Shapes, seed: int) -> dict[str, Tensor]:
    """Small weights, and statistics and scales near one."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in shapes.items():
        spread = torch.randn(shape, generator=generator)
        if name.endswith("running_var") or ("norm" in name and name.endswith("weight")):
            found[name] = 1 + 0.1 * spread.abs()
        else:
            found[name] = spread * (0.8 / shape[-1] ** 0.5 if len(shape) > 1 else 0.1)
    return found


def vposer_state() -> dict[str, Tensor]:
    """What VPoser's decoder makes of a latent lies near the T-pose: its last layer says so."""
    state = drawn(VPOSER, 1)
    state["decoder_net.5.bias"] = torch.tensor([1.0, 0, 0, 1, 0, 0]).repeat(21)  # rows of the first two columns
    return state


def vposer_checkpoint() -> dict[str, Any]:
    """As its trainer writes it: with a body model, optimisers and numbers of NumPy beside the weights."""
    state = {f"vp_model.{name}": value for name, value in vposer_state().items()}
    state |= {f"vp_model.encoder_net.{place}.num_batches_tracked": torch.tensor(7) for place in (1, 4)}
    state["bm_train.init_trans"] = torch.zeros(1, 3)
    import numpy as np

    return {
        "epoch": 13,
        "state_dict": state,
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}],
        "lr_schedulers": [{"best": np.float64(0.03), "mode": "min"}],
    }


def motion_checkpoint() -> dict[str, Any]:
    state = drawn(MOTION, 2)
    places = torch.arange(5000)[:, None] / 10_000 ** (torch.arange(0, 256, 2) / 256)
    state["decoder.pos_encoder.pe"] = torch.stack([places.sin(), places.cos()], -1).flatten(1)[:, None]
    state["decoder.final.bias"] = torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(55)  # the first two rows
    return {"meta": {"epoch": 3}, "state_dict": state}


def flow_checkpoint() -> dict[str, Any]:
    state = drawn(FLOW, 3) | {"vp.decoder_net.0.bias": torch.zeros(512)}
    state["mask"] = (torch.rand(8, 1, 32, generator=torch.Generator().manual_seed(4)) > 0.5).float()
    return {"state_dict": state}


def pose_codebook(count: int = 40) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {
        "codebook": torch.randn(count, 32, generator=generator),
        "codebook_embedding": torch.randn(count, 512, generator=generator),
    }


def shape_codebook(count: int = 30) -> dict[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(6)
    return {torch.randn(count, 16, generator=generator): torch.randn(count, 512, generator=generator)}


def shape_vae(directions: Tensor, hidden: int = 64) -> dict[str, Tensor]:
    """A VAE whose decoder makes shapes of SMPL's first components.

    directions: (V, 3, S) of the body model, metres.
    """
    flat = directions.flatten(0, 1)
    inner = torch.zeros(hidden, 16)
    inner[: flat.shape[1], : flat.shape[1]] = torch.eye(flat.shape[1])
    outer = torch.zeros(len(flat), hidden)
    outer[:, : flat.shape[1]] = flat
    return {
        "enc1.weight": torch.zeros(4, len(flat)), "enc1.bias": torch.zeros(4),
        "dec1.weight": inner, "dec1.bias": torch.zeros(hidden),
        "dec2.weight": outer, "dec2.bias": torch.zeros(len(flat)),
    }  # fmt: skip


def write_vposer(folder: Path) -> Path:
    """Write the download's folder V02_05, with two snapshots of which the later one counts."""
    snapshots = folder / "V02_05" / "snapshots"
    snapshots.mkdir(parents=True)
    early = vposer_checkpoint()
    early["state_dict"]["vp_model.decoder_net.0.bias"] += 1
    torch.save(early, snapshots / "V02_05_epoch=08_val_loss=0.03.ckpt")
    torch.save(vposer_checkpoint(), snapshots / "V02_05_epoch=13_val_loss=0.03.ckpt")
    return folder / "V02_05"


def write_avatarclip(folder: Path) -> Path:
    """Write AvatarAnimate's data: poses, flow and motion."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(pose_codebook(), folder / "codebook.pth")
    torch.save(flow_checkpoint(), folder / "pose_realnvp.pth")
    torch.save(motion_checkpoint(), folder / "motion_vae.pth")
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="gets the files")
    chosen = parser.parse_args().folder
    write_vposer(chosen)
    write_avatarclip(chosen / "data")
