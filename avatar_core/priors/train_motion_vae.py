"""Train the motion VAE and build its codebook from a folder of motion clips.

python -m avatar_core.priors.train_motion_vae --data FOLDER --out avatar_core/weights/motion_vae
"""

import argparse
import json
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from avatar_core.bodies.rotations import axis_angle_to_matrix, geodesic_angle
from avatar_core.priors.checkpointing import TrainingCheckpoint, initialise
from avatar_core.priors.foot_contacts import LEGS, find_contacts
from avatar_core.priors.kinematics import face_forward, forward_kinematics, heading_matrix
from avatar_core.priors.motion_codebook import build_motion_codebook
from avatar_core.priors.motion_data import (
    FPS,
    Clip,
    MotionData,
    MotionDataError,
    cut_windows,
    label_weights,
    load_motion_folder,
    mirror,
    split_by_source,
    write_measures,
)
from avatar_core.priors.motion_features import CONTACTS, features_to_motion, lever_weights, motion_features
from avatar_core.priors.motion_speed import at_speeds
from avatar_core.priors.motion_vae import MotionVAE, MotionVaeConfig
from avatar_core.seeds import torch_generator

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MotionTraining:
    """Settings of one training of the motion VAE."""

    steps: int = 3200
    """Steps of Adam."""
    batch: int = 64
    """Windows a step."""
    learning_rate: float = 6e-4
    """Highest learning rate of the transformers; the linear path learns at a fifth of it."""
    rotation_weight: float = 1.0
    """Weight of the mean squared difference of rotation matrices, summed over a joint's nine numbers."""
    position_weight: float = 60.0
    """Weight of the mean squared distance of joints, root motion included, in square metres."""
    velocity_weight: float = 1.0
    """Weight of the mean squared difference of joint velocities, in square metres a second squared."""
    contact_weight: float = 0.5
    """Weight of the mean squared error of whether feet stand, from 0 to 1."""
    skate_weight: float = 0.6
    """Weight of the mean squared speed of feet that should stand, in square metres a second squared."""
    kl_weight: float = 1e-4
    """Weight of the divergence from the unit Gaussian, in nats a window."""
    label_power: float = 0.5
    """A label with n frames is drawn in proportion to n to this power."""
    heading_jitter: float = 0.15
    """Standard deviation of the heading of the first frame, radians."""
    speeds: tuple[float, ...] = (1.0, 0.8, 1.25)
    """Speeds at which every clip is played."""
    stride: int = 4
    """Frames between the training windows."""
    component_windows: int = 8000
    """Windows whose principal components the linear path starts from."""
    held_out: float = 0.1
    """Share of the source files kept for measuring."""
    seed: int = 0
    """Seed of the split, the first weights and every draw."""


