"""Stage coarse_shape: the codebook body that differs from the neutral one as the prompt does from neutral words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from avatar_core.documents import read_json
from avatar_core.errors import ArtifactError
from avatar_core.perception.prompts import shape_prompt
from avatar_core.priors.choices import (
    EMBEDDED,
    BroughtFacts,
    ShapePriorName,
    brought_facts,
    load_shapes,
    read_facts,
    without_embedded,
)
from avatar_core.priors.features import codebook_features, neutral_body
from avatar_core.priors.scoring import soft_top
from avatar_core.priors.view_encoders import load_view_encoder, shape_views
from avatar_core.priors.views import GreyViews
from avatar_core.rendering.backends import DEFAULT_RENDERER, RendererName
from avatar_core.stages.base import StageContext

NAME = "coarse_shape"
VERSION = 2


class Config(BaseModel):
    """Settings of the stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prior: ShapePriorName = EMBEDDED
    """Whose shapes are searched: those of the body itself, or AvatarCLIP's, which your neutral SMPL makes. The second
    are added with `avatars models add` (docs/priors.md)."""
    renderer: RendererName = DEFAULT_RENDERER
    """Who draws the grey bodies that are compared with the prompt: `warp`, this project's own renderer, or AvatarCLIP's
    `neural_renderer`, which you install and which needs a CUDA device (docs/paper.md)."""
    averaged: int = Field(12, ge=1)
    """Best entries whose shape vectors are averaged; one gives AvatarCLIP's argmax."""
    temperature: float = Field(0.02, ge=0)
    """Difference of score at which an entry's weight in that average falls by e."""
    kept: int = Field(10, ge=1)
    """Best entries that are named in the result."""

    @model_serializer(mode="wrap")
    def _without_embedded(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A stage key digests what is written here: the embedded prior and renderer have no names in it.
        return without_embedded(write(self))


@dataclass(frozen=True, eq=False)
class CoarseShape:
    """A body that fits a shape prompt."""

    betas: Tensor
    """(S,) shape vector."""
    score: float
    """How well the shaped body's pictures fit the prompt, -1 to 1."""
    baseline_score: float
    """The same of the neutral body."""
    top: tuple[int, ...]
    """Codebook entries, best first."""
    top_scores: tuple[float, ...]
    """Their scores in the search, -1 to 1: AvatarCLIP's direction score."""
    brought: BroughtFacts = ()
    """Name, digest and licence of each prior that its user brought."""

    def save(self, folder: Path) -> None:
        """Write the shape into an existing folder."""
        save_file({"betas": self.betas.cpu().contiguous()}, folder / "shape.safetensors")
        facts = {
            "score": self.score,
            "baseline_score": self.baseline_score,
            "top": self.top,
            "top_scores": self.top_scores,
        } | ({"brought": self.brought} if self.brought else {})
        (folder / "shape.json").write_text(json.dumps(facts, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> CoarseShape:
        """Read what `save` wrote; raises ArtifactError when it is missing or damaged."""
        try:
            betas = load_file(folder / "shape.safetensors")["betas"]
            facts = read_json((folder / "shape.json").read_text(encoding="utf-8"))
            return cls(
                betas=betas,
                score=float(facts["score"]),
                baseline_score=float(facts["baseline_score"]),
                top=tuple(facts["top"]),
                top_scores=tuple(facts["top_scores"]),
                brought=read_facts(facts),
            )
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ArtifactError(f"{folder} holds no coarse shape ({error}); run coarse_shape again") from error


def run(prompt: str, *, config: Config, seed: int, context: StageContext) -> CoarseShape:
    """Search the shape codebook for `prompt`, as "a tall and fat man".

    A prompt that says little about a shape gives one between the neutral body's and what was found. The search is
    exact, so that `seed` decides nothing.
    """
    body, encoder, renderer = context.body, context.encoder, config.renderer
    book = load_shapes(body, config.prior)
    features = codebook_features(
        "shape", encoder, body, prior=config.prior, renderer=renderer, progress=context.progress
    )
    target = encoder.encode_texts([shape_prompt(prompt)])[0].to(features)
    view = load_view_encoder("shape", encoder, body, renderer)
    scores = view.search(features, target).cpu()
    index, weights = soft_top(scores, config.averaged, config.temperature)
    betas = (weights[:, None] * book.betas[index]).sum(0)
    betas = torch.lerp(body.neutral_shape.cpu(), betas, believed(float(scores.max()), view.certainty))
    views = GreyViews(body, view.image_size, renderer=renderer)
    found = [shape_views(views, shaped) for shaped in (body.shape(betas.to(body.template)), neutral_body(body))]
    with torch.no_grad():
        score, baseline = view.compare(view.encode(torch.stack(found)).to(features), target).tolist()
    best = scores.topk(min(config.kept, len(scores)))
    context.progress(1, 1, f"score {float(best.values[0]):.3f}")
    return CoarseShape(
        betas=betas,
        score=score,
        baseline_score=baseline,
        top=tuple(best.indices.tolist()),
        top_scores=tuple(best.values.tolist()),
        brought=brought_facts(NAME, config.model_dump()),
    )


def believed(score: float, certainty: tuple[float, float]) -> float:
    """How far, 0 to 1, to go from the neutral body to one whose score is `score`."""
    nothing, enough = certainty
    if score >= enough:
        return 1.0
    return max(0.0, (score - nothing) / (enough - nothing))
