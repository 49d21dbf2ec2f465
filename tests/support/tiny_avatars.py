"""Small avatars made by the real stages with the `tiny` preset."""

from collections.abc import Mapping
from pathlib import Path

from avatar_core import Pipeline

PEOPLE: Mapping[str, Mapping[str, str]] = {
    "ada": {"shape": "a tall woman", "appearance": "a woman in a long red dress", "motion": "walking"},
    "bob": {"shape": "a fat man", "appearance": "a man in a green shirt and blue trousers", "motion": "waving"},
}
"""Prompts by avatar: a slim body under loose clothes, and a wide one."""


def make_avatar(prompts: Mapping[str, str], folder: Path, seed: int = 0) -> None:
    """Run all stages and write the avatar's files into a new folder."""
    result = Pipeline("tiny").make(**prompts, seed=seed)
    folder.mkdir(parents=True)
    result.save(folder)


def make_library(folder: Path) -> Path:
    """Make everybody of PEOPLE, laid out as a library's finished avatars."""
    for name, prompts in PEOPLE.items():
        make_avatar(prompts, folder / "avatars" / name)
    return folder
