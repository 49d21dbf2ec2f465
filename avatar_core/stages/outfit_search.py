"""Search for the outfit that an image-text model takes for the prompt: discrete, before any gradient.

Gradients through a small image-text model paint speckle that only the model can read. Choosing among whole
garments cannot: every candidate is a plausible look. The search renders flat-coloured views and improves one
slot at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from avatar_core.bodies.base import BodyModel, ShapedBody
from avatar_core.perception.encoder import Encoder
from avatar_core.stages.color_words import colors_told
from avatar_core.stages.outfit import (
    HAIR_COLORS,
    REPLACED_BY_ONE_PIECE,
    SKIN_COLORS,
    SLOTS,
    Outfit,
    Worn,
    colors_of,
    freedoms,
    memberships,
    shapes,
    thicknesses,
    visible,
)
from avatar_core.stages.outfit_views import OutfitViews
from avatar_core.stages.texturing_views import Subject
from avatar_core.stages.wearable_words import named_in
from avatar_core.stages.wearables import INDEX, WEARABLES, Coverage, Wearable
from avatar_core.stages.worn_volumes import worn_volumes
from avatar_core.transfers import sent

REQUIRED = ("skin", "bottom")
"""Slots that are never empty."""
STAPLES = ("top", "bottom", "full", "feet", "hair", "skin")
"""Slots that random starts fill, and that are improved first; the others are worn only for a clear gain."""
UNUSUAL = 5.0
"""Margins that a skin or hair colour must gain which is not natural."""
NAMED = 2.0
"""Margins that what the prompt names may lack: flat-coloured views show what a thing is called only faintly."""
COVERING = 3.0
"""Margins that headgear must gain where the prompt speaks of the hair that it would hide."""
TOLD = 3.0
"""Margins that a colour may lack which the prompt gives to what is worn, for the same reason."""
COMMON: dict[str, tuple[str, ...]] = {
    "hair": ("black", "brown", "blonde"),
    "feet": ("black", "brown", "tan", "white", "grey", "dark grey"),
}
"""Colours that most people have; any other must gain a margin, so that what a prompt leaves open stays plausible."""
SHADES = ("dark red", "lime", "dark green", "light blue", "navy", "lilac", "magenta", "tan", "dark grey")
"""Shades of colours that have a plain form; one must gain a margin, as a word without a shade is true of it too."""
USUAL = ("top", "feet", "hair")
"""Slots that most people have something in; leaving one empty must gain a margin."""
UNLIKELY: dict[str | None, tuple[str, ...]] = {"man": ("long hair",), "woman": ("short hair", "mustache", "beard")}
"""Hair of the fewer, by the sex that the body shows; it must gain a margin."""
SCREENING: dict[str, list[int]] = {
    "body": [0, 3],
    "hair": [0, 4],
    "beard": [0, 4],
    "head": [0, 4],
    "face": [0, 4],
    "emblem": [0, 1],
    "neck": [0, 1],
}
"""Views (of OutfitViews) on which all candidates of a slot are compared; "body" for slots not named."""


class SearchConfig(BaseModel):
    """Effort of the search."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int | None = Field(None, ge=16)
    """Edge of the rendered views in pixels; None takes the encoder's own."""
    starts: int = Field(64, ge=1)
    """Random outfits that are scored for a start."""
    kept_starts: int = Field(1, ge=1)
    """Best of them that are improved."""
    passes: int = Field(2, ge=1)
    """Rounds over all slots."""
    finalists: int = Field(4, ge=1)
    """Candidates of a slot that are compared on all views."""
    margin: float = Field(0.3, ge=0)
    """Gain that an accessory or a skirt must bring, and several times which a skin or hair colour must that is not
    natural; in standard deviations of the starts' scores, so that it means the same for every encoder."""
    batch: int = Field(64, ge=1)
    """Images encoded at once."""


@dataclass(frozen=True, eq=False)
class DressedRegions:
    """The chosen outfit as regions of an avatar's base layer."""

    outfit: Outfit
    regions: tuple[str, ...]  # (R) names of the wearables
    membership: Tensor  # (V, R) rows sum to one
    colors: Tensor  # (R, 3) in [0, 1]
    thickness: Tensor  # (R,) metres
    volumes: Tensor  # (M, 12) what stands away from the body, see garment_volume
    freedom: Tensor  # (R, 2) how far guidance may move each colour
    score: float
    evaluations: int

    def summary(self) -> dict[str, Any]:
        """Return what a report tells of the search."""
        return {"worn": self.outfit.summary(), "score": self.score, "images": self.evaluations}


