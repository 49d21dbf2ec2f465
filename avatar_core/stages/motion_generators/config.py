"""Settings of the stage motion."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from avatar_core.priors.choices import EMBEDDED, MotionPriorName, without_embedded
from avatar_core.rendering.backends import DEFAULT_RENDERER, RendererName


class Config(BaseModel):
    """Settings of the stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["interpolation", "baseline", "full"] = "full"
    """`interpolation` goes from candidate pose to candidate pose through the pose prior; `baseline` seeks a motion of
    the motion prior that passes through them; `full` also wants it to move and to look like the prompt."""
    prior: MotionPriorName = EMBEDDED
    """Whose motions: the embedded prior's, AvatarCLIP's, or those of a prior that you trained. All but the first are
    added with `avatars models add` (docs/priors.md). `interpolation` takes the prior of the candidate poses."""
    renderer: RendererName = DEFAULT_RENDERER
    """Who draws the grey bodies that are compared with the prompt: `warp`, this project's own renderer, or AvatarCLIP's
    `neural_renderer`, which you install and which needs a CUDA device (docs/paper.md)."""
    frames: int = Field(60, ge=30, le=1800)
    """Frames of each action at 30 a second. The motion prior makes 60 at a time: more come from windows that overlap
    and are optimised together."""
    search: bool = True
    """Whether `baseline` and `full` start from the motions of the codebook that look most like the prompt, else from
    random latents, as AvatarCLIP does."""
    steps: int = Field(60, ge=0)
    """Steps of Adam on the latent; none gives the start as it is."""
    starts: int = Field(2, ge=1)
    """Latents that are optimised side by side; the best result is kept."""
    search_frames: int = Field(3, ge=1)
    """Best key frames whose scores make an entry's score in the search."""
    search_pose_weight: float = Field(0.5, ge=0)
    """Weight of nearness to the candidate poses in the search, both in standard deviations over the codebook."""
    variety: float = Field(0.15, ge=0)
    """Spread of what each seed adds to the entries' scores in the search, in standard deviations over the codebook: so
    that other seeds start from other motions of those that fit about as well."""
    learning_rate: float = Field(0.02, gt=0)
    """Of Adam; the latent is of unit variance."""
    pose_weight: float = Field(1.0, ge=0)
    """Of the candidate poses: mean squared difference of 6D rotations at the nearest frame."""
    seam_weight: float = Field(1.0, ge=0)
    """Of the mean squared difference between overlapping windows where they overlap."""
    movement_weight: float = Field(0.01, ge=0)
    """Of the mean change from frame to frame, which `full` seeks."""
    clip_weight: float = Field(0.2, ge=0)
    """Of one minus the score of rendered frames for the prompt, in `full`."""
    prior_weight: float = Field(0.02, ge=0)
    """Of the latent's mean squared distance from where the search started it, or from the prior's mean."""
    clip_frames: int = Field(2, ge=1)
    """Frames of each start that are rendered in a step."""
    plant_feet: bool = True
    """Whether feet that stand are kept from sliding."""
    loop: bool = False
    """Whether the clip is cut and blended so that it can be played round and round."""
    checkpoint_every: int = Field(10, ge=1)
    """Steps between checkpoints."""

    @model_serializer(mode="wrap")
    def _without_unused(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A stage key digests what is written here: the embedded prior and renderer have no names in it.
        return without_embedded(write(self))
