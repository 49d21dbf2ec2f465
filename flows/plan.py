"""From catalog rows to avatars with keys, and from those to the computations that they need, each unique one once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from avatar_core.catalog import CatalogRow
from avatar_core.config import Preset, load_preset
from flows.recipe import Cook, Recipe
from tasks.work import Avatar, StageWork


@dataclass(frozen=True)
class PlanOptions:
    """What decides how rows become avatars, beside the rows themselves."""

    preset: str
    """Preset of rows that name none: a packaged one or a path."""
    encoder: str = "bodyclip"
    body: str | None = None
    """Body of rows that name none; None: the preset's."""
    catalog: str = ""
    """Name of the catalog, for the manifest."""
    recipes: tuple[Recipe, ...] = ()
    """How rows of these presets and bodies are made, whatever the presets of these names say by now."""


class Planner:
    """Turns rows into avatars, by a recipe for each preset and body that occurs."""

    def __init__(self, options: PlanOptions) -> None:
        """Raises ConfigError when the options' preset does not load or the body is not here, and WeightsError when
        weights are missing."""
        self.options = options
        self._presets: dict[str, Preset] = {}
        self._numbers: dict[tuple[str, str | None], int] = {}
        self.cooks: list[Cook] = []
        for recipe in options.recipes:
            self._number(recipe.preset, recipe.body)
        if not options.recipes:
            self._number(options.preset, options.body)

    def avatar(self, row: CatalogRow) -> Avatar:
        """Return the avatar of an accepted row; raises ConfigError when its preset does not load."""
        number = self._number(row.preset or self.options.preset, row.body or self.options.body)
        cook = self.cooks[number]
        seed = cook.recipe.seed if row.seed is None else row.seed
        texts = {"shape": row.shape, "appearance": row.appearance, "motion": row.motion}
        return Avatar(
            avatar_id=row.id,
            line=row.line,
            **texts,
            seed=seed,
            preset=cook.recipe.preset,
            body=cook.recipe.body,
            catalog=self.options.catalog,
            tags=tuple(row.tags),
            extra=dict(row.extra),
            keys=cook.keys(texts, seed),
            recipe=number,
        )

    @property
    def recipes(self) -> list[Recipe]:
        """The recipes that were needed, by the numbers that avatars have."""
        return [cook.recipe for cook in self.cooks]

    def _number(self, preset: str, body: str | None) -> int:
        number = self._numbers.get((preset, body))
        if number is None:
            if body is None:
                number = self._number(preset, self._preset(preset).body)
            else:
                number = len(self.cooks)
                self.cooks.append(Cook(self._recipe(preset, body)))
            self._numbers[preset, body] = number
        return number

    def _recipe(self, preset: str, body: str) -> Recipe:
        for recipe in self.options.recipes:
            if (recipe.preset, recipe.body) == (preset, body):
                return recipe
        return Recipe.of(self._preset(preset), body, self.options.encoder)

    def _preset(self, name: str) -> Preset:
        if name not in self._presets:
            self._presets[name] = load_preset(name)
        return self._presets[name]


@dataclass
class Plan:
    """Avatars in catalog order and the computations that they need."""

    avatars: list[Avatar] = field(default_factory=list)
    works: dict[str, StageWork] = field(default_factory=dict)
    """By key; each after those that it reads."""

    @classmethod
    def of(cls, avatars: Iterable[Avatar], cooks: list[Cook]) -> "Plan":
        """Plan the avatars, with the cooks by the numbers that avatars have."""
        plan = cls()
        for avatar in avatars:
            plan.add(avatar, cooks[avatar.recipe].works(avatar))
        return plan

    def add(self, avatar: Avatar, works: Mapping[str, StageWork]) -> None:
        """Add one avatar with its works by stage."""
        for work in works.values():
            self.works.setdefault(work.key, work)
        self.avatars.append(avatar)

    def count(self, stage: str) -> int:
        """Return how many different computations of `stage` the plan needs."""
        return sum(work.stage == stage for work in self.works.values())
