"""Stage motion: a 60-frame motion from the prior that passes through the candidate poses and fits the prompt."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from avatar_core.bodies.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from avatar_core.errors import ArtifactError, DivergenceError
from avatar_core.perception.prompts import motion_prompt
from avatar_core.priors.features import KEY_FRAMES, codebook_features
from avatar_core.priors.kinematics import face_forward, stand
from avatar_core.priors.motion_data import FPS
from avatar_core.priors.motion_objective import FrameJudge, movement, pose_loss, pose_vectors
from avatar_core.priors.motion_vae import MotionCodebook, MotionVAE
from avatar_core.priors.view_encoders import ViewEncoder, load_view_encoder
from avatar_core.seeds import torch_generator
from avatar_core.stages.base import StageContext
from avatar_core.stages.candidate_poses import CandidatePoses

NAME = "motion"
VERSION = 1
logger = logging.getLogger(__name__)


class Config(BaseModel):
    """Settings of the stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(60, ge=0)
    """Steps of Adam on the latent; none gives the best codebook entry as it is."""
    starts: int = Field(2, ge=1)
    """Codebook entries that are optimised side by side; the best result is kept."""
    search_frames: int = Field(3, ge=1)
    """Best key frames whose scores make an entry's score in the search."""
    search_pose_weight: float = Field(0.5, ge=0)
    """Weight of nearness to the candidate poses in the search, both in standard deviations over the codebook."""
    learning_rate: float = Field(0.02, gt=0)
    """Of Adam; the latent is of unit variance."""
    pose_weight: float = Field(1.0, ge=0)
    """Of the candidate poses: mean squared difference of 6D rotations at the nearest frame."""
    movement_weight: float = Field(0.01, ge=0)
    """Of the mean change from frame to frame, which is sought."""
    clip_weight: float = Field(0.2, ge=0)
    """Of one minus the score of rendered frames for the prompt."""
    prior_weight: float = Field(0.02, ge=0)
    """Of the latent's mean squared distance from where it started."""
    clip_frames: int = Field(2, ge=1)
    """Frames of each start that are rendered in a step."""
    checkpoint_every: int = Field(10, ge=1)
    """Steps between checkpoints."""


