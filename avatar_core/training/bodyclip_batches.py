"""Training batches of BodyCLIP: images from shards, with captions written anew each time they are seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from avatar_core.priors.motion_data import MIRROR_JOINTS
from avatar_core.training.bodyclip_model import IMAGE_MEAN, IMAGE_STD
from avatar_core.training.captions import Captioner
from avatar_core.training.garments import CATEGORIES
from avatar_core.training.image_shards import ImageShard, read_image_shard
from avatar_core.training.scene import Scene, fact_slot
from avatar_core.training.view_renderer import CELL_REGIONS, LABEL_CELL, draw_background


@dataclass(frozen=True)
class Batch:
    """B images with B captions and H hard negative captions."""

    pixels: Tensor  # (B, 3, S, S) normalised
    kept: Tensor | None  # (B, K) patches to look at
    cells: Tensor  # (B, K, L) shares of labels in the patches looked at
    texts: list[tuple[Tensor, Tensor]]  # token ids and masks of B + H captions, in groups of like length
    order: Tensor  # (B + H,) where each caption is among the groups put together
    facts: Tensor  # (B, F) int64
    known: Tensor  # (B, F) bool, facts that the image shows
    claims: Tensor  # (B + H, F) int64
    claimed: Tensor  # (B + H, F) bool
    betas: Tensor  # (B, S)
    joints: Tensor  # (B, 22, 3) metres about the pelvis: right, up and away in the image
    posed: Tensor  # (B,) bool, whether the image shows the whole pose


def known_facts(scene: Scene) -> np.ndarray:
    """Return which facts (F,) bool can be seen in a scene's image."""
    facts = scene.facts()
    known = np.zeros(len(facts), bool)
    for name in ("view", "close", "mode", *_SHOWN_BY[scene.kind]):
        known[fact_slot(name)] = True
    if scene.mode == "textureless" and scene.body["age"] == 2:
        known[fact_slot("age")] = False  # bare grey bodies of sixty and of thirty look alike
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


_BODY = ("sex", "age", "weight", "muscle", "belly", "pose")
_SHOWN_BY: dict[str, tuple[str, ...]] = {
    "full": _BODY, "standard": (*_BODY, "height"), "face": ("sex", "age"), "upper": _BODY, "lower": ("weight", "pose"),
    "hand": (),
}  # fmt: skip
"""What each kind of view shows of the body and its pose."""
_WHOLE = frozenset({"full", "standard"})
_PATTERNED = frozenset({"top", "bottom", "full"})
_SEEN_ON: dict[str, tuple[str, ...]] = {
    "skin": ("face", "hand"), "hair": ("scalp",), "beard": ("face",), "head": ("scalp",), "face": ("face",),
    "top": ("chest",), "inner": ("chest",), "bottom": ("thigh",), "full": ("chest", "thigh"), "feet": ("foot",),
    "socks": ("shin",), "hands": ("hand",), "belt": ("belly",), "cape": ("chest",), "emblem": ("chest",),
    "neck": ("neck",),
}  # fmt: skip
assert set(_SEEN_ON) == set(CATEGORIES)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Disturb images without changing what they show: light, noise, blur, resolution.

    Args:
        images: (B, S, S, 3) in [0, 1]; overwritten.
        generator: draws the disturbances.
    """
    count, size = images.shape[:2]

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator)

    images.mul_(draw(0.85, 1.15, count, 1, 1, 1)).add_(draw(-0.04, 0.04, count, 1, 1, 3))
    order = torch.randperm(count, generator=generator)
    blurred, coarse, noisy = order[: count // 6], order[count // 6 : count // 3], order[count // 3 : count * 2 // 3]
    images[blurred] = _channels_last(_blur(_channels_first(images[blurred])))
    if len(coarse):
        low = int(torch.randint(size // 3, size, (1,), generator=generator))
        interpolate = torch.nn.functional.interpolate
        small = interpolate(_channels_first(images[coarse]), size=low, mode="bilinear", antialias=True)
        images[coarse] = _channels_last(interpolate(small, size=size, mode="bilinear", align_corners=False))
    grain = torch.randn(len(noisy), size, size, 3, generator=generator)
    images[noisy] += grain.mul_(draw(0.0, 0.1, len(noisy), 1, 1, 1))
    return images.clamp_(0, 1)


def mirror_joints(joints: Tensor) -> Tensor:
    """Return the joints (B, 22, 3) of mirrored images: left is right, and right is left."""
    return joints[:, MIRROR_JOINTS] * torch.tensor([-1.0, 1.0, 1.0])


def _channels_first(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2)


def _channels_last(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1)


def _blur(images: Tensor) -> Tensor:
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
        part, parts: only every `parts`-th shard is read, from number `part` on.
    """

    def __init__(self, folder: Path, held_out: int, part: int = 0, parts: int = 1) -> None:
        self._folder, self._held_out, self._part, self._parts = folder, held_out, part, parts
        self._shards: dict[str, ImageShard] = {}
        self._known: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._names: list[str] = []

    def refresh(self, at_most: int = 8) -> int:
        """Read up to `at_most` shards that are new in the folder; return how many are held."""
        new = sorted(self._folder.glob("images-*.safetensors"))[self._held_out :][self._part :: self._parts]
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


