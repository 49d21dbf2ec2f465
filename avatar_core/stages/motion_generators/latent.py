"""Motions of the motion prior that pass through the candidate poses (AvatarCLIP's second and third generator)."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from avatar_core.errors import DivergenceError
from avatar_core.priors.choices import load_motion_codebook
from avatar_core.priors.features import codebook_features
from avatar_core.priors.motion_diversity import diversity
from avatar_core.priors.motion_editing import OVERLAP, Sequence, join
from avatar_core.priors.motion_objective import movement, pose_loss, pose_vectors, seam_loss
from avatar_core.priors.motion_prior import MotionModel
from avatar_core.priors.motion_vae import MotionCodebook
from avatar_core.priors.view_encoders import ViewEncoder
from avatar_core.seeds import torch_generator
from avatar_core.stages.motion_generators.base import Draft, Problem
from avatar_core.stages.motion_generators.config import Config

SEEDS = 8
"""Seeds whose starts are compared, to tell how far the motions of a prompt differ."""
POOL = 32
"""Best entries of the codebook among which a longer motion's later windows are sought."""


class LatentMotion:
    """Optimises latents: `baseline` for the candidate poses alone, `full` for movement and the prompt too."""

    def __init__(self, problem: Problem, config: Config, seed: int) -> None:
        self._problem, self._config, self._seed = problem, config, seed
        self._full = config.method == "full"
        window = problem.vae.frames
        self._windows = max(1, math.ceil((config.frames - OVERLAP) / (window - OVERLAP)))
        self.step = 0
        self.history: list[dict[str, float]] = []
        self._diversity = 0.0

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self._config.steps

    def begin(self) -> None:
        """Choose the latents to start from: the codebook's best, or random ones."""
        problem, config = self._problem, self._config
        if config.search:
            context, book = problem.context, load_motion_codebook(problem.prior)
            features = codebook_features(
                "motion", context.encoder, context.body,
                prior=problem.prior, renderer=context.renderer, progress=context.progress,
            )  # fmt: skip
            total = search(problem.vae, book, features, problem.view, problem.vectors, problem.target, config)
            others = torch.randn(SEEDS, len(total), generator=torch_generator(self._seed, "motion", "diversity"))
            self._compare(book.latents[(total + config.variety * others).argmax(1)])
            generator = torch_generator(self._seed, "motion", "variety")
            total = total + config.variety * torch.randn(len(total), generator=generator)
            self._entries = followed(problem.vae, book.latents, total, config.starts, self._windows)
            self._start_from(book.latents[self._entries])
            return
        self._entries = torch.full((config.starts, self._windows), -1)
        generator = torch_generator(self._seed, "motion", "diversity")
        self._compare(torch.randn(SEEDS, problem.vae.latent_size, generator=generator))
        generator = torch_generator(self._seed, "motion", "start")
        self._start_from(torch.randn(*self._entries.shape, problem.vae.latent_size, generator=generator))

    @torch.no_grad()
    def _compare(self, latents: Tensor) -> None:
        """Tell how far the motions of latents (n, 256), each another seed's start, differ."""
        vae = self._problem.vae
        self._diversity = diversity(vae.decode(latents.to(vae.rest_joints.device))[0], vae.rest_joints)

    def _start_from(self, origin: Tensor) -> None:
        self._origin = origin.to(self._problem.context.device)
        self._latent = self._origin.clone().requires_grad_(True)
        self._optimizer = torch.optim.Adam([self._latent], lr=self._config.learning_rate)

    def advance(self) -> float:
        """Take one step on all starts."""
        config, problem = self._config, self._problem
        rotations, translation = self._decode(self._latent)
        vectors = pose_vectors(rotations)
        home = self._origin if config.search else torch.zeros_like(self._origin)
        passing = vectors.flatten(1, 2)
        parts = {
            "pose": pose_loss(passing, problem.vectors),
            "prior": (self._latent - home).square().mean((1, 2)),
        }
        loss = config.pose_weight * parts["pose"] + config.prior_weight * parts["prior"]
        if self._windows > 1:
            parts["seam"] = seam_loss(vectors, translation, OVERLAP)
            loss = loss + config.seam_weight * parts["seam"]
        if self._full:
            parts["movement"] = movement(vectors.flatten(0, 1)).unflatten(0, (-1, self._windows)).mean(1)
            loss = loss - config.movement_weight * parts["movement"]
            if config.clip_weight > 0:
                parts["clip"] = self._clip_loss(rotations.flatten(1, 2))
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

    def _decode(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Rotations (n, W, F, 22, 3, 3) and pelvis positions (n, W, F, 3) of latents (n, W, 256)."""
        rotations, translation = self._problem.vae.decode(latents.flatten(0, 1))
        shape = latents.shape[:2]
        return rotations.unflatten(0, shape), translation.unflatten(0, shape)

    def _whole(self, latents: Tensor) -> list[Sequence]:
        """The motions of latents (n, W, 256), their windows joined."""
        rotations, translation = self._decode(latents)
        standing = self._problem.vae.contacts(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
        return [
            reduce(join, map(Sequence, *one))[: self._config.frames]
            for one in zip(rotations, translation, standing)
        ]

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
            "diversity": self._diversity,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self._entries = state["entries"]
        self._start_from(state["origin"])
        with torch.no_grad():
            self._latent.copy_(state["latent"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.history, self.step = state["history"], len(state["history"])
        self._diversity = state["diversity"]

    @torch.no_grad()
    def result(self) -> Draft:
        """Return what came to look most like the prompt; of `full`, a start itself where that looks more like it."""
        count = len(self._origin)
        starts = self._whole(self._origin)
        made = self._whole(self._latent.detach())
        if self._full and self._windows == 1:  # starts of several windows do not go over into each other yet
            made += starts
        before = self._problem.score(torch.stack([one.rotations for one in starts]))
        scores = self._problem.score(torch.stack([one.rotations for one in made]))
        best = int(scores.argmax())
        return Draft(
            made[best].rotations,
            made[best].translation,
            made[best].standing,
            float(before[best % count]),
            float(scores[best]),
            int(self._entries[best % count, 0]),
            self._diversity,
            self.history,
        )


@torch.no_grad()
def search(
    vae: MotionModel,
    book: MotionCodebook,
    features: Tensor,
    view: ViewEncoder,
    candidates: Tensor,
    target: Tensor,
    config: Config,
) -> Tensor:
    """Tell how much codebook entries look like the prompt, less how far they pass from the candidates, as (N,).

    features: (N, K, D) of the entries' key frames; candidates: (C, 132) pose vectors; target: (D,) text feature.
    """
    frames = view.search(features, target.to(features))
    looks = frames.topk(min(config.search_frames, frames.shape[1]), dim=1).values.mean(1)
    parts = book.latents.to(candidates.device).split(64)
    away = torch.cat([pose_loss(pose_vectors(vae.decode(part)[0]), candidates) for part in parts])
    return (standardised(looks) - config.search_pose_weight * standardised(away)).cpu()


@torch.no_grad()
def followed(vae: MotionModel, latents: Tensor, total: Tensor, starts: int, windows: int) -> Tensor:
    """Choose the entries (starts, windows) of a codebook to start from.

    Each start begins with one of the best by `total` (N,) and goes on with those of the best that fit its end best.

    latents: (N, 256) of the codebook.
    """
    entries = total.topk(min(starts, len(total))).indices[:, None]
    if windows == 1:
        return entries
    pool = total.topk(min(max(POOL, starts), len(total))).indices
    rotations, translation = vae.decode(latents[pool].to(vae.rest_joints.device))
    vectors = pose_vectors(rotations)
    pairs = torch.cartesian_prod(torch.arange(len(pool)), torch.arange(len(pool))).to(vectors.device)
    seams = [seam_loss(vectors[part], translation[part], OVERLAP) for part in pairs.split(128)]
    following = pool[torch.cat(seams).unflatten(0, (len(pool), -1)).argmin(1).cpu()]
    place = {int(entry): number for number, entry in enumerate(pool)}
    chains = entries[:, 0].tolist()
    for _ in range(windows - 1):
        chains = [int(following[place[entry]]) for entry in chains]
        entries = torch.cat([entries, torch.tensor(chains)[:, None]], 1)
    return entries


def standardised(values: Tensor) -> Tensor:
    """Values (n,) less their mean, over their standard deviation."""
    return (values - values.mean()) / values.std().clamp_min(1e-9)