@dataclass(frozen=True, eq=False)
class Motion:
    """A motion at 30 frames a second, on the ground, starting at x = z = 0 and facing +Z."""

    poses: Tensor
    """(60, 22, 3) axis-angle relative to the parent joint and the T-pose, radians."""
    translation: Tensor
    """(60, 3) pelvis positions, metres, for a skeleton whose pelvis stands at 0.92 m."""
    score_before: float
    """Mean score of the key frames for the prompt, -1 to 1, of the codebook entry it started from."""
    score: float
    """The same of the result."""
    start: int
    """Place of that entry in the motion codebook."""
    history: list[dict[str, float]]
    """Each step's number, loss and parts of the loss before weighting, as means over the starts."""
    fps: int = FPS

    def save(self, folder: Path) -> None:
        """Write the motion into an existing folder."""
        tensors = {"poses": self.poses.cpu().contiguous(), "translation": self.translation.cpu().contiguous()}
        save_file(tensors, folder / "motion.safetensors")
        facts = {
            "score_before": self.score_before,
            "score": self.score,
            "start": self.start,
            "history": self.history,
            "fps": self.fps,
        }
        (folder / "motion.json").write_text(json.dumps(facts, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Motion:
        """Read what `save` wrote; raises ArtifactError when it is missing or damaged."""
        try:
            tensors = load_file(folder / "motion.safetensors")
            facts = json.loads((folder / "motion.json").read_text(encoding="utf-8"))
            return cls(poses=tensors["poses"], translation=tensors["translation"], **facts)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ArtifactError(f"{folder} holds no motion ({error}); run motion again") from error


def run(
    candidates: CandidatePoses, prompt: str, *, config: Config, seed: int, context: StageContext
) -> Motion:
    """Search the motion codebook, then optimise the latent (AvatarCLIP's reference-based motion, Hong et al. 2022).

    Interrupted runs continue from `context.checkpoint` as if they had not stopped: every step draws from a generator
    of its own. Raises DivergenceError when the loss is not finite.
    """
    work = _Work(candidates, prompt, config, seed, context)
    resumed = context.checkpoint.load() if context.checkpoint is not None else None
    if resumed is not None:
        work.restore(*resumed)
        logger.info("motion continues at step %d of %d", work.step, config.steps)
    else:
        work.begin()
    while work.step < config.steps:
        work.advance()
        context.progress(work.step, config.steps, f"loss {work.history[-1]['loss']:.3f}")
        if work.step % config.checkpoint_every == 0 and work.step < config.steps:
            work.keep()
    return work.result()


class _Work:
    """The state of one run: latents, optimiser, history; everything else follows from the inputs."""

    def __init__(
        self, candidates: CandidatePoses, prompt: str, config: Config, seed: int, context: StageContext
    ) -> None:
        self.config, self.seed, self.context = config, seed, context
        self.vae = MotionVAE.load(device=context.device)
        self.book = MotionCodebook.load()
        self.target = context.encoder.encode_texts([motion_prompt(prompt)])[0].to(context.device).float()
        self.candidates = pose_vectors(axis_angle_to_matrix(candidates.poses.to(context.device)))
        self.view = load_view_encoder("motion", context.encoder, context.body)
        self.judge = FrameJudge(context.body, self.view, self.target)
        self.step = 0
        self.history: list[dict[str, float]] = []

    def begin(self) -> None:
        """Choose the codebook entries to start from."""
        features = codebook_features(
            "motion", self.context.encoder, self.context.body, progress=self.context.progress
        )
        found = search(self.vae, self.book, features, self.view, self.candidates, self.target, self.config)
        self._start_from(found)

    def _start_from(self, entries: Tensor) -> None:
        self.entries = entries
        self.origin = self.book.latents[entries].to(self.context.device)
        self.latent = self.origin.clone().requires_grad_(True)
        self.optimizer = torch.optim.Adam([self.latent], lr=self.config.learning_rate)

    def advance(self) -> None:
        """Take one optimisation step on all starts."""
        config = self.config
        generator = torch_generator(self.seed, NAME, "step", str(self.step))
        rotations, _ = self.vae.decode(self.latent)
        vectors = pose_vectors(rotations)
        parts = {
            "pose": pose_loss(vectors, self.candidates),
            "movement": movement(vectors),
            "prior": (self.latent - self.origin).square().mean(1),
        }
        loss = config.pose_weight * parts["pose"] - config.movement_weight * parts["movement"]
        loss = loss + config.prior_weight * parts["prior"]
        if config.clip_weight > 0:
            parts["clip"] = self._clip_loss(rotations, generator)
            loss = loss + config.clip_weight * parts["clip"]
        value = float(loss.detach().mean())
        if not math.isfinite(value):
            raise DivergenceError(
                f"motion's loss became {value} at step {self.step}: run it again with another seed, or lower "
                "motion.learning_rate (half is a good first try)"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        self.optimizer.step()
        self.step += 1
        numbers = {name: float(part.detach().mean()) for name, part in parts.items()}
        self.history.append({"step": float(self.step), "loss": value, **numbers})

    def _clip_loss(self, rotations: Tensor, generator: torch.Generator) -> Tensor:
        """One minus the mean cosine (starts,) of frames drawn from each start, seen from about the front."""
        count = self.config.clip_frames
        stretch = rotations.shape[1] / count
        picked, turns = [], []
        for start in range(len(rotations)):
            offset = torch.rand(count, generator=generator)
            frames = ((torch.arange(count) + offset) * stretch).long().clamp(max=rotations.shape[1] - 1)
            picked.append(rotations[start, frames])
            turns.append(torch.randn(count, generator=generator) * 0.7)
        return 1 - self.judge.scores(torch.cat(picked), torch.cat(turns)).unflatten(0, (-1, count)).mean(1)

    @torch.no_grad()
    def _scores(self, latents: Tensor) -> Tensor:
        """Mean score (n,) of the key frames of latents (n, 256) for the prompt."""
        rotations, _ = self.vae.decode(latents)
        frames = rotations[:, list(KEY_FRAMES)].flatten(0, 1)
        return self.judge.scores(frames).unflatten(0, (-1, len(KEY_FRAMES))).mean(1)

    def keep(self) -> None:
        """Save a checkpoint, where the caller keeps any."""
        if self.context.checkpoint is not None:
            state = {
                "entries": self.entries,
                "latent": self.latent.detach(),
                "optimizer": self.optimizer.state_dict(),
                "history": self.history,
            }
            self.context.checkpoint.save(state, self.step)

    def restore(self, state: dict[str, Any], step: int) -> None:
        """Take over a checkpoint."""
        self._start_from(state["entries"])
        with torch.no_grad():
            self.latent.copy_(state["latent"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history, self.step = state["history"], step

    @torch.no_grad()
    def result(self) -> Motion:
        """Keep the best of the optimised starts, grounded and facing +Z."""
        before, after = self._scores(self.origin), self._scores(self.latent)
        best = int(after.argmax())
        rotations, translation = self.vae.decode(self.latent[best : best + 1])
        rotations, translation = face_forward(rotations, translation)
        translation = stand(rotations[0], translation[0], self.vae.rest_joints)
        return Motion(
            poses=matrix_to_axis_angle(rotations[0]).cpu(),
            translation=translation.cpu(),
            score_before=float(before[best]),
            score=float(after[best]),
            start=int(self.entries[best]),
            history=self.history,
        )


@torch.no_grad()
def search(
    vae: MotionVAE,
    book: MotionCodebook,
    features: Tensor,
    view: ViewEncoder,
    candidates: Tensor,
    target: Tensor,
    config: Config,
) -> Tensor:
    """Return the codebook entries (starts,) that look most like the prompt and pass nearest to the candidates.

    features: (N, K, D) of the entries' key frames; candidates: (C, 132) pose vectors; target: (D,) text feature.
    """
    frames = view.search(features, target.to(features))
    looks = frames.topk(min(config.search_frames, frames.shape[1]), dim=1).values.mean(1)
    parts = book.latents.to(candidates.device).split(64)
    away = torch.cat([pose_loss(pose_vectors(vae.decode(part)[0]), candidates) for part in parts])
    total = standardised(looks) - config.search_pose_weight * standardised(away)
    return total.topk(min(config.starts, len(book))).indices.cpu()


def standardised(values: Tensor) -> Tensor:
    """Values (n,) less their mean, over their standard deviation."""
    return (values - values.mean()) / values.std().clamp_min(1e-9)
