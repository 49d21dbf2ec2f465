"""Small avatars made by the real stages with the `tiny` preset."""

from collections.abc import Mapping
from pathlib import Path

from avatar_core.bodies import load_body
from avatar_core.config import load_preset
from avatar_core.perception.encoder import load_encoder
from avatar_core.stages import candidate_poses, coarse_shape, export, implicit_init, motion, texturing
from avatar_core.stages.base import StageContext

PEOPLE: Mapping[str, Mapping[str, str]] = {
    "ada": {"shape": "a tall woman", "appearance": "a woman in a long red dress", "motion": "walking"},
    "bob": {"shape": "a fat man", "appearance": "a man in a green shirt and blue trousers", "motion": "waving"},
}
"""Prompts by avatar: a slim body under loose clothes, and a wide one."""


def make_avatar(prompts: Mapping[str, str], folder: Path, seed: int = 0) -> None:
    """Run all stages and write the avatar's files into a new folder."""
    preset = load_preset("tiny")
    context = StageContext(load_body(), load_encoder("bodyclip"))
    shape = coarse_shape.run(prompts["shape"], config=preset.coarse_shape, seed=seed, context=context)
    bare = implicit_init.run(shape, config=preset.implicit_init, seed=seed, context=context)
    textured = texturing.run(bare, prompts["appearance"], config=preset.texturing, seed=seed, context=context)
    poses = candidate_poses.run(prompts["motion"], config=preset.candidate_poses, seed=seed, context=context)
    clip = motion.run(poses, prompts["motion"], config=preset.motion, seed=seed, context=context)
    result = export.run(
        textured, clip, shape, dict(prompts), config=preset.export, seed=seed, context=context,
        lineage=export.Lineage(preset="tiny", keys={"export": "ab" * 16}),
    )  # fmt: skip
    folder.mkdir(parents=True)
    result.save(folder)


def make_library(folder: Path) -> Path:
    """Make everybody of PEOPLE, laid out as a library's finished avatars."""
    for name, prompts in PEOPLE.items():
        make_avatar(prompts, folder / "avatars" / name)
    return folder
