"""The method "codebook": the entries of the pose codebook that look most like the prompt (AvatarCLIP's default)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from avatar_core.priors.choices import EMBEDDED
from avatar_core.stages.base import StageContext
from avatar_core.stages.pose_generators.base import PosePrior, ScoredPoses


class Config(BaseModel):
    """Settings of the method."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    top: int = Field(40, ge=1)
    """Best entries by their stored features that are scored again as pictures."""


class CodebookSearch:
    """Exact: no draw is made, so that the seed decides nothing."""

    def __init__(self, config: Config, prior: str = EMBEDDED) -> None:
        """prior: whose poses (see `priors.choices`)."""
        self.config, self.prior = config, prior

    def generate(self, prompt: str, *, seed: int, context: StageContext) -> ScoredPoses:
        """Rank all entries by one matrix product, then score the best ones by their views."""
        prior = PosePrior(prompt, context, self.prior)
        looks = prior.looks(context)
        entries = looks.topk(min(self.config.top, len(looks))).indices
        rotations = prior.rotations(entries)
        return ScoredPoses(rotations, prior.score(rotations), entries)
