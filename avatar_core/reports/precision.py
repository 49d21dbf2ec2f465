"""R-precision of a library: whether an avatar's views find their own prompt among those of others, asked the judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from avatar_core.export.view_features import ViewFeatures
from avatar_core.perception.encoder import Encoder
from avatar_core.perception.prompts import appearance_prompts
from avatar_core.perception.retrieval import fits, rank

KINDS = ("body", "face", "back")
_BATCH = 256
"""Texts that are encoded at once."""


@dataclass(frozen=True)
class Precision:
    """What came of it."""

    judge: str
    """The encoder that was asked."""
    avatars: int
    """How many were ranked."""
    prompts: int
    """Among how many different prompts each was ranked."""
    at_1: float
    """Part of the avatars whose own prompt comes first."""
    at_5: float
    """Part of them whose own prompt is among the first five."""
    mean_rank: float
    missed: tuple[str, ...]
    """Ids of avatars whose own prompt comes in the worst places, the worst first."""

    @property
    def chance(self) -> float:
        """What guessing would reach at the first place."""
        return 1 / self.prompts


@dataclass
class Candidates:
    """The avatars that are ranked, as far as they can be."""

    features: dict[str, tuple[str, ViewFeatures]] = field(default_factory=dict)
    """Prompt and features by id."""
    left_out: Counter[str] = field(default_factory=Counter)
    """How many could not be ranked, by the reason."""

    def add(self, avatar_id: str, prompt: str, found: ViewFeatures) -> None:
        """Take an avatar in, or count why not."""
        seen = found.encoders.get("judge")
        if seen is None:
            self.left_out["the second encoder guided them"] += 1
        elif not found.kinds or not set(found.kinds) <= set(KINDS):
            self.left_out["their views are of another kind"] += 1
        else:
            kept = ViewFeatures(found.kinds, found.sex, {"judge": seen})  # the guide's features would fill memory
            self.features[avatar_id] = (prompt, kept)

    def keep_those_of(self, judge: Encoder) -> None:
        """Leave those out that another version of the judge has looked at, and count them."""
        for avatar_id, (_, found) in list(self.features.items()):
            seen = found.encoders["judge"]
            if seen.digest != judge.digest or seen.views.shape[1] != judge.dim:
                del self.features[avatar_id]
                self.left_out["another version of the second encoder looked at them"] += 1


@torch.no_grad()
def precision(candidates: Candidates, judge: Encoder, shown: int = 20) -> Precision | None:
    """Rank each avatar's own prompt among the different prompts of all candidates; None of less than two prompts.

    Prompts that name clothes alone are completed with the word for the ranked avatar's sex, as when it was guided.
    """
    prompts = list(dict.fromkeys(prompt for prompt, _ in candidates.features.values()))
    if len(prompts) < 2:
        return None
    place = {prompt: number for number, prompt in enumerate(prompts)}
    texts: dict[str | None, Mapping[str, Tensor]] = {}
    ranks: dict[str, int] = {}
    for avatar_id, (prompt, found) in candidates.features.items():
        if found.sex not in texts:
            texts[found.sex] = _encoded(prompts, found.sex, judge)
        views = found.encoders["judge"].views.to(judge.device)
        ranks[avatar_id] = rank(fits(views, found.kinds, texts[found.sex]), place[prompt])
    worst = sorted((one for one in ranks if ranks[one] > 1), key=lambda one: (-ranks[one], one))
    total = len(ranks)
    return Precision(
        judge=judge.name,
        avatars=total,
        prompts=len(prompts),
        at_1=sum(one == 1 for one in ranks.values()) / total,
        at_5=sum(one <= 5 for one in ranks.values()) / total,
        mean_rank=sum(ranks.values()) / total,
        missed=tuple(worst[:shown]),
    )


def _encoded(prompts: list[str], sex: str | None, judge: Encoder) -> dict[str, Tensor]:
    """The features (P, D) of the prompts, by kind of view."""
    written = [appearance_prompts(prompt, sex) for prompt in prompts]
    return {
        kind: torch.cat(
            [
                judge.encode_texts([one[kind] for one in written[start : start + _BATCH]])
                for start in range(0, len(written), _BATCH)
            ]
        )
        for kind in KINDS
    }
