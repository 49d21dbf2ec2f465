"""Training batches of BodyCLIP: images from shards, with captions written anew each time they are seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from avatar_core.training.bodyclip_model import IMAGE_MEAN, IMAGE_STD
from avatar_core.training.captions import Captioner
from avatar_core.training.garments import CATEGORIES
from avatar_core.training.image_shards import COVER_CELL, ImageShard, read_image_shard
from avatar_core.training.scene import Scene, fact_slot


@dataclass(frozen=True)
class Batch:
    """B images with B captions and H hard negative captions."""

    pixels: Tensor  # (B, 3, S, S) normalised
    kept: Tensor | None  # (B, K) patches to look at
    texts: list[str]  # B + H
    facts: Tensor  # (B, F) int64
    known: Tensor  # (B, F) bool, facts that the image shows
    claims: Tensor  # (B + H, F) int64
    claimed: Tensor  # (B + H, F) bool
    betas: Tensor  # (B, S)


def known_facts(scene: Scene) -> np.ndarray:
    """Return which facts (F,) bool can be seen in a scene's image."""
    facts = scene.facts()
    known = np.zeros(len(facts), bool)
    for name in ("sex", "age", "weight", "muscle", "pose", "view", "close", "mode"):
        known[fact_slot(name)] = True
    known[fact_slot("height")] = scene.kind == "standard"
    if scene.kind in ("face", "lower", "upper"):
        known[[fact_slot("pose"), fact_slot("weight")]] = scene.kind == "upper"
    if scene.mode == "textureless":
        return known
    known[fact_slot("archetype")] = scene.archetype >= 0
    seen = set(scene.visible)
    for category, parts in _SEEN_ON.items():
        if seen & set(parts):
            start = fact_slot(category, "kind")
            present = facts[start] >= 0
            known[start : start + 4] = [True, present, present, present and category in _PATTERNED]
    return known


