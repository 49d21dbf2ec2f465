"""One preset, body and encoder together: how the texts of a row become keys and stage computations."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from avatar_core.stages.drawing import UNSEEDED, draws_numbers
from avatar_core.storage.keys import StageKeys, quoted
from tasks.digests import stage_weights
from tasks.execution import stage_module
from tasks.work import PROMPTS, STAGES, UPSTREAM, Avatar, StageWork

if TYPE_CHECKING:  # loading presets needs torch, reading a run's plan does not
    from avatar_core.config import Preset

MEMORY = 100_000
"""How many keys are remembered, for each of the stages whose inputs repeat from row to row."""
_READ = {stage: sorted(names) for stage, names in PROMPTS.items()}
_MADE = {stage: sorted(names) for stage, names in UPSTREAM.items()}
_REPEATED = frozenset({"coarse_shape", "implicit_init", "candidate_poses", "motion"})


@dataclass(frozen=True)
class Recipe:
    """What decides the results of rows beside their texts and seeds; plain data, so that it can lie in a file."""

    preset: str
    """Name of the preset that the settings came from."""
    seed: int
    """The seed of rows that give none."""
    body: str
    encoder: str
    config: Mapping[str, Mapping[str, Any]]
    """Each stage's settings, as its Config dumps them."""
    versions: Mapping[str, int]
    """Each stage's version."""
    weights: Mapping[str, Mapping[str, str]]
    """The digests of what each stage reads, by role."""

    @classmethod
    def of(cls, preset: "Preset", body: str, encoder: str) -> "Recipe":
        """Return the recipe of a preset with this installation's stages and weights; raises WeightsError."""
        config = {stage: preset.stage(stage).model_dump(mode="json") for stage in STAGES}
        return cls(preset.name, preset.seed, body, encoder, config, *_installed(config, body, encoder))

    def here(self) -> "Recipe":
        """Return the same settings with the versions and weights of this installation; raises WeightsError."""
        versions, weights = _installed(self.config, self.body, self.encoder)
        return Recipe(self.preset, self.seed, self.body, self.encoder, self.config, versions, weights)


def _installed(
    config: Mapping[str, Mapping[str, Any]], body: str, encoder: str
) -> tuple[dict[str, int], dict[str, dict[str, str]]]:
    versions = {stage: stage_module(stage).VERSION for stage in STAGES}
    weights = {stage: stage_weights(stage, config=config[stage], body=body, encoder=encoder) for stage in STAGES}
    return versions, weights


class Cook:
    """Makes keys and works by one recipe, quickly for many rows."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._keys = {
            stage: StageKeys(stage, recipe.versions[stage], recipe.config[stage], recipe.weights[stage])
            for stage in STAGES
        }
        self._seeded = {stage: draws_numbers(stage, recipe.config[stage]) for stage in STAGES}
        self._known: dict[str, dict[tuple[Any, ...], str]] = {stage: {} for stage in _REPEATED}
        self._steps = [
            (stage, self._known.get(stage), self._seeded[stage], _READ[stage], _MADE[stage]) for stage in STAGES
        ]

    def seed(self, stage: str, seed: int) -> int:
        """Return the seed that `stage` uses for a row of `seed`."""
        return seed if self._seeded[stage] else UNSEEDED

    def keys(self, texts: Mapping[str, str], seed: int) -> dict[str, str]:
        """Return the key of each stage for a row with these texts by column."""
        keys: dict[str, str] = {}
        for stage, known, seeded, reads, made in self._steps:
            inputs = (seed if seeded else UNSEEDED, *[texts[name] for name in reads], *[keys[name] for name in made])
            key = None if known is None else known.get(inputs)
            keys[stage] = key or self._key(stage, inputs)
        return keys

    def _key(self, stage: str, inputs: tuple[Any, ...]) -> str:
        """Return the key of a stage by its seed, texts and upstream keys, and remember it where it repeats."""
        reads, made, known = _READ[stage], _MADE[stage], self._known.get(stage)
        seed, texts, upstream = inputs[0], inputs[1 : 1 + len(reads)], inputs[1 + len(reads) :]
        prompts = ",".join([f'"{name}":{quoted(text)}' for name, text in zip(reads, texts)])
        results = ",".join([f'"{name}":"{key}"' for name, key in zip(made, upstream)])
        key = self._keys[stage].key_of_json(str(seed), f"{{{prompts}}}", f"{{{results}}}")
        if known is not None:
            if len(known) >= MEMORY:
                known.clear()
            known[inputs] = key
        return key

    def works(self, avatar: Avatar) -> dict[str, StageWork]:
        """Return the six computations of an avatar of this recipe, by stage, each after those that it reads."""
        texts = {"shape": avatar.shape, "appearance": avatar.appearance, "motion": avatar.motion}
        works: dict[str, StageWork] = {}
        for stage in STAGES:
            works[stage] = StageWork(
                stage=stage,
                key=avatar.keys[stage],
                seed=self.seed(stage, avatar.seed),
                prompts={name: texts[name] for name in PROMPTS[stage]},
                upstream={name: avatar.keys[name] for name in UPSTREAM[stage]},
                config=self.recipe.config[stage],
                preset=self.recipe.preset,
                body=self.recipe.body,
                encoder=self.recipe.encoder,
                keys={name: work.key for name, work in works.items()},
            )
        return works