def search_outfit(
    body: BodyModel,
    shaped: ShapedBody,
    subject: Subject,
    prompt: str,
    targets: Tensor,
    encoder: Encoder,
    config: SearchConfig,
    generator: torch.Generator,
    progress: Callable[[int, int, str], None],
) -> DressedRegions:
    """Find the outfit whose views are closest to the prompts.

    Args:
        body: the body model, for where garments lie.
        shaped: the body to dress.
        subject: its framing.
        prompt: the appearance; what it names need not gain a margin.
        targets: (4, D) unit text features of the prompts, in the order of PROMPT_KINDS.
        encoder: scores the views.
        config: effort.
        generator: of the random starts, lights and backgrounds.
        progress: told the slot that is searched.
    """
    search = _Search(body, shaped, subject, prompt, targets, encoder, config, generator, progress)
    outfit, score = search.run()
    outfit = visible(outfit, search.coverage)
    layers = outfit.layers()
    return DressedRegions(
        outfit,
        tuple(WEARABLES[index].name for index, _ in layers),
        memberships(search.coverage, layers),
        torch.tensor([rgb for _, rgb in layers]),
        thicknesses(layers),
        worn_volumes(body, shaped, shapes(layers)),
        freedoms(outfit),
        score,
        search.evaluations,
    )


def options(named: frozenset[str], absent: frozenset[str]) -> dict[str, list[str]]:
    """Return the wearables of each slot that a search may try for a prompt that names some and denies others.

    A special kind ("pointed hat") is worn only where it is named, and then in the place of the plain one. Where a top
    or a bottom is named and nothing in one piece, nothing in one piece takes their place.
    """
    replaced = {wearable.like for wearable in WEARABLES if wearable.name in named} - named
    denied = absent | {wearable.name for wearable in WEARABLES if wearable.like in absent}
    out = denied | replaced
    in_slots = {wearable.slot for wearable in WEARABLES if wearable.name in named}
    if in_slots & set(REPLACED_BY_ONE_PIECE) and "full" not in in_slots:
        out |= {wearable.name for wearable in WEARABLES if wearable.slot == "full"}

    def allowed(wearable: Wearable) -> bool:
        return wearable.slot == "skin" or (
            wearable.name not in out and (wearable.like is None or wearable.name in named)
        )

    return {slot: [one.name for one in WEARABLES if one.slot == slot and allowed(one)] for slot in SLOTS}