_PATTERNED = frozenset({"top", "bottom", "full"})
_SEEN_ON: dict[str, tuple[str, ...]] = {
    "skin": ("face", "hand"), "hair": ("scalp",), "beard": ("face",), "head": ("scalp",), "face": ("face",),
    "top": ("chest",), "inner": ("chest",), "bottom": ("thigh",), "full": ("chest", "thigh"), "feet": ("foot",),
    "socks": ("shin",), "hands": ("hand",), "belt": ("belly",), "cape": ("chest",), "emblem": ("chest",),
    "neck": ("neck",),
}  # fmt: skip
assert set(_SEEN_ON) == set(CATEGORIES)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Disturb images (B, 3, S, S) in [0, 1] without changing what they show: light, noise, blur, resolution."""
    count, _, size, _ = images.shape

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator)

    images = images * draw(0.85, 1.15, count, 1, 1, 1) + draw(-0.04, 0.04, count, 3, 1, 1)
    order = torch.randperm(count, generator=generator)
    blurred, coarse, noisy = order[: count // 6], order[count // 6 : count // 3], order[count // 3 : count * 2 // 3]
    images[blurred] = nn_blur(images[blurred])
    if len(coarse):
        low = int(torch.randint(size // 3, size, (1,), generator=generator))
        small = torch.nn.functional.interpolate(images[coarse], size=low, mode="bilinear", antialias=True)
        images[coarse] = torch.nn.functional.interpolate(small, size=size, mode="bilinear", align_corners=False)
    grain = torch.randn(len(noisy), 3, size, size, generator=generator)
    images[noisy] += grain * draw(0.0, 0.1, len(noisy), 1, 1, 1)
    shift = torch.randint(-6, 7, (2,), generator=generator).tolist()
    return images.clamp(0, 1).roll(shift, (2, 3)) if max(map(abs, shift)) < 3 else images.clamp(0, 1)


def nn_blur(images: Tensor) -> Tensor:
    """Return images (B, 3, S, S) under a 3 by 3 binomial filter."""
    kernel = torch.tensor([0.25, 0.5, 0.25])
    weight = (kernel[:, None] * kernel[None]).expand(3, 1, 3, 3)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
    return torch.nn.functional.conv2d(padded, weight, groups=3)


def choose_patches(cover: Tensor, keep: int, generator: torch.Generator) -> Tensor:
    """Return indices (B, keep) of patches, those that show the body first.

    Args:
        cover: (B, P) share of each patch that the body covers.
        keep: patches to keep of each image.
    """
    chance = (cover > 0.01).float() + torch.rand(cover.shape, generator=generator)
    return chance.topk(keep, dim=1).indices.sort(dim=1).values


class ShardPool:
    """The newest image shards of a folder that may still be growing, held in memory.

    Args:
        folder: image shards; the first `held_out` are never given out.
        held_out: shards kept for validation.
    """

    def __init__(self, folder: Path, held_out: int) -> None:
        self._folder, self._held_out = folder, held_out
        self._shards: dict[str, ImageShard] = {}
        self._known: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._names: list[str] = []

    def refresh(self, at_most: int = 8) -> int:
        """Read up to `at_most` shards that are new in the folder; return how many are held."""
        new = sorted(self._folder.glob("images-*.safetensors"))[self._held_out :]
        for path in [path for path in new if path.name not in self._shards][:at_most]:
            shard = read_image_shard(path)
            self._shards[path.name] = shard
            facts = np.stack([scene.facts() for scene in shard.scenes])
            self._known[path.name] = (facts, np.stack([known_facts(scene) for scene in shard.scenes]))
            self._names.append(path.name)
        return len(self._shards)

    def sample(self, count: int, rng: np.random.Generator) -> list[tuple[ImageShard, np.ndarray, np.ndarray, int]]:
        """Return `count` random entries: shard, its facts and known facts, and the index within it."""
        drawn = []
        for _ in range(count):
            name = self._names[int(rng.integers(len(self._names)))]
            shard = self._shards[name]
            drawn.append((shard, *self._known[name], int(rng.integers(len(shard.scenes)))))
        return drawn


class BatchMaker:
    """Makes batches.

    Args:
        captioner: writes the captions.
        patch_size: of the model, pixels.
        hard_share: hard negatives for each caption.
    """

    def __init__(self, captioner: Captioner, patch_size: int, hard_share: float = 0.5) -> None:
        self._captioner, self._patch, self._hard = captioner, patch_size, hard_share

    def make(
        self,
        entries: list[tuple[ImageShard, np.ndarray, np.ndarray, int]],
        rng: np.random.Generator,
        *,
        keep: int | None,
        disturb: bool = True,
        talk: bool = True,
    ) -> Batch:
        """Return a batch of entries (of `ShardPool.sample`).

        Args:
            entries: what to show.
            rng: draws captions and disturbances.
            keep: patches of each image to look at; None is all.
            disturb: augment the images.
            talk: write captions; without them the batch has no texts.
        """
        images = np.stack([shard.images[index] for shard, _, _, index in entries])
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255)
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        if disturb:
            pixels = augment(pixels, generator)
        kept = None
        if keep is not None:
            covers = torch.from_numpy(np.stack([shard.covers[index] for shard, _, _, index in entries])).float() / 255
            pooled = torch.nn.functional.avg_pool2d(covers[:, None], self._patch // COVER_CELL)
            kept = choose_patches(pooled.flatten(1), keep, generator)
        scenes = [shard.scenes[index] for shard, _, _, index in entries]
        seeds = rng.integers(1 << 62, size=len(scenes))
        spoken = list(zip(scenes, seeds)) if talk else []
        captions = [self._captioner.caption(scene, np.random.default_rng(seed)) for scene, seed in spoken]
        hard = int(self._hard * len(spoken))
        captions += [self._captioner.hard_negative(scenes[i], int(seeds[i]), rng) for i in range(hard)]
        mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (IMAGE_MEAN, IMAGE_STD))
        return Batch(
            pixels=(pixels - mean) / std,
            kept=kept,
            texts=[caption.text for caption in captions],
            facts=_stack([facts[index] for _, facts, _, index in entries]).long(),
            known=_stack([known[index] for _, _, known, index in entries]),
            claims=_stack([caption.facts for caption in captions]).long(),
            claimed=_stack([caption.claimed for caption in captions]),
            betas=torch.tensor([scene.betas for scene in scenes]),
        )


def _stack(rows: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0)


def tokenize(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> tuple[Tensor, Tensor]:
    """Return token ids and attention mask (B, T), cut at the tokenizer's context."""
    encoded = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    return encoded["input_ids"], encoded["attention_mask"]
