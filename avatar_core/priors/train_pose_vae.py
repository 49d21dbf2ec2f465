"""Train the pose VAE and build its codebook from a folder of motion clips.

python -m avatar_core.priors.train_pose_vae --data FOLDER --out avatar_core/weights/pose_vae
"""

import argparse
import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatar_core.bodies.rotations import axis_angle_to_matrix, geodesic_angle, matrix_to_6d
from avatar_core.priors.checkpointing import TrainingCheckpoint, initialise
from avatar_core.priors.kinematics import forward_kinematics
from avatar_core.priors.motion_data import (
    Clip,
    MotionData,
    label_weights,
    load_motion_folder,
    mirror,
    split_by_source,
)
from avatar_core.priors.pose_codebook import build_pose_codebook
from avatar_core.priors.pose_vae import PoseVAE
from avatar_core.seeds import torch_generator

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoseTraining:
    """Settings of one training of the pose VAE."""

    steps: int = 7000
    """Steps of Adam."""
    batch: int = 512
    """Poses a step."""
    learning_rate: float = 1.5e-3
    """Highest learning rate; it falls to a fiftieth by a cosine."""
    rotation_weight: float = 1.0
    """Weight of the mean squared difference of rotation matrices, summed over a joint's nine numbers."""
    position_weight: float = 100.0
    """Weight of the mean squared joint distance, in square metres."""
    kl_weight: float = 1e-3
    """Weight of the divergence from the unit Gaussian, in nats a pose."""
    label_power: float = 0.5
    """A label with n frames is drawn in proportion to n to this power."""
    held_out: float = 0.1
    """Share of the source files kept for measuring."""
    seed: int = 0
    """Seed of the split, the first weights and every draw."""


def frames_of(clips: tuple[Clip, ...]) -> np.ndarray:
    """Return the frame indices (n,) of all `clips`, in order."""
    return np.concatenate([np.arange(clip.start, clip.start + clip.length) for clip in clips])


