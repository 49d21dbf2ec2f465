"""The six stages with one preset and one set of models: avatars from Python, without a library."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from avatar_core.bodies import EMBEDDED, BodyModel, load_body
from avatar_core.config import DEFAULT_PRESETS, Preset, load_preset
from avatar_core.errors import BodyError
from avatar_core.perception.encoder import Encoder, load_encoder
from avatar_core.stages import candidate_poses, coarse_shape, export, implicit_init, motion, texturing
from avatar_core.stages.base import Progress, StageContext, no_progress
from avatar_core.stages.candidate_poses import CandidatePoses
from avatar_core.stages.coarse_shape import CoarseShape
from avatar_core.stages.drawing import UNSEEDED, draws_numbers
from avatar_core.stages.export import ExportResult
from avatar_core.stages.implicit_init import ImplicitAvatar, Shaped
from avatar_core.stages.motion import Motion
from avatar_core.stages.texturing_losses import Loss
from avatar_core.stages.texturing_result import TexturedAvatar


class Pipeline:
    """Makes avatars, whole or stage by stage; keeps nothing between calls, on disk neither.

    Equal prompts, seeds, presets and models on one kind of machine give the same avatar as `avatars make`. What is made
    here has no key: with losses or a body that are code of the caller's, no library could say what a result came from.
    """

    def __init__(
        self,
        preset: str | os.PathLike[str] | Preset | None = None,
        *,
        body: str | BodyModel | None = None,
        encoder: str | Encoder = "bodyclip",
        device: torch.device | str = "cpu",
        losses: Mapping[str, Loss] | None = None,
        progress: Progress = no_progress,
    ) -> None:
        """Load the models.

        Args:
            preset: name of a packaged one, a YAML file or a Preset; None: the default of the device.
            body: name of a body, or a body model of the caller's own; None: the preset's.
            encoder: what `load_encoder` takes, or an encoder of the caller's own.
            device: where stages compute: cpu or a CUDA device.
            losses: the caller's own, by name, which texturing adds to its own.
            progress: called by stages with (steps done, steps in all, a note).
        Raises:
            ConfigError: there is no such preset or body.
            WeightsError: weights are missing or damaged.
            BodyError: the caller's own body has the name of the embedded one.
        """
        place = torch.device(device)
        chosen = DEFAULT_PRESETS[place.type] if preset is None else preset
        self.preset = chosen if isinstance(chosen, Preset) else load_preset(chosen)
        self.losses = dict(losses or {})
        self.context = StageContext(
            body=_body(self.preset.body if body is None else body, place),
            encoder=load_encoder(encoder, place) if isinstance(encoder, str) else encoder,
            device=place,
            progress=progress,
        )

    def make(self, *, shape: str, appearance: str, motion: str, seed: int | None = None) -> ExportResult:
        """Make one avatar from its three prompts; raises what the stages raise.

        seed: which variant; None: the preset's. Every stage below takes one too.
        """
        body = self.coarse_shape(shape, seed)
        textured = self.texturing(self.implicit_init(body, seed), appearance, seed)
        clip = self.motion(self.candidate_poses(motion, seed), motion, seed)
        prompts = {"shape": shape, "appearance": appearance, "motion": motion}
        return self.export(textured, clip, body, prompts, seed)

    def coarse_shape(self, prompt: str, seed: int | None = None) -> CoarseShape:
        """Find a body that fits a shape prompt."""
        return coarse_shape.run(prompt, **self._given("coarse_shape", seed))

    def implicit_init(self, shape: Shaped, seed: int | None = None) -> ImplicitAvatar:
        """Build the implicit avatar that is the body of `shape`: anything with a shape vector as its `betas`."""
        return implicit_init.run(shape, **self._given("implicit_init", seed))

    def texturing(self, avatar: ImplicitAvatar, prompt: str, seed: int | None = None) -> TexturedAvatar:
        """Dress, colour and sculpt an implicit avatar until it fits an appearance prompt, and the caller's losses."""
        return texturing.run(avatar, prompt, losses=self.losses, **self._given("texturing", seed))

    def candidate_poses(self, prompt: str, seed: int | None = None) -> CandidatePoses:
        """Find poses that fit a motion prompt."""
        return candidate_poses.run(prompt, **self._given("candidate_poses", seed))

    def motion(self, poses: CandidatePoses, prompt: str, seed: int | None = None) -> Motion:
        """Make a motion through the poses that were found for the same prompt."""
        return motion.run(poses, prompt, **self._given("motion", seed))

    def export(
        self,
        textured: TexturedAvatar,
        clip: Motion,
        shape: CoarseShape,
        prompts: Mapping[str, str],
        seed: int | None = None,
    ) -> ExportResult:
        """Make the rigged, textured, animated model with its pictures and report.

        prompts: what the results were made from, by `shape`, `appearance` and `motion`.
        """
        lineage = export.Lineage(preset=self.preset.name)
        return export.run(textured, clip, shape, prompts, lineage=lineage, **self._given("export", seed))

    def _given(self, stage: str, seed: int | None) -> dict[str, Any]:
        """What every stage is given besides its inputs: as runs of a catalog give it."""
        config = self.preset.stage(stage)
        drawn = draws_numbers(stage, config.model_dump())
        chosen = self.preset.seed if seed is None else seed
        return {"config": config, "seed": chosen if drawn else UNSEEDED, "context": self.context}


def _body(body: str | BodyModel, device: torch.device) -> BodyModel:
    if isinstance(body, str):
        return load_body(body, device)
    if body.name == EMBEDDED and body.digest != load_body(EMBEDDED).digest:
        raise BodyError(f"a body of your own is called {EMBEDDED!r}, as the embedded one; give it another name")
    return body