class Backgrounds:
    """A pool of backgrounds to lay images over, each time mirrored and rolled otherwise.

    Args:
        size: pixels a side.
        count: how many are drawn.
        rng: draws them.
        plain: of one colour each.
    """

    def __init__(self, size: int, count: int, rng: np.random.Generator, *, plain: bool = False) -> None:
        drawn = np.stack([(draw_background(size, rng, plain=plain) * 255).astype(np.uint8) for _ in range(count)])
        self._pool = torch.from_numpy(drawn)

    def sample(self, count: int, rng: np.random.Generator) -> Tensor:
        """Return `count` backgrounds (count, S, S, 3) uint8."""
        chosen = self._pool[torch.from_numpy(rng.integers(len(self._pool), size=count))]
        chosen = chosen.roll(rng.integers(self._pool.shape[1], size=2).tolist(), (1, 2))
        return chosen.flip(1 + int(rng.integers(2))) if rng.random() < 0.5 else chosen


class BatchMaker:
    """Makes batches.

    Args:
        captioner: writes the captions.
        tokenizer: splits them.
        hard_share: hard negatives for each caption.
    """

    def __init__(
        self, captioner: Captioner, tokenizer: PreTrainedTokenizerFast, hard_share: float = 0.5
    ) -> None:
        self._captioner, self._tokenizer, self._hard = captioner, tokenizer, hard_share

    def _images(
        self,
        entries: list[tuple[ImageShard, np.ndarray, np.ndarray, int]],
        backgrounds: Backgrounds,
        rng: np.random.Generator,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return images (B, S, S, 3) over backgrounds, half of them mirrored, with label cells (B, C, L) and joints."""
        count, size = len(entries), entries[0][0].covers.shape[1]
        side = size // LABEL_CELL
        colors = torch.from_numpy(np.stack([shard.colors[index] for shard, _, _, index in entries]))
        covers = torch.from_numpy(np.stack([shard.covers[index] for shard, _, _, index in entries]))
        cells = torch.from_numpy(np.stack([shard.cells[index] for shard, _, _, index in entries]))
        mirrored = torch.from_numpy(rng.random(count) < 0.5)
        colors[mirrored], covers[mirrored] = colors[mirrored].flip(2), covers[mirrored].flip(2)
        grid = cells.reshape(count, side, side, -1)
        grid[mirrored] = grid[mirrored].flip(2)
        joints = torch.from_numpy(np.stack([shard.joints[index] for shard, _, _, index in entries])).float()
        joints[mirrored] = mirror_joints(joints[mirrored])
        clear = 1 - covers.float().unsqueeze(-1) / 255
        pixels = colors.float().addcmul_(backgrounds.sample(count, rng).float(), clear).div_(255)
        return pixels, grid.flatten(1, 2).float().div_(255), joints

    def make(
        self,
        entries: list[tuple[ImageShard, np.ndarray, np.ndarray, int]],
        backgrounds: Backgrounds,
        rng: np.random.Generator,
        *,
        keep: int | None,
        disturb: bool = True,
        talk: bool = True,
    ) -> Batch:
        """Return a batch of entries (of `ShardPool.sample`).

        Args:
            entries: what to show.
            backgrounds: to lay the images over.
            rng: draws backgrounds, captions and disturbances.
            keep: patches of each image to look at; None is all.
            disturb: augment the images.
            talk: write captions; without them the batch has no texts.
        """
        pixels, cells, joints = self._images(entries, backgrounds, rng)
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        if disturb:
            pixels = augment(pixels, generator)
        kept = None
        if keep is not None:
            kept = choose_patches(1 - cells[..., len(CELL_REGIONS)], keep, generator)
            cells = cells.gather(1, kept.unsqueeze(-1).expand(-1, -1, cells.shape[-1]))
        scenes = [shard.scenes[index] for shard, _, _, index in entries]
        seeds = rng.integers(1 << 62, size=len(scenes))
        spoken = list(zip(scenes, seeds)) if talk else []
        captions = [self._captioner.caption(scene, np.random.default_rng(seed)) for scene, seed in spoken]
        hard = int(self._hard * len(spoken))
        captions += [self._captioner.hard_negative(scenes[i], int(seeds[i]), rng) for i in range(hard)]
        mean, std = (torch.tensor(value) for value in (IMAGE_MEAN, IMAGE_STD))
        texts, order = tokenize_by_length(self._tokenizer, [caption.text for caption in captions])
        return Batch(
            pixels=_channels_first(pixels.sub_(mean).div_(std)),
            kept=kept,
            cells=cells,
            texts=texts,
            order=order,
            facts=_stack([facts[index] for _, facts, _, index in entries]).long(),
            known=_stack([known[index] for _, _, known, index in entries]),
            claims=_stack([caption.facts for caption in captions]).long(),
            claimed=_stack([caption.claimed for caption in captions]),
            betas=torch.tensor([scene.betas for scene in scenes]),
            joints=joints,
            posed=torch.tensor([scene.kind in _WHOLE for scene in scenes]),
        )


def _stack(rows: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0)


def tokenize_by_length(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], groups: int = 4
) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Tokenise texts in groups of like length, to spare padding.

    Returns:
        token ids and attention mask (G, T) of each group, cut at the tokenizer's context; and where each text is among
        the groups put together.
    """
    if not texts:
        return [], torch.zeros(0, dtype=torch.long)
    lengths = np.asarray([len(text) for text in texts])
    order = np.argsort(lengths, kind="stable")
    found = []
    for group in np.array_split(order, min(groups, len(texts))):
        encoded = tokenizer([texts[index] for index in group], padding=True, truncation=True, return_tensors="pt")
        found.append((encoded["input_ids"], encoded["attention_mask"]))
    return found, torch.from_numpy(np.argsort(order, kind="stable"))
