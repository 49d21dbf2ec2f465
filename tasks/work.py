"""What one stage computation is: a small, JSON-able description that any process can carry out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

STAGES = ("coarse_shape", "implicit_init", "candidate_poses", "motion", "texturing", "export")
"""All stages, each after those that it reads."""

UPSTREAM: Mapping[str, tuple[str, ...]] = {
    "coarse_shape": (),
    "implicit_init": ("coarse_shape",),
    "candidate_poses": (),
    "motion": ("candidate_poses",),
    "texturing": ("implicit_init",),
    "export": ("coarse_shape", "texturing", "motion"),
}
"""Whose results a stage reads: two branches that join in export."""

PROMPTS: Mapping[str, tuple[str, ...]] = {
    "coarse_shape": ("shape",),
    "implicit_init": (),
    "candidate_poses": ("motion",),
    "motion": ("motion",),
    "texturing": ("appearance",),
    "export": ("shape", "appearance", "motion"),
}
"""Which of a row's texts a stage reads."""


@dataclass(frozen=True)
class StageWork:
    """One stage's computation for one or more avatars; equal keys mean equal results."""

    stage: str
    key: str
    seed: int
    prompts: Mapping[str, str]
    """The texts that the stage reads, by column."""
    upstream: Mapping[str, str]
    """The keys of the results that the stage reads, by stage."""
    config: Mapping[str, Any]
    """The stage's settings, as its Config dumps them."""
    preset: str = ""
    """Name of the preset that the settings came from, for the report; no part of the key."""
    body: str = "anny"
    encoder: str = "bodyclip"
    keys: Mapping[str, str] = field(default_factory=dict)
    """The keys of every stage before this one, for the report of what a result was made of."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object of the fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "StageWork":
        """Return what `to_json` wrote."""
        return cls(**data)


@dataclass(frozen=True)
class Place:
    """Where a stage is computed and where its result goes."""

    library: str
    """A local folder or fsspec URL."""
    device: str = "cpu"
    """`cpu` or a CUDA device such as `cuda:0`."""
    run_id: str = ""
    """Which run this is, for the manifest."""


@dataclass(frozen=True)
class Avatar:
    """One accepted row of a catalog and the keys of its stages."""

    avatar_id: str
    line: int
    shape: str
    appearance: str
    motion: str
    seed: int
    preset: str
    body: str = "anny"
    catalog: str = ""
    """File name of the catalog, without its folder."""
    tags: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    """Key of each stage's result."""
    recipe: int = 0
    """Which of its run's recipes (preset, body, encoder) it follows."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object of the fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Avatar":
        """Return what `to_json` wrote."""
        return cls(**{**data, "tags": tuple(data["tags"])})


def dependents(stage: str) -> tuple[str, ...]:
    """Return the stages that read `stage`'s result, directly or through others, in order."""
    found = {stage}
    for candidate in STAGES:
        if found & set(UPSTREAM[candidate]):
            found.add(candidate)
    return tuple(name for name in STAGES if name in found and name != stage)
