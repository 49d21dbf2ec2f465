"""Train the pose flow: poses that are likely given a text, for the candidate_poses method "realnvp".

    python -m avatar_core.priors.train_real_nvp --out avatar_core/weights/real_nvp

It reads the shipped codebooks alone and takes a few minutes on one core. Run it again after every change of the encoder
or the pose VAE, when avatar_core.priors.fit_view_readers and avatar_core.priors.features have been run: a flow refuses
to work with another encoder or pose VAE than its own.
"""

import argparse
import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.nn.functional import normalize

from avatar_core.bodies import load_body
from avatar_core.errors import DivergenceError
from avatar_core.priors.checkpointing import TrainingCheckpoint, initialise
from avatar_core.priors.pose_vae import PoseVAE
from avatar_core.priors.real_nvp import AffineCoupling, ConditionalRealNvp, RealNvpConfig
from avatar_core.priors.real_nvp_data import WORDINGS, FlowData, flow_data, split_groups
from avatar_core.seeds import torch_generator

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FlowTraining:
    """Settings of one training of the pose flow."""

    steps: int = 2000
    """Steps of AdamW."""
    batch: int = 512
    """Poses a step."""
    learning_rate: float = 1e-3
    """Highest learning rate; it falls to a fiftieth by a cosine."""
    weight_decay: float = 0.01
    """Of AdamW."""
    latent_noise: float = 0.16
    """Standard deviation of the noise on the latents: that of the pose VAE's posterior."""
    direction_noise: float = 1.0
    """Length of the noise on the unit directions, so that poses are learnt for a neighbourhood of words."""
    picture_share: float = 0.5
    """How often the direction is that of a picture, where there is one; else it is that of a caption."""
    held_out: float = 0.1
    """Share of the groups of captions that are kept for measuring."""
    seed: int = 0
    """Seed of the split, the first weights and every draw."""


