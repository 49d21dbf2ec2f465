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

from avatar_core.bodies import load_body
from avatar_core.bodies.rotations import (
    axis_angle_to_matrix,
    geodesic_angle,
    matrix_to_6d,
    matrix_to_axis_angle,
)
from avatar_core.bodies.skeleton import JOINT_INDEX
from avatar_core.bodies.skinning import blend, joint_transforms
from avatar_core.priors.checkpointing import TrainingCheckpoint, initialise
from avatar_core.priors.joint_angles import within_limits
from avatar_core.priors.kinematics import forward_kinematics
from avatar_core.priors.motion_data import (
    Clip,
    MotionData,
    label_weights,
    load_motion_folder,
    mirror,
    split_by_source,
    write_measures,
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
    rotation_weight: float = 2.0
    """Weight of the mean squared geodesic angle, in square radians."""
    position_weight: float = 50.0
    """Weight of the mean squared joint distance, in square metres."""
    vertex_weight: float = 50.0
    """Weight of the mean squared distance of points on the body's surface, in square metres."""
    hinge_weight: float = 10.0
    """Weight of how far knees and elbows of random samples bend the wrong way, in squared sines."""
    kl_weight: float = 2e-3
    """Weight of the divergence from the unit Gaussian, in nats a pose."""
    surface_points: int = 400
    """Points on the body's surface."""
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
    surface = Surface(settings.surface_points, torch_generator(settings.seed, "train_pose_vae_surface"))
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
        losses = _losses(model, surface, batch, settings, generator)
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


class Surface:
    """Points on the neutral body's skin, which tell where a limb's twist takes what hangs on it."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        body = load_body("anny")
        self._shaped = body.shape(body.neutral_shape)
        drawn = torch.randperm(len(self._shaped.vertices), generator=generator)[:count]
        self._points, self._weights = self._shaped.vertices[drawn], body.skinning_weights[drawn]

    def posed(self, rotations: Tensor) -> Tensor:
        """Points (n, P, 3) in metres under joint rotations (n, 21, 3, 3), the pelvis upright at its place."""
        transforms = joint_transforms(self._shaped.joints, self._shaped.to_tpose, _upright(rotations), None)
        return blend(self._points, self._weights, transforms)


def _losses(
    model: PoseVAE, surface: Surface, batch: Tensor, settings: PoseTraining, generator: torch.Generator
) -> dict[str, Tensor]:
    mean, log_variance = model.posterior(matrix_to_6d(batch))
    noise = torch.randn(mean.shape, generator=generator)
    decoded = model.decode(mean + (0.5 * log_variance).exp() * noise)
    parts = {
        "rotation": geodesic_angle(decoded, batch).square().mean(),
        "position": (_joints(model, decoded) - _joints(model, batch)).square().sum(-1).mean(),
        "vertex": (surface.posed(decoded) - surface.posed(batch)).square().sum(-1).mean(),
        "hinge": wrong_way(model.decode(torch.randn(mean.shape, generator=generator))).mean(),
        "kl": 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean(),
    }
    weights = vars(settings)
    return {"total": sum(weights[f"{name}_weight"] * part for name, part in parts.items()), **parts}


# Which way the lower limb's rest direction and its bent one lie: shins bend back from -Y, forearms forward from +-X.
_HINGES = (
    ("left_knee", (0.0, -1.0, 0.0), -1.0),
    ("right_knee", (0.0, -1.0, 0.0), -1.0),
    ("left_elbow", (1.0, 0.0, 0.0), 1.0),
    ("right_elbow", (-1.0, 0.0, 0.0), 1.0),
)


def wrong_way(rotations: Tensor) -> Tensor:
    """Squared sines (n,), summed, by which knees and elbows of joint rotations (n, 21, 3, 3) bend the wrong way."""
    total = rotations.new_zeros(len(rotations))
    for name, rest, sign in _HINGES:
        bent = rotations[:, JOINT_INDEX[name] - 1] @ rotations.new_tensor(rest)
        total = total + (-sign * bent[:, 2]).clamp_min(0.0).square()
    return total


def _upright(rotations: Tensor) -> Tensor:
    """Put an upright pelvis before joint rotations (n, 21, 3, 3)."""
    return torch.cat([torch.eye(3).expand(len(rotations), 1, 3, 3), rotations], 1)


def _joints(model: PoseVAE, rotations: Tensor) -> Tensor:
    """Joints (n, 22, 3) with the pelvis upright at the origin."""
    return forward_kinematics(_upright(rotations), torch.zeros(len(rotations), 3), model.rest_joints)


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


def measure_samples(model: PoseVAE, seed: int, count: int = 4096) -> dict[str, float]:
    """Share of random samples of which every joint angle is within its limits, give or take ten degrees."""
    latent = torch.randn(count, model.config.latent, generator=torch_generator(seed, "pose_vae_samples"))
    with torch.no_grad():
        poses = matrix_to_axis_angle(_upright(model.decode(latent))).numpy()
    return {"samples": count, "within_joint_limits": float(within_limits(poses).mean())}


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
    authored = tuple(clip for clip in training if clip.authored)
    if authored:
        measures["authored"] = measure(model, data, frames_of(authored)[::10])
    measures["random"] = measure_samples(model, settings.seed)
    log.info("measures: %s", json.dumps(measures))
    write_measures(options.out, measures, data)
    build_pose_codebook(data, model, options.codebook, options.seed, options.out)


if __name__ == "__main__":
    main()