class _Search:
    def __init__(self, body, shaped, subject, prompt, targets, encoder, config, generator, progress) -> None:
        self.coverage = Coverage(body)
        size = config.size or encoder.image_size
        self.views = OutfitViews(
            shaped.vertices, body.faces, self.coverage, subject, size, generator, targets.device
        )
        self.targets = targets[self.views.prompt]
        self.encoder, self.config, self.generator, self.progress = encoder, config, generator, progress
        self.every_view = list(range(len(self.views.prompt)))
        self.sex = subject.sex
        self.prompt = prompt.lower()
        self.named, absent = named_in(prompt)
        self.told = colors_told(prompt)
        self.hair_told = re.search(r"\bhair(?:ed)?\b|\bafro\b", self.prompt) is not None
        self.options = options(self.named, absent)
        self.evaluations = 0
        self.margin = 0.0

    def run(self) -> tuple[Outfit, float]:
        """Improve the best random starts and return the best result."""
        self.progress(0, 1, "outfit: starts")
        starts = [self._random_outfit() for _ in range(self.config.starts)]
        screened = self._scores(starts, SCREENING["body"])
        if len(starts) > 1:
            self.margin = self.config.margin * float(screened.std())
        promising = screened.argsort(descending=True, stable=True)[: 4 * self.config.kept_starts].tolist()
        scores = self._scores([starts[index] for index in promising], self.every_view)
        best = scores.argsort(descending=True, stable=True)[: self.config.kept_starts].tolist()
        results = [self._improve(starts[promising[index]], float(scores[index])) for index in best]
        return max(results, key=lambda result: result[1])

    def _random_outfit(self) -> Outfit:
        outfit = Outfit(())
        drawn = int(torch.randint(3, (1,), generator=self.generator))
        hidden = REPLACED_BY_ONE_PIECE if drawn == 0 and self.options["full"] else ("full",)
        for slot in (slot for slot in STAPLES if slot not in hidden and self.options[slot]):
            options = self.options[slot]
            draws = torch.randint(1 << 30, (2,), generator=self.generator).tolist()
            wearable = options[draws[0] % len(options)]
            names = tuple({"skin": SKIN_COLORS, "hair": HAIR_COLORS}.get(slot, self._colors(wearable, slot)))
            outfit = outfit.put(slot, Worn(wearable, names[draws[1] % len(names)]))
        return outfit

    def _improve(self, outfit: Outfit, score: float) -> tuple[Outfit, float]:
        """Go over all slots, then again over those that are worn, until nothing changes."""
        slots = (*STAPLES, *(slot for slot in SLOTS if slot not in STAPLES))
        for done in range(self.config.passes):
            before = outfit
            outfit, score = self._try_two_pieces(outfit, score)
            for slot in slots:
                if slot in REPLACED_BY_ONE_PIECE and outfit.get("full") is not None:
                    continue
                self.progress(0, 1, f"outfit: {slot}, round {done + 1}")
                outfit, score = self._improve_slot(outfit, score, slot)
            outfit, score = self._try_swap(outfit, score)
            if outfit == before:
                break
            slots = tuple(slot for slot in slots if slot in STAPLES or outfit.get(slot) is not None)
        return outfit, score

    def _improve_slot(self, outfit: Outfit, score: float, slot: str) -> tuple[Outfit, float]:
        """Return the best outfit that differs from `outfit` in one slot only, if it is better.

        All candidates are screened on the views that show the slot best; the best of them are compared on all.
        """
        candidates: list[Worn | None] = []
        screened = []
        for wearable in self.options[slot]:
            worn = [Worn(wearable, name) for name in self._colors(wearable, slot)]
            costs = torch.tensor([self._cost(one, slot) for one in worn])
            candidates += worn
            screened.append(self._screen(outfit, slot, worn) - costs)
        ranked = torch.cat(screened).argsort(descending=True, stable=True).tolist() if screened else []
        finalists = [candidates[index] for index in ranked[: self.config.finalists]]
        if outfit.get(slot) is not None and slot not in REQUIRED:
            finalists.append(None)
        finalists = [worn for worn in finalists if worn != outfit.get(slot)]
        if not finalists:
            return outfit, score
        scores = self._scores([outfit.put(slot, worn) for worn in finalists], self.every_view)
        nets = scores - torch.tensor([self._cost(worn, slot) for worn in finalists])
        best = int(nets.argmax())
        if float(nets[best]) <= score - self._cost(outfit.get(slot), slot):
            return outfit, score
        return outfit.put(slot, finalists[best]), float(scores[best])

    def _cost(self, worn: Worn | None, slot: str) -> float:
        """What a choice must gain over the plain one.

        Flat-coloured views hardly tell skirts from shorts, robes from trousers, or a painted body from a clothed one.
        """
        if worn is None:
            return self.margin * (slot in USUAL)
        named = worn.wearable in self.named
        extra = 0 if named else (slot not in STAPLES) + (WEARABLES[INDEX[worn.wearable]].shape is not None)
        natural = {"skin": SKIN_COLORS, "hair": HAIR_COLORS, "beard": HAIR_COLORS}.get(slot)
        unusual = natural is not None and worn.color not in natural and not self._told(worn, slot)
        told = self._told(worn, slot)
        rare = not told and (worn.color in SHADES or (slot in COMMON and worn.color not in COMMON[slot]))
        covering = not named and slot == "head" and self.hair_told
        unlikely = not named and worn.wearable in UNLIKELY.get(self.sex, ())
        gain = extra + rare + unlikely + UNUSUAL * unusual + COVERING * covering
        return self.margin * (gain - NAMED * named - TOLD * told)

    def _colors(self, wearable: str, slot: str, liked: str | None = None) -> Sequence[str]:
        """The colours that something may have: those that the prompt gives to it, or else all; or a liked one of them.

        What a prompt says in words is no matter of likeness: a black suit is black.
        """
        given = self.told.get(wearable, frozenset())
        allowed = [name for name in colors_of(slot) if name in given]
        if liked is not None and liked in (allowed or colors_of(slot)):
            return [liked]
        return allowed or list(colors_of(slot))

    def _told(self, worn: Worn, slot: str) -> bool:
        """Whether the prompt gives this colour to it ("brown trousers", "long green hair", "hair dyed green")."""
        if slot not in ("skin", "hair", "beard"):
            return worn.color in self.told.get(worn.wearable, ())
        word, part = re.escape(worn.color.rsplit(" ", 1)[0]), re.escape(slot)
        before, after = rf"\b{word}\s+(?:\w+\s+)?{part}\b", rf"\b{part}\s+(?:is|dyed|painted)\s+{word}\b"
        return re.search(f"{before}|{after}", self.prompt) is not None

    def _try_two_pieces(self, outfit: Outfit, score: float) -> tuple[Outfit, float]:
        """Exchange one piece for a top of its colour and the best bottom: single slots cannot make this move either."""
        piece = outfit.get("full")
        if piece is None:
            return outfit, score
        bare = outfit.put("full", None)
        pairs = [
            bare.put("top", Worn(top, above)).put("bottom", Worn(bottom, below))
            for top in ("long-sleeved shirt", "t-shirt")
            for bottom in ("trousers", "shorts")
            if top in self.options["top"] and bottom in self.options["bottom"]
            for above in self._colors(top, "top", liked=piece.color)
            for below in self._colors(bottom, "bottom")
        ]
        if not pairs:
            return outfit, score
        screened = self._scores(pairs, SCREENING["body"])
        best = screened.argsort(descending=True, stable=True)[: self.config.finalists].tolist()
        scores = self._scores([pairs[index] for index in best], self.every_view)
        first = int(scores.argmax())
        if float(scores[first]) <= score - self._cost(piece, "full"):
            return outfit, score
        return pairs[best[first]], float(scores[first])

    def _try_swap(self, outfit: Outfit, score: float) -> tuple[Outfit, float]:
        """Exchange the colours of top and bottom: one move that single slots cannot make."""
        top, bottom = outfit.get("top"), outfit.get("bottom")
        if top is None or bottom is None:
            return outfit, score
        if bottom.color not in self._colors(top.wearable, "top") or top.color not in self._colors(
            bottom.wearable, "bottom"
        ):
            return outfit, score
        swapped = outfit.put("top", Worn(top.wearable, bottom.color))
        swapped = swapped.put("bottom", Worn(bottom.wearable, top.color))
        swapped_score = float(self._scores([swapped], self.every_view)[0])
        nets = [
            total - sum(self._cost(one.get(slot), slot) for slot in ("top", "bottom"))
            for one, total in ((swapped, swapped_score), (outfit, score))
        ]
        return (swapped, swapped_score) if nets[0] > nets[1] else (outfit, score)

    def _screen(self, outfit: Outfit, slot: str, worn: list[Worn]) -> Tensor:
        """Scores (C,) of one wearable in several colours on the views that show its slot."""
        views = SCREENING.get(slot, SCREENING["body"])
        # Skin and hair tint other parts too; any other slot's colour enters a view linearly.
        if slot in ("skin", "hair"):
            return self._scores([outfit.put(slot, one) for one in worn], views)
        layers = outfit.put(slot, worn[0]).layers()
        varied = [WEARABLES[index].name for index, _ in layers].index(worn[0].wearable)
        base, slope = self.views.paint_linear(layers, varied, views)
        colors = sent(torch.tensor([one.rgb for one in worn]), base.device)[:, None, :, None, None]
        return self._cosines(base[None] + slope[None] * colors, views)

    def _scores(self, outfits: list[Outfit], views: list[int]) -> Tensor:
        """Mean cosine (C,) of outfits over some views."""
        return self._cosines(torch.stack([self.views.paint(one.layers(), views) for one in outfits]), views)

    @torch.no_grad()
    def _cosines(self, images: Tensor, views: list[int]) -> Tensor:
        """Mean cosine (C,) of candidates' images (C, B, 3, H, W) of some views."""
        self.evaluations += images.shape[0] * images.shape[1]
        batches = images.flatten(0, 1).split(self.config.batch)
        features = torch.cat([self.encoder.encode_images(batch) for batch in batches])
        cosines = (features.view(len(images), len(views), -1) * self.targets[views]).sum(-1)
        return cosines.mean(1).cpu()