def train(
    data: FlowData,
    config: RealNvpConfig,
    settings: FlowTraining,
    checkpoint: Path | None = None,
    every: int = 250,
) -> ConditionalRealNvp:
    """Train a flow by maximum likelihood; continues from `checkpoint` where that file exists.

    Raises WeightsError when the checkpoint belongs to other settings, DivergenceError when the loss is not finite.
    """
    model = _new_model(config, data, settings.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    saved = None
    if checkpoint is not None:
        facts = {**vars(settings), **vars(config), "poses": len(data.latents)}
        saved = TrainingCheckpoint(checkpoint, facts)
    start = saved.restore(model, optimizer) if saved else 0
    cumulative = data.weights.double().cumsum(0)
    began = time.monotonic()
    for step in range(start, settings.steps):
        generator = torch_generator(settings.seed, "train_real_nvp", str(step))
        draws = torch.rand(settings.batch, generator=generator, dtype=torch.float64) * cumulative[-1]
        index = torch.searchsorted(cumulative, draws).clamp(max=len(cumulative) - 1)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _fraction(step / settings.steps)
        loss = -model.log_likelihood(*_noisy(data, index, settings, generator)).mean()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DivergenceError(f"the pose flow's loss became {value} at step {step}: lower --learning-rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        if (step + 1) % every == 0 or step + 1 == settings.steps:
            rate = (step + 1 - start) / (time.monotonic() - began)
            log.info("step %d of %d (%.1f a second): %.3f nats a pose", step + 1, settings.steps, rate, value)
            if saved:
                saved.save(step + 1, model, optimizer)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def measure(model: ConditionalRealNvp, training: FlowData, held: FlowData, settings: FlowTraining) -> dict[str, float]:
    """Negative log-likelihoods in nats a pose of held-out groups, against one Gaussian for every pose.

    The Gaussian has the mean and the full covariance of the training poses; both see latents with the same noise.
    """
    generator = torch_generator(settings.seed, "measure_real_nvp")
    latents = held.latents + settings.latent_noise * torch.randn(held.latents.shape, generator=generator)
    index = torch.arange(len(latents))
    pictured = (held.pictures.square().sum(-1) > 0).nonzero()[:, 0]
    told = -model.log_likelihood(latents, held.directions(index, 0.0, generator))
    shown = -model.log_likelihood(latents[pictured], held.pictures[pictured])
    plain = -_gaussian(training, settings.latent_noise).log_prob(latents)
    return {
        "held_out_poses": len(latents),
        "held_out_nats_by_text": _mean(told, held.weights),
        "held_out_nats_by_picture": _mean(shown, held.weights[pictured]),
        "held_out_nats_of_one_gaussian": _mean(plain, held.weights),
    }


def _mean(values: Tensor, weights: Tensor) -> float:
    return float((values * weights).sum() / weights.sum())


def _gaussian(data: FlowData, noise: float) -> MultivariateNormal:
    share = (data.weights / data.weights.sum())[:, None]
    mean = (data.latents * share).sum(0)
    away = data.latents - mean
    covariance = away.mT @ (away * share) + noise**2 * torch.eye(len(mean))
    return MultivariateNormal(mean, covariance)


def _new_model(config: RealNvpConfig, data: FlowData, seed: int) -> ConditionalRealNvp:
    model = ConditionalRealNvp(config)
    initialise(model, torch_generator(seed, "real_nvp_weights"))
    for coupling in model.couplings:
        assert isinstance(coupling, AffineCoupling)
        torch.nn.init.zeros_(coupling.readout.weight)  # the flow starts as the identity
    model.text_means.copy_(data.text_means)
    return model


def _fraction(done: float) -> float:
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def _noisy(data: FlowData, index: Tensor, settings: FlowTraining, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Latents and unit directions of poses, both disturbed."""
    latents = data.latents[index]
    latents = latents + settings.latent_noise * torch.randn(latents.shape, generator=generator)
    directions = data.directions(index, settings.picture_share, generator)
    noise = torch.randn(directions.shape, generator=generator) / directions.shape[1] ** 0.5
    return latents, normalize(directions + settings.direction_noise * noise, dim=-1)


def main(arguments: list[str] | None = None) -> None:
    """Measure a training without a tenth of the captions, then train on all and write that flow to --out."""
    from avatar_core.perception.encoder import load_encoder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder that receives the weights")
    parser.add_argument("--encoder", default="bodyclip", help="name or folder of the encoder")
    parser.add_argument("--steps", type=int, default=FlowTraining.steps)
    parser.add_argument("--learning-rate", type=float, default=FlowTraining.learning_rate)
    parser.add_argument("--seed", type=int, default=FlowTraining.seed)
    parser.add_argument("--checkpoints", type=Path, help="folder to save to and to go on from")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    encoder = load_encoder(options.encoder)
    data = flow_data(encoder, load_body())
    config = RealNvpConfig(
        latent=data.latents.shape[1],
        feature=data.texts.shape[-1],
        wordings=len(WORDINGS),
        encoder=encoder.digest,
        pose_vae=PoseVAE.load().digest,
    )
    settings = FlowTraining(steps=options.steps, learning_rate=options.learning_rate, seed=options.seed)
    training, held = split_groups(data, settings.held_out, settings.seed)
    log.info("measured first: %d poses without the held-out captions", len(training.latents))
    measured = train(training, config, settings, _file(options.checkpoints, "measured"))
    measures = measure(measured, training, held, settings)
    log.info("measures: %s", json.dumps(measures))
    log.info("kept: %d poses", len(data.latents))
    train(data, config, settings, _file(options.checkpoints, "kept")).save(options.out)
    (options.out / "measures.json").write_text(json.dumps(measures, indent=2) + "\n", encoding="utf-8")


def _file(folder: Path | None, name: str) -> Path | None:
    return None if folder is None else folder / f"{name}.ckpt"


if __name__ == "__main__":
    main()