class Windows:
    """Windows of a set of clips as tensors, with their mirror images.

    Raises MotionDataError when no clip is long enough.
    """

    def __init__(
        self, data: MotionData, clips: tuple[Clip, ...], frames: int, stride: int, power: float
    ) -> None:
        windows = cut_windows(data, clips, frames, stride)
        if not windows:
            raise MotionDataError(f"no clip is long enough for windows of {frames} frames; give longer clips")
        per_clip = dict(zip((clip.id for clip in clips), label_weights(clips, power)))
        both = [(data.poses, data.trans), mirror(data.poses, data.trans)]
        self.rotations = [axis_angle_to_matrix(torch.from_numpy(np.ascontiguousarray(p))) for p, _ in both]
        self.translation = [torch.from_numpy(np.ascontiguousarray(t)) for _, t in both]
        standing = _clip_contacts(self.rotations[0], self.translation[0], data)
        self.standing = [standing, standing.flip(-1)]
        self.frames = torch.from_numpy(np.stack([w.frames for w in windows]))
        self.laps = torch.from_numpy(np.stack([w.laps[:, None] * w.step for w in windows])).float()
        self.cumulative = torch.tensor([per_clip[w.clip.id] for w in windows]).cumsum(0)

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, index: Tensor, flip: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Windows `index` (n,), facing +Z at first.

        Returns rotations (n, T, 22, 3, 3), pelvis positions (n, T, 3) and which feet stand (n, T, 2).
        """
        frames, laps = self.frames[index], self.laps[index]
        if flip:
            laps = laps * torch.tensor([-1.0, 1.0, 1.0])
        rotations, translation = face_forward(
            self.rotations[flip][frames], self.translation[flip][frames] + laps
        )
        return rotations, translation, self.standing[flip][frames]

    def draw(self, count: int, jitter: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """`count` windows by label weight, half of them mirrored, with jittered headings, as `read` returns them."""
        drawn = torch.rand(count, generator=generator, dtype=torch.float64) * self.cumulative[-1]
        index = torch.searchsorted(self.cumulative, drawn).clamp(max=len(self) - 1)
        parts = [self.read(part, flip) for flip, part in zip((False, True), index.split((count + 1) // 2))]
        rotations, translation, standing = (torch.cat(items) for items in zip(*parts))
        turn = heading_matrix(jitter * torch.randn(count, generator=generator))[:, None]
        root = turn @ rotations[:, :, 0]
        moved = (turn @ translation[..., None]).squeeze(-1)
        return torch.cat([root[:, :, None], rotations[:, :, 1:]], dim=2), moved, standing


def _clip_contacts(rotations: Tensor, translation: Tensor, data: MotionData) -> Tensor:
    """Which feet stand in each frame (N, 2) of a folder, clip by clip."""
    rest = torch.from_numpy(data.rest_joints)
    joints = forward_kinematics(rotations, translation, rest)
    standing = torch.zeros(len(joints), 2, dtype=torch.bool)
    for clip in data.clips:
        frames = slice(clip.start, clip.start + clip.length)
        standing[frames] = find_contacts(joints[frames], rest, FPS).standing
    return standing


def train(
    data: MotionData,
    settings: MotionTraining,
    checkpoint: Path | None = None,
    every: int = 100,
    sizes: MotionVaeConfig | None = None,
) -> MotionVAE:
    """Train a motion VAE of `sizes`; continues from `checkpoint` where that file exists.

    Raises WeightsError when the checkpoint belongs to other settings, MotionDataError when all clips are too short.
    """
    training, _ = split_by_source(data, settings.held_out, settings.seed)
    model = MotionVAE(sizes)
    played = at_speeds(data, training, settings.speeds)
    windows = Windows(*played, model.config.frames, settings.stride, settings.label_power)
    initialise(model, torch_generator(settings.seed, "motion_vae_weights"))
    slow = [*model.linear_in.parameters(), *model.linear_out.parameters()]
    fast = [p for p in model.parameters() if all(p is not q for q in slow)]
    optimizer = torch.optim.Adam([{"params": fast, "share": 1.0}, {"params": slow, "share": 0.2}])
    saved = None
    if checkpoint is not None:
        facts = {**vars(settings), **asdict(model.config), "clips": len(data.clips), "frames": len(data.poses)}
        saved = TrainingCheckpoint(checkpoint, facts)
    start = saved.restore(model, optimizer) if saved else 0
    if start == 0:
        _start_linear(model, windows, torch.from_numpy(data.rest_joints), settings)
    began = time.monotonic()
    for step in range(start, settings.steps):
        generator = torch_generator(settings.seed, "train_motion_vae", str(step))
        batch = windows.draw(settings.batch, settings.heading_jitter, generator)
        rate = settings.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / settings.steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate * group["share"] * min(1.0, (step + 1) / 50)
        losses = _losses(model, batch, settings, generator)
        optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        if (step + 1) % every == 0 or step + 1 == settings.steps:
            speed = (step + 1 - start) / (time.monotonic() - began)
            words = " ".join(f"{name} {value.item():.4f}" for name, value in losses.items())
            log.info("step %d of %d (%.2f a second): %s", step + 1, settings.steps, speed, words)
            if saved:
                saved.save(step + 1, model, optimizer)
    return model.eval().requires_grad_(False)


def _start_linear(model: MotionVAE, windows: Windows, rest_joints: Tensor, settings: MotionTraining) -> None:
    """Set the normalisation, and the linear path to the principal components; silence the transformers."""
    generator = torch_generator(settings.seed, "motion_vae_components")
    draws = max(1, settings.component_windows // 500)
    parts = [windows.draw(500, settings.heading_jitter, generator) for _ in range(draws)]
    features = torch.cat([motion_features(*part) for part in parts])
    model.mean.copy_(features.mean((0, 1)))
    model.weight.copy_(lever_weights(rest_joints))
    model.rest_joints.copy_(rest_joints)
    flat = (model.basis @ ((features - model.mean) * model.weight)).flatten(1)
    centre = flat.mean(0)
    covariance = ((flat - centre).mT @ (flat - centre) / len(flat)).double().numpy()
    size, latent = len(covariance), model.config.latent
    values, vectors = scipy.linalg.eigh(covariance, subset_by_index=(size - latent, size - 1))
    scale = torch.from_numpy(values[::-1].copy()).clamp_min(0).sqrt().float()
    scale = scale.clamp_min(0.02 * scale[0].item())
    axes = torch.from_numpy(vectors[:, ::-1].copy()).float()
    with torch.no_grad():
        model.linear_in.weight.copy_((axes / scale).mT)
        model.linear_in.bias.copy_(-(centre @ axes) / scale)
        model.linear_out.weight.copy_(axes * scale)
        model.linear_out.bias.copy_(centre)
        for layer in (model.mean_head, model.variance_head, model.patch_out):
            layer.weight.mul_(0.02)
        model.variance_head.bias.fill_(-5.0)
        places = torch.randn(model.encoder_places.shape, generator=generator) * 0.1
        model.encoder_places.copy_(places)
        model.decoder_places.copy_(places[2:])


def _losses(
    model: MotionVAE,
    batch: tuple[Tensor, Tensor, Tensor],
    settings: MotionTraining,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    rotations, translation, standing = batch
    mean, log_variance = model.posterior(motion_features(*batch))
    noise = torch.randn(mean.shape, generator=generator)
    features = model.decode_features(mean + (0.5 * log_variance).exp() * noise)
    decoded, moved = features_to_motion(features)
    seen = _joints(model, decoded, moved)
    error = seen - _joints(model, rotations, translation)
    speed = (seen[:, 1:] - seen[:, :-1])[..., [leg[2] for leg in LEGS], :].square().sum(-1) * FPS**2
    stays = (standing[:, 1:] & standing[:, :-1]).float()
    parts = {
        "rotation": (decoded - rotations).square().sum((-2, -1)).mean(),
        "position": error.square().sum(-1).mean(),
        "velocity": ((error[:, 1:] - error[:, :-1]) * FPS).square().sum(-1).mean(),
        "contact": (features[..., CONTACTS] - standing.float()).square().mean(),
        "skate": (speed * stays).sum() / stays.sum().clamp_min(1.0),
        "kl": 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean(),
    }
    weights = vars(settings)
    return {"total": sum(weights[f"{name}_weight"] * part for name, part in parts.items()), **parts}


def _joints(model: MotionVAE, rotations: Tensor, translation: Tensor) -> Tensor:
    return forward_kinematics(rotations, translation, model.rest_joints)


def measure(model: MotionVAE, data: MotionData, clips: tuple[Clip, ...]) -> dict[str, float]:
    """Reconstruction of windows of `clips`.

    Joint errors in millimetres (with the root's path, and relative to the pelvis), rotations in degrees, the share of
    frames and feet whose standing is told right, and the ankles' slide from frame to frame while they should stand,
    in millimetres: of the windows and as reconstructed.
    """
    windows = Windows(data, clips, model.config.frames, model.config.frames // 2, 1.0)
    totals: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for index in torch.arange(len(windows)).split(64):
            batch = windows.read(index, False)
            rotations, translation, standing = batch
            mean, log_variance = model.posterior(motion_features(*batch))
            features = model.decode_features(mean)
            decoded, moved = features_to_motion(features)
            truth, seen = _joints(model, rotations, translation), _joints(model, decoded, moved)
            pelvis = (seen[..., :1, :] - truth[..., :1, :]).expand_as(seen)
            error = {
                "joint_error_mm": (seen - truth).norm(dim=-1).mean((1, 2)) * 1000,
                "joint_error_mm_from_pelvis": (seen - truth - pelvis).norm(dim=-1).mean((1, 2)) * 1000,
                "rotation_error_degrees": geodesic_angle(decoded, rotations).rad2deg().mean((1, 2)),
                "contacts_right": ((features[..., CONTACTS] > 0.5) == standing).float().mean((1, 2)),
                "slide_mm_true": _slides(truth, standing),
                "slide_mm": _slides(seen, standing),
                "posterior_std": (0.5 * log_variance).exp().mean(1),
                "latent_square": mean.square().mean(1),
            }
            for name, value in error.items():
                totals.setdefault(name, []).append(value)
    measures = {name: torch.cat(values).nanmean().item() for name, values in totals.items()}
    return {"windows": len(windows), **measures}


def _slides(joints: Tensor, standing: Tensor) -> Tensor:
    """Mean horizontal slide (B,) in millimetres a frame of ankles in joints (B, T, 22, 3) that stand (B, T, 2).

    Not a number where none stands.
    """
    ankles = joints[..., [leg[2] for leg in LEGS], :][..., [0, 2]]
    slides = 1000 * (ankles[:, 1:] - ankles[:, :-1]).norm(dim=-1)
    stays = standing[:, 1:] & standing[:, :-1]
    return (slides * stays).sum((1, 2)) / stays.sum((1, 2))


def main(arguments: list[str] | None = None) -> None:
    """Train, measure on held-out files, build the codebook and write everything to --out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with clips.npz and clips.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder that receives the weights")
    parser.add_argument("--steps", type=int, default=MotionTraining.steps)
    parser.add_argument("--batch", type=int, default=MotionTraining.batch)
    parser.add_argument("--seed", type=int, default=MotionTraining.seed)
    for name in ("latent", "width", "layers", "cosines"):
        parser.add_argument(f"--{name}", type=int, default=getattr(MotionVaeConfig, name), help="size of the networks")
    parser.add_argument("--codebook", type=int, default=960, help="motions in the codebook")
    parser.add_argument("--checkpoint", type=Path, help="file to save to and to go on from")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    data = load_motion_folder(options.data)
    settings = MotionTraining(steps=options.steps, batch=options.batch, seed=options.seed)
    sizes = MotionVaeConfig(
        latent=options.latent, width=options.width, layers=options.layers, cosines=options.cosines
    )
    model = train(data, settings, options.checkpoint, sizes=sizes)
    model.save(options.out)
    model = MotionVAE.load(options.out)
    training, held = split_by_source(data, settings.held_out, settings.seed)
    measures = {"training": measure(model, data, training)}
    if held:
        measures["held_out"] = measure(model, data, held)
    authored = tuple(clip for clip in training if clip.authored)
    if authored:
        measures["authored"] = measure(model, data, authored)
    log.info("measures: %s", json.dumps(measures))
    write_measures(options.out, measures, data)
    build_motion_codebook(data, model, options.codebook, options.seed, options.out)


if __name__ == "__main__":
    main()
