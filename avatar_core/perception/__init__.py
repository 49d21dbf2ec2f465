"""The vision-language interface: images and texts as unit vectors in one space, and the prompts."""

from avatar_core.perception.checkpoint_folder import encoder_folder, folder_digest
from avatar_core.perception.encoder import Encoder, load_encoder
from avatar_core.perception.prompts import NEUTRAL_SHAPE_PROMPT, appearance_prompts, motion_prompt, shape_prompt

__all__ = [
    "NEUTRAL_SHAPE_PROMPT",
    "Encoder",
    "appearance_prompts",
    "encoder_folder",
    "folder_digest",
    "load_encoder",
    "motion_prompt",
    "shape_prompt",
]
