"""Settings of the stage texturing."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field

from avatar_core.perception.precision import Precision
from avatar_core.stages.outfit_search import SearchConfig
from avatar_core.stages.texturing_film import FilmConfig
from avatar_core.stages.texturing_losses import LossConfig
from avatar_core.stages.texturing_plateau import PlateauConfig
from avatar_core.stages.texturing_recovery import RecoveryConfig
from avatar_core.stages.texturing_views import ViewConfig


class RateConfig(BaseModel):
    """Adam's learning rates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    color_table: float = Field(4e-3, ge=0)
    """Features under the learned colours."""
    geometry_table: float = Field(4e-3, ge=0)
    """Features under the learned distance."""
    heads: float = Field(2e-3, ge=0)
    """The small networks of both; a positional field's large ones."""
    palette: float = Field(4e-3, ge=0)
    """Region colours, as logits."""
    sharpness: float = Field(1e-3, ge=0)
    """NeuS's variance parameter."""


class Config(BaseModel):
    """Settings of the stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(80, ge=0)
    """Optimisation steps."""
    views_per_step: int = Field(6, ge=1)
    """Views rendered in a step; each is seen with and without texture."""
    resolutions: tuple[int, ...] = (64, 96)
    """Edge of the views in pixels over the course of the run, in equal parts."""
    intervals: int = Field(8, ge=2)
    """Samples a ray."""
    initial_sharpness: float = Field(600.0, gt=0)
    """NeuS's s at the start, per metre."""
    outfit_search: bool = True
    """Whether to search for garments and their colours before the gradient steps."""
    search: SearchConfig = SearchConfig()
    """Effort of that search."""
    views: ViewConfig = ViewConfig()
    """Where views are taken from."""
    guidance_dtype: Precision = "auto"
    """What the image-text model computes in when it guides: bfloat16 is several times faster on a GPU. auto: that on a
    CUDA device, float32 on a CPU. Scores are always computed in float32."""
    losses: LossConfig = LossConfig()
    """What is minimised."""
    rates: RateConfig = RateConfig()
    """Learning rates, before warm-up and cosine decay."""
    warmup_steps: int = Field(10, ge=1)
    """Steps over which the rates rise to their full value."""
    final_rate: float = Field(0.1, ge=0, le=1)
    """Rates at the end, as a part of the full ones."""
    first_levels: int = Field(3, ge=1)
    """Grid levels that learn from the start; finer ones fade in one after another."""
    full_detail_at: float = Field(0.6, gt=0, le=1)
    """Part of the run after which all levels learn."""
    checkpoint_every: int = Field(20, ge=1)
    """Steps between checkpoints."""
    score_size: int = Field(128, ge=16)
    """Edge in pixels of the views that are scored before and after."""
    film: FilmConfig = FilmConfig()
    """Pictures taken on the way, for the film of the optimisation."""
    recovery: RecoveryConfig = RecoveryConfig()
    """What happens when a step fails."""
    plateau: PlateauConfig = PlateauConfig()
    """When the run ends before its last step."""

    def resolution_at(self, done: float) -> int:
        """Return the views' edge in pixels at the part `done` in [0, 1) of the run."""
        return self.resolutions[min(int(done * len(self.resolutions)), len(self.resolutions) - 1)]

    def full_detail_from(self) -> int:
        """Return the step after which views have their last resolution and all grid levels learn."""
        return math.ceil(max(self.full_detail_at, 1 - 1 / len(self.resolutions)) * self.steps)
