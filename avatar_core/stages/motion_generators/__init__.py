"""Ways to make a motion of one action: `interpolation`, and latents of the motion prior (`baseline` and `full`)."""

from avatar_core.stages.motion_generators.base import Draft, MotionGenerator, Problem
from avatar_core.stages.motion_generators.config import Config
from avatar_core.stages.motion_generators.interpolation import Interpolation
from avatar_core.stages.motion_generators.latent import LatentMotion

__all__ = ["Config", "Draft", "MotionGenerator", "Problem", "make_generator"]


def make_generator(problem: Problem, config: Config, seed: int) -> MotionGenerator:
    """Return the generator that the settings ask for."""
    if config.method == "interpolation":
        return Interpolation(problem, config, seed)
    return LatentMotion(problem, config, seed)