def train(
    data: MotionData, settings: PoseTraining, checkpoint: Path | None = None, every: int = 500
) -> PoseVAE:
    """Train a pose VAE; continues from `checkpoint` where that file exists.

    Raises WeightsError when the checkpoint belongs to other settings.
    """
    training, _ = split_by_source(data, settings.held_out, settings.seed)
    rotations = torch.cat([_rotations(data, frames_of(training), flip) for flip in (False, True)])
    weights = torch.from_numpy(
        np.repeat(label_weights(training, settings.label_power), [c.length for c in training])
    )
    cumulative = torch.cat([weights, weights]).cumsum(0)
    model = _new_model(settings.seed)
    model.rest_joints.copy_(torch.from_numpy(data.rest_joints))
    model.mean.copy_(matrix_to_6d(rotations[:: max(1, len(rotations) // 20000)]).flatten(1).mean(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    saved = None
    if checkpoint is not None:
        saved = TrainingCheckpoint(
            checkpoint, {**vars(settings), "clips": len(data.clips), "frames": len(data.poses)}
        )
    start = saved.restore(model, optimizer) if saved else 0
    began = time.monotonic()
    for step in range(start, settings.steps):
        generator = torch_generator(settings.seed, "train_pose_vae", str(step))
        draws = torch.rand(settings.batch, generator=generator, dtype=torch.float64) * cumulative[-1]
        batch = rotations[torch.searchsorted(cumulative, draws).clamp(max=len(rotations) - 1)]
        fraction = step / settings.steps
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fraction)))
        losses = _losses(model, batch, settings, generator)
        optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        optimizer.step()
        if (step + 1) % every == 0 or step + 1 == settings.steps:
            rate = (step + 1 - start) / (time.monotonic() - began)
            words = " ".join(f"{name} {value.item():.4f}" for name, value in losses.items())
            log.info("step %d of %d (%.1f a second): %s", step + 1, settings.steps, rate, words)
            if saved:
                saved.save(step + 1, model, optimizer)
    return model.eval().requires_grad_(False)


def _new_model(seed: int) -> PoseVAE:
    model = PoseVAE()
    initialise(model, torch_generator(seed, "pose_vae_weights"))
    return model


def _rotations(data: MotionData, frames: np.ndarray, flip: bool) -> Tensor:
    """Local rotations (n, 21, 3, 3) of the body joints, mirrored if `flip`."""
    poses, trans = data.poses[frames], data.trans[frames]
    if flip:
        poses, trans = mirror(poses, trans)
    return axis_angle_to_matrix(torch.from_numpy(np.ascontiguousarray(poses[:, 1:])))


def _losses(
    model: PoseVAE, batch: Tensor, settings: PoseTraining, generator: torch.Generator
) -> dict[str, Tensor]:
    mean, log_variance = model.posterior(matrix_to_6d(batch))
    noise = torch.randn(mean.shape, generator=generator)
    decoded = model.decode(mean + (0.5 * log_variance).exp() * noise)
    rotation = (decoded - batch).square().sum((-2, -1)).mean()
    position = (_joints(model, decoded) - _joints(model, batch)).square().sum(-1).mean()
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean()
    total = (
        settings.rotation_weight * rotation
        + settings.position_weight * position
        + settings.kl_weight * divergence
    )
    return {"total": total, "rotation": rotation, "position": position, "divergence": divergence}


def _joints(model: PoseVAE, rotations: Tensor) -> Tensor:
    """Joints (n, 22, 3) with the pelvis upright at the origin."""
    root = torch.eye(3).expand(len(rotations), 1, 3, 3)
    return forward_kinematics(
        torch.cat([root, rotations], 1), torch.zeros(len(rotations), 3), model.rest_joints
    )


def measure(model: PoseVAE, data: MotionData, frames: np.ndarray) -> dict[str, float]:
    """Reconstruction errors on `frames` (n,): joints in millimetres, rotations in degrees."""
    with torch.no_grad():
        truth = _rotations(data, frames, flip=False)
        mean, log_variance = model.posterior(matrix_to_6d(truth))
        decoded = model.decode(mean)
        distance = (_joints(model, decoded) - _joints(model, truth)).norm(dim=-1) * 1000
        angle = geodesic_angle(decoded, truth).rad2deg()
        return {
            "frames": len(frames),
            "joint_error_mm": distance.mean().item(),
            "joint_error_mm_p95": distance.mean(1).quantile(0.95).item(),
            "rotation_error_degrees": angle.mean().item(),
            "latent_std": mean.std(0).mean().item(),
            "posterior_std": (0.5 * log_variance).exp().mean().item(),
        }


def main(arguments: list[str] | None = None) -> None:
    """Train, measure on held-out files, build the codebook and write everything to --out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with clips.npz and clips.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder that receives the weights")
    parser.add_argument("--steps", type=int, default=PoseTraining.steps)
    parser.add_argument("--batch", type=int, default=PoseTraining.batch)
    parser.add_argument("--seed", type=int, default=PoseTraining.seed)
    parser.add_argument("--codebook", type=int, default=4096, help="poses in the codebook")
    parser.add_argument("--checkpoint", type=Path, help="file to save to and to go on from")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    data = load_motion_folder(options.data)
    settings = PoseTraining(steps=options.steps, batch=options.batch, seed=options.seed)
    model = train(data, settings, options.checkpoint)
    model.save(options.out)
    model = PoseVAE.load(options.out)
    training, held = split_by_source(data, settings.held_out, settings.seed)
    measures = {"training": measure(model, data, frames_of(training)[::10])}
    if held:
        measures["held_out"] = measure(model, data, frames_of(held))
    log.info("measures: %s", json.dumps(measures))
    (options.out / "measures.json").write_text(json.dumps(measures, indent=2) + "\n", encoding="utf-8")
    build_pose_codebook(data, model, options.codebook, options.seed, options.out)


if __name__ == "__main__":
    main()
