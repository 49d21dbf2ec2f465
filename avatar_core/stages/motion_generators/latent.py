"""Motions of the motion prior that pass through the candidate poses (AvatarCLIP's second and third generator)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from avatar_core.errors import DivergenceError
from avatar_core.priors.features import codebook_features
from avatar_core.priors.motion_objective import movement, pose_loss, pose_vectors
from avatar_core.priors.motion_vae import MotionCodebook, MotionVAE
from avatar_core.priors.view_encoders import ViewEncoder
from avatar_core.seeds import torch_generator
from avatar_core.stages.motion_generators.base import Draft, Problem
from avatar_core.stages.motion_generators.config import Config


class LatentMotion:
    """Optimises latents: `baseline` for the candidate poses alone, `full` for movement and the prompt too."""

    def __init__(self, problem: Problem, config: Config, seed: int) -> None:
        self._problem, self._config, self._seed = problem, config, seed
        self._full = config.method == "full"
        self.step = 0
        self.history: list[dict[str, float]] = []

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self._config.steps

    def begin(self) -> None:
        """Choose the latents to start from: the codebook's best, or random ones."""
        problem, config = self._problem, self._config
        if config.search:
            context, book = problem.context, MotionCodebook.load()
            features = codebook_features("motion", context.encoder, context.body, progress=context.progress)
            self._entries = search(problem.vae, book, features, problem.view, problem.vectors, problem.target, config)
            self._start_from(book.latents[self._entries])
            return
        self._entries = torch.full((config.starts,), -1)
        generator = torch_generator(self._seed, "motion", "start")
        self._start_from(torch.randn(config.starts, problem.vae.config.latent, generator=generator))

    def _start_from(self, origin: Tensor) -> None:
        self._origin = origin.to(self._problem.context.device)
        self._latent = self._origin.clone().requires_grad_(True)
        self._optimizer = torch.optim.Adam([self._latent], lr=self._config.learning_rate)

    def advance(self) -> float:
        """Take one step on all starts."""
        config, problem = self._config, self._problem
        rotations, _ = problem.vae.decode(self._latent)
        vectors = pose_vectors(rotations)
        home = self._origin if config.search else torch.zeros_like(self._origin)
        parts = {"pose": pose_loss(vectors, problem.vectors), "prior": (self._latent - home).square().mean(1)}
        loss = config.pose_weight * parts["pose"] + config.prior_weight * parts["prior"]
        if self._full:
            parts["movement"] = movement(vectors)
            loss = loss - config.movement_weight * parts["movement"]
            if config.clip_weight > 0:
                parts["clip"] = self._clip_loss(rotations)
                loss = loss + config.clip_weight * parts["clip"]
        value = float(loss.detach().mean())
        if not math.isfinite(value):
            raise DivergenceError(
                f"motion's loss became {value} at step {self.step}: run it again with another seed, or lower "
                "motion.learning_rate (half is a good first try)"
            )
        self._optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        self._optimizer.step()
        self.step += 1
        numbers = {name: float(part.detach().mean()) for name, part in parts.items()}
        self.history.append({"step": float(self.step), "loss": value, **numbers})
        return value

    def _clip_loss(self, rotations: Tensor) -> Tensor:
        """One minus the mean cosine (starts,) of frames drawn from each start, seen from about the front."""
        generator = torch_generator(self._seed, "motion", "step", str(self.step))
        count = self._config.clip_frames
        stretch = rotations.shape[1] / count
        picked, turns = [], []
        for start in range(len(rotations)):
            offset = torch.rand(count, generator=generator)
            frames = ((torch.arange(count) + offset) * stretch).long().clamp(max=rotations.shape[1] - 1)
            picked.append(rotations[start, frames])
            turns.append(torch.randn(count, generator=generator) * 0.7)
        return 1 - self._problem.judge.scores(torch.cat(picked), torch.cat(turns)).unflatten(0, (-1, count)).mean(1)

    def state(self) -> dict[str, Any]:
        """Latents, optimiser and history."""
        return {
            "entries": self._entries,
            "origin": self._origin,
            "latent": self._latent.detach(),
            "optimizer": self._optimizer.state_dict(),
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self._entries = state["entries"]
        self._start_from(state["origin"])
        with torch.no_grad():
            self._latent.copy_(state["latent"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.history, self.step = state["history"], len(state["history"])

    @torch.no_grad()
    def result(self) -> Draft:
        """Return what came to look most like the prompt; of `full`, a start itself where that looks more like it."""
        latents, count = self._latent.detach(), len(self._origin)
        if self._full:
            latents = torch.cat([latents, self._origin])
        before = self._problem.score(self._problem.vae.decode(self._origin)[0])
        rotations, translation = self._problem.vae.decode(latents)
        scores = self._problem.score(rotations)
        best = int(scores.argmax())
        return Draft(
            rotations[best],
            translation[best],
            float(before[best % count]),
            float(scores[best]),
            int(self._entries[best % count]),
            self.history,
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
