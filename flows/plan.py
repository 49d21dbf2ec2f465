"""From catalog rows to the stage computations that they need, each unique one once."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from avatar_core.catalog import CatalogRow, RejectedRow
from avatar_core.config import Preset, load_preset
from avatar_core.storage import stage_key
from tasks.digests import stage_weights
from tasks.execution import stage_module
from tasks.work import PROMPTS, STAGES, UPSTREAM, Avatar, StageWork, draws_numbers

UNSEEDED = 0


@dataclass(frozen=True)
class PlanOptions:
    """What decides how rows become works, beside the rows themselves."""

    preset: str
    """Preset of rows that name none: a packaged one or a path."""
    encoder: str = "bodyclip"
    body: str = "anny"
    """Body of rows that name none."""
    catalog: str = ""
    """Name of the catalog, for the manifest."""


@dataclass
class Plan:
    """Avatars in catalog order, the computations that they need, and the rows that were turned away."""

    avatars: list[Avatar] = field(default_factory=list)
    works: dict[str, StageWork] = field(default_factory=dict)
    """By key; each after those that it reads."""
    rejected: list[RejectedRow] = field(default_factory=list)

    def add(self, avatar: Avatar, works: Mapping[str, StageWork]) -> None:
        """Add one accepted row with its works by stage."""
        for work in works.values():
            self.works.setdefault(work.key, work)
        self.avatars.append(avatar)

    def count(self, stage: str) -> int:
        """Return how many different computations of `stage` the plan needs."""
        return sum(work.stage == stage for work in self.works.values())

    def encode(self) -> bytes:
        """Return the accepted part of the plan as UTF-8 JSON."""
        content = {
            "avatars": [avatar.to_json() for avatar in self.avatars],
            "works": [work.to_json() for work in self.works.values()],
        }
        return json.dumps(content, indent=1).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Plan":
        """Return the plan that `encode` wrote, without rejections."""
        content = json.loads(data)
        avatars = [Avatar.from_json(item) for item in content["avatars"]]
        works = [StageWork.from_json(item) for item in content["works"]]
        return cls(avatars=avatars, works={work.key: work for work in works})


def plan_catalog(
    rows: Iterable[CatalogRow | RejectedRow],
    options: PlanOptions,
    *,
    only: Collection[str] = (),
    limit: int | None = None,
) -> Plan:
    """Plan the accepted rows: those with the ids `only` (empty: all), and reading no further than `limit` of them.

    Raises ConfigError when a preset does not load, and WeightsError when weights are missing.
    """
    plan = Plan()
    presets = {options.preset: load_preset(options.preset)}
    for row in rows:
        if only and row.id not in only:
            continue
        if isinstance(row, RejectedRow):
            plan.rejected.append(row)
            continue
        name, body = row.preset or options.preset, row.body or options.body
        if name not in presets:
            presets[name] = load_preset(name)
        preset = presets[name]
        seed = preset.seed if row.seed is None else row.seed
        works = stage_works(row, preset, seed=seed, body=body, encoder=options.encoder)
        plan.add(
            Avatar(
                avatar_id=row.id,
                line=row.line,
                shape=row.shape,
                appearance=row.appearance,
                motion=row.motion,
                seed=seed,
                preset=preset.name,
                body=body,
                catalog=options.catalog,
                tags=tuple(row.tags),
                extra=dict(row.extra),
                keys={stage: work.key for stage, work in works.items()},
            ),
            works,
        )
        if len(plan.avatars) == limit:
            break
    if only:  # a second row with the id of a good one does not stand in the good one's way
        accepted = {avatar.avatar_id for avatar in plan.avatars}
        plan.rejected = [row for row in plan.rejected if row.id not in accepted]
    return plan


def stage_works(row: CatalogRow, preset: Preset, *, seed: int, body: str, encoder: str) -> dict[str, StageWork]:
    """Return the six computations of one row, by stage, with keys that digest all that decides their results."""
    texts = {"shape": row.shape, "appearance": row.appearance, "motion": row.motion}
    works: dict[str, StageWork] = {}
    for stage in STAGES:
        config = preset.stage(stage).model_dump(mode="json")
        prompts = {name: texts[name] for name in PROMPTS[stage]}
        upstream = {name: works[name].key for name in UPSTREAM[stage]}
        stage_seed = seed if draws_numbers(stage, config) else UNSEEDED
        key = stage_key(
            stage=stage,
            version=stage_module(stage).VERSION,
            config=config,
            weights=stage_weights(stage, config=config, body=body, encoder=encoder),
            seed=stage_seed,
            prompts=prompts,
            upstream=upstream,
        )
        works[stage] = StageWork(
            stage=stage,
            key=key,
            seed=stage_seed,
            prompts=prompts,
            upstream=upstream,
            config=config,
            preset=preset.name,
            body=body,
            encoder=encoder,
            keys={name: work.key for name, work in works.items()},
        )
    return works
