"""Reads motion clips in the documented layout (clips.npz beside clips.csv) and names what a pose shows."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avatar_core.errors import ConfigError

_PERSON = "a person is "


@dataclass(frozen=True)
class PoseLabel:
    """An action label, the verb phrases of its captions and the family of alike actions it belongs to."""

    name: str
    phrases: tuple[str, ...]
    family: str


@dataclass(frozen=True)
class PoseFrames:
    """All frames of all clips, end to end."""

    poses: np.ndarray  # (N, 22, 3) float32 axis-angle relative to the parent joint, radians
    label_of_frame: np.ndarray  # (N,) int64 index into labels
    labels: tuple[PoseLabel, ...]


# The first keyword that a label contains names its family: alike poses are no negatives of each other.
_FAMILY_WORDS: tuple[tuple[str, str], ...] = (
    ("bowling", "throwing"), ("throwing", "throwing"), ("barbell", "lifting"), ("weights", "lifting"),
    ("flying", "flying"), ("pray", "praying"), ("begging", "praying"), ("kneel", "kneeling"),
    ("raising both", "arms up"), ("surrender", "arms up"), ("cheer", "arms up"), ("excited", "arms up"),
    ("both arms", "arms up"), ("waving", "waving"), ("eating", "eating"), ("drinking", "eating"),
    ("phone", "phoning"), ("sweeping", "sweeping"), ("mopping", "sweeping"), ("aiming", "aiming"),
    ("typing", "typing"), ("piano", "typing"), ("sleeping", "lying"), ("fainting", "lying"),
    ("zombie", "zombie"), ("jogging", "running"), ("running", "running"), ("ball", "ball"),
    ("sitting", "sitting"), ("standing up", "sitting"), ("walking", "walking"), ("sneaking", "walking"),
    ("climb", "climbing"), ("bar", "climbing"), ("holding on", "climbing"), ("straight arms", "climbing"),
    ("lowering", "climbing"), ("jack", "jacks"), ("jump", "jumping"), ("hopping", "jumping"),
    ("leap", "jumping"), ("flip", "flipping"), ("roll", "flipping"), ("cartwheel", "flipping"),
    ("kick", "kicking"), ("punch", "punching"), ("karate", "karate"), ("guard", "karate"),
    ("sword", "sword"), ("breakdanc", "breakdancing"), ("pirouette", "dancing"), ("dance", "dancing"),
    ("dancing", "dancing"), ("spin", "dancing"), ("washing", "washing"), ("standing", "standing"),
    ("turning", "standing"), ("bow", "bending"), ("bend", "bending"), ("bent", "bending"),
    ("toes", "bending"), ("curling", "bending"), ("squat", "squatting"), ("crouch", "squatting"),
    ("lung", "lunging"), ("balanc", "balancing"), ("lying", "lying"), ("crawl", "crawling"),
)  # fmt: skip


def pose_family(label: str) -> str:
    """Return the family of alike actions that `label` belongs to (itself where none is known)."""
    return next((family for word, family in _FAMILY_WORDS if word in label), label)


REST_LABELS: tuple[PoseLabel, ...] = (
    PoseLabel("A-pose", ("standing in an a-pose", "standing", "standing with the arms down"), "standing"),
    PoseLabel("T-pose", ("standing in a t-pose", "standing with the arms stretched out to the sides"), "t-pose"),
)


def read_pose_frames(folder: Path) -> PoseFrames:
    """Read every frame of the clips in `folder`; raises ConfigError when the layout is not there."""
    try:
        with open(folder / "clips.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        with np.load(folder / "clips.npz", allow_pickle=False) as data:
            poses = data["poses"].astype(np.float32)
            starts, lengths = data["clip_start"], data["clip_len"]
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"motion folder {folder}: {error}; expected clips.npz and clips.csv") from error
    phrases: dict[str, set[str]] = {}
    for row in rows:
        said = (caption.removeprefix(_PERSON) for caption in row["captions"].split("|"))
        phrases.setdefault(row["label"], {row["label"]}).update(said)
    names = sorted(phrases)
    labels = tuple(PoseLabel(name, tuple(sorted(phrases[name])), pose_family(name)) for name in names)
    label_of_frame = np.zeros(len(poses), dtype=np.int64)
    for row, start, length in zip(rows, starts, lengths):
        label_of_frame[start : start + length] = names.index(row["label"])
    return PoseFrames(poses, label_of_frame, labels)
