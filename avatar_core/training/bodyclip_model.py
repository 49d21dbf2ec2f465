"""BodyCLIP's architecture, the readers that training adds, and its losses."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from avatar_core.bodies.skeleton import NUM_JOINTS
from avatar_core.training.bodyclip_tokenizer import END_ID, PAD_ID, START_ID
from avatar_core.training.garments import CATEGORIES, GARMENTS, PATTERNS
from avatar_core.training.palette import SHADES
from avatar_core.training.scene import GLOBAL_FACTS, LAYER_FACTS, NUM_COLORS, NUM_FACTS, VIEWS, fact_slot
from avatar_core.training.view_renderer import CELL_SIZES

_JOINT_QUERIES = 4  # places that the pose is read from
IMAGE_MEAN: tuple[float, float, float] = (0.5, 0.5, 0.5)
IMAGE_STD: tuple[float, float, float] = (0.3, 0.3, 0.3)


@dataclass(frozen=True)
class BodyClipConfig:
    """Sizes of the model."""

    image_size: int = 96
    patch_size: int = 16
    vision_width: int = 192
    vision_layers: int = 6
    text_width: int = 192
    text_layers: int = 3
    head_width: int = 32
    context: int = 64
    projection: int = 256

    def to_clip_config(self, vocab_size: int) -> CLIPConfig:
        """Return the transformers configuration."""
        shared = {"hidden_act": "relu", "projection_dim": self.projection}
        vision = dict(
            hidden_size=self.vision_width, intermediate_size=4 * self.vision_width,
            num_hidden_layers=self.vision_layers, num_attention_heads=self.vision_width // self.head_width,
            image_size=self.image_size, patch_size=self.patch_size, **shared,
        )  # fmt: skip
        text = dict(
            vocab_size=vocab_size, hidden_size=self.text_width, intermediate_size=4 * self.text_width,
            num_hidden_layers=self.text_layers, num_attention_heads=self.text_width // self.head_width,
            max_position_embeddings=self.context, pad_token_id=PAD_ID, bos_token_id=START_ID, eos_token_id=END_ID,
            **shared,
        )  # fmt: skip
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=self.projection)
        # Written-out attention: torch's fused one is many times slower for short sequences in bfloat16 on CPUs.
        config._attn_implementation = "eager"
        config.logit_scale_init_value = 2.3
        return config

    def as_dict(self) -> dict[str, int]:
        """Return the fields."""
        return asdict(self)


def build_bodyclip(config: BodyClipConfig, words: Tensor, seed: int) -> CLIPModel:
    """Return a freshly initialised CLIPModel; the same for the same seed.

    Args:
        config: sizes.
        words: (V, text_width) embeddings of the tokens; they stay as they are, so that words that no caption uses
            keep their places among those that captions use.
        seed: of everything else.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(config.to_clip_config(len(words)))
        nn.init.normal_(model.visual_projection.weight, std=config.vision_width**-0.5)
        nn.init.normal_(model.text_projection.weight, std=config.text_width**-0.5)
    model.text_model.embeddings.token_embedding.weight.data.copy_(words)
    model.text_model.embeddings.token_embedding.weight.requires_grad_(False)
    positions = model.vision_model.embeddings.position_embedding.weight
    with torch.no_grad():
        filters = model.vision_model.embeddings.patch_embedding.weight
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            coarse = torch.randn(config.vision_width, 3, 4, 4)
        # Smooth filters see colours at once; white noise ones see mostly the noise of the backgrounds.
        smooth = nn.functional.interpolate(coarse, size=config.patch_size, mode="bilinear")
        filters.copy_(0.1 / config.patch_size * smooth)
        positions[1:] = 0.5 * grid_waves(config.image_size // config.patch_size, config.vision_width)
    return model


def grid_waves(side: int, width: int) -> Tensor:
    """Return sines and cosines (side * side, width) of grid positions, so that places differ from the first step on."""
    rate = math.pi * 2.0 ** (torch.arange(width // 4) / (width // 4) * math.log2(side))
    angle = torch.arange(side)[:, None] / side * rate
    waves = torch.cat([angle.sin(), angle.cos()], 1)
    rows = waves[:, None].expand(side, side, -1)
    return torch.cat([rows, rows.transpose(0, 1)], -1).reshape(side * side, width)


def image_features(
    model: CLIPModel, pixels: Tensor, kept: Tensor | None = None, tap: int | None = None
) -> tuple[Tensor, Tensor]:
    """Encode normalised images, looking at some of their patches.

    Args:
        model: a CLIPModel.
        pixels: (B, 3, S, S) normalised images.
        kept: (B, K) indices of the patches to look at; None is all of them.
        tap: the layer after which to return the patches' tokens; None is the last.
    Returns:
        projected features (B, D), not normalised, and tokens (B, K, W).
    """
    vision = model.vision_model
    hidden = tapped = vision.pre_layrnorm(_embed_patches(vision.embeddings, pixels, kept))
    for index, layer in enumerate(vision.encoder.layers, start=1):
        hidden = layer(hidden, attention_mask=None)
        if tap is None or index == tap:
            tapped = hidden
    return model.visual_projection(vision.post_layernorm(hidden[:, 0])), tapped[:, 1:]


def _embed_patches(embeddings: Any, pixels: Tensor, kept: Tensor | None) -> Tensor:
    """Embed patches as `embeddings` does, but only those looked at, and by one matrix product: much faster on CPUs."""
    filters = embeddings.patch_embedding.weight
    side = filters.shape[-1]
    count, channels, height, width = pixels.shape
    grid = pixels.reshape(count, channels, height // side, side, width // side, side)
    patches = grid.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    positions = embeddings.position_embedding.weight
    own = positions[1:].expand(count, -1, -1)
    if kept is not None:
        patches = patches.gather(1, kept.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
        own = positions[1:][kept]
    first = (embeddings.class_embedding + positions[0]).expand(count, 1, -1)
    return torch.cat([first, patches @ filters.flatten(1).mT + own], 1)


def text_features(model: CLIPModel, ids: Tensor, mask: Tensor) -> Tensor:
    """Return projected features (B, D), not normalised, of token ids and attention mask (B, T)."""
    return model.text_projection(model.text_model(input_ids=ids, attention_mask=mask).pooler_output)


def fact_sizes(archetypes: int, families: int) -> list[int]:
    """Return how many values each fact has; value -1 (an absent layer) is counted as one more, the last."""
    sizes = [0] * NUM_FACTS
    for name, size in {
        "sex": 2, "age": 3, "height": 3, "weight": 3, "muscle": 3, "belly": 2, "archetype": archetypes,
        "pose": families, "view": len(VIEWS), "close": 3, "mode": 2,
    }.items():  # fmt: skip
        sizes[fact_slot(name)] = size + 1
    for category in CATEGORIES:
        for part, size in {
            "kind": len(GARMENTS), "color": NUM_COLORS, "shade": len(SHADES), "pattern": len(PATTERNS),
        }.items():  # fmt: skip
            sizes[fact_slot(category, part)] = size + 1
    return sizes


def fact_weights() -> list[float]:
    """Return how much each fact counts: what only the whole body tells is harder to see than what is worn."""
    globals_ = {"archetype": 3.0, "pose": 4.0, "view": 2.0, "close": 1.0, "mode": 1.0}
    layers = {"kind": 1.0, "color": 2.0, "shade": 1.0, "pattern": 1.0}
    return [globals_.get(name, 3.0) for name in GLOBAL_FACTS] + [layers[part] for part in LAYER_FACTS] * len(CATEGORIES)


class FactLoss(nn.Module):
    """Cross-entropy of many facts at once, each with its own number of values.

    Args:
        sizes: values of each of F facts, the last one for an absent layer.
        weights: how much each counts within its group.
        first: facts of the first group; the others are a second one, with a mean of its own, so that many of the
            one kind do not drown few of the other.
    """

    _weight: Tensor
    _member: Tensor
    _size: Tensor
    _start: Tensor

    def __init__(self, sizes: list[int], weights: list[float], first: int) -> None:
        super().__init__()
        self._groups = (slice(0, first), slice(first, len(sizes)))
        self.register_buffer("_weight", torch.tensor(weights), persistent=False)
        fact = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        self.register_buffer("_member", nn.functional.one_hot(fact, len(sizes)).float(), persistent=False)
        self.register_buffer("_size", torch.tensor(sizes), persistent=False)
        self.register_buffer("_start", torch.tensor([0, *sizes]).cumsum(0)[:-1], persistent=False)

    def forward(self, logits: Tensor, facts: Tensor, known: Tensor) -> Tensor:
        """Return the sum of both groups' weighted mean cross-entropies over known facts.

        Args:
            logits: (B, sum of sizes), fact after fact.
            facts: (B, F) int64, -1 for absent layers (the last value).
            known: (B, F) bool, facts to read.
        """
        logits = logits.float()
        logits = logits - logits.amax(1, keepdim=True).detach()
        total = (logits.exp() @ self._member).clamp_min(1e-20).log()
        picked = logits.gather(1, self._start + facts.remainder(self._size))
        share = self._weight * known
        missed = (total - picked) * share
        parts = [missed[:, group].sum() / share[:, group].sum().clamp_min(1) for group in self._groups]
        return parts[0] + parts[1]


class FactHeads(nn.Module):
    """Linear readers of every fact from an embedding, shared by images and texts; discarded after training.

    Sharing ties both towers to the same directions for the same facts, which teaches what belongs to what much
    faster than the contrast alone.
    """

    def __init__(self, width: int, sizes: list[int], betas: int, seed: int) -> None:
        super().__init__()
        self.sizes = sizes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.classes = nn.Linear(width, sum(sizes))
            self.shape = nn.Linear(width, betas)
            self.joints = nn.Linear(width, 3 * NUM_JOINTS)
        self.scale = nn.Parameter(torch.tensor(2.0))
        self._loss = FactLoss(sizes, fact_weights(), len(GLOBAL_FACTS))

    def loss(self, features: Tensor, facts: Tensor, known: Tensor) -> Tensor:
        """Return FactLoss's cross-entropy over known facts.

        Args:
            features: (B, D) unit embeddings.
            facts: (B, NUM_FACTS) int64, -1 for absent layers.
            known: (B, NUM_FACTS) bool, facts to read.
        """
        return self._loss(self.classes(features * self.scale.exp()), facts, known)

    def shape_loss(self, features: Tensor, betas: Tensor) -> Tensor:
        """Return the squared error of the shape vectors (B, S) read from unit embeddings (B, D)."""
        return nn.functional.mse_loss(self.shape(features * self.scale.exp()).float(), betas)

    def joint_loss(self, features: Tensor, joints: Tensor, posed: Tensor) -> Tensor:
        """Return `joint_error` of the joints read from unit embeddings (B, D)."""
        return joint_error(self.joints(features * self.scale.exp()), joints, posed)


def joint_error(read: Tensor, joints: Tensor, posed: Tensor) -> Tensor:
    """Return the mean squared error of joints, in units of a third of a metre, over images that show the whole pose.

    Args:
        read: (B, 66) as read.
        joints: (B, 22, 3) metres about the pelvis.
        posed: (B,) bool, which images count.
    """
    missed = (read.float() - joints.flatten(1) * 3.0).square().mean(1)
    return (missed * posed).sum() / posed.sum().clamp_min(1)


class TokenReader(nn.Module):
    """Reads what patches' tokens know: facts by attention, one query a category, and each patch's own labels.

    It teaches the early layers which part of the body a patch shows and what it wears there, which the pooled token
    learns only slowly by itself. Discarded after training.
    """

    def __init__(self, width: int, sizes: list[int], seed: int) -> None:
        super().__init__()
        self.sizes, self._first = sizes, len(GLOBAL_FACTS)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.queries = nn.Parameter(torch.randn(len(CATEGORIES) + len(GLOBAL_FACTS) + _JOINT_QUERIES, width) * 0.1)
            self.norm = nn.LayerNorm(width)
            self.readers = nn.ModuleList(nn.Linear(width, sum(part)) for part in self._groups())
            self.cells = nn.Linear(width, sum(CELL_SIZES))
            self.joints = nn.Linear(_JOINT_QUERIES * width, 3 * NUM_JOINTS)
        self._loss = FactLoss(sizes, fact_weights(), len(GLOBAL_FACTS))

    def _groups(self) -> list[list[int]]:
        layers = self.sizes[self._first :]
        step = len(LAYER_FACTS)
        parts = [layers[start : start + step] for start in range(0, len(layers), step)]
        return [[size] for size in self.sizes[: self._first]] + parts

    def loss(self, tokens: Tensor, facts: Tensor, known: Tensor) -> Tensor:
        """Return FactLoss's cross-entropy over known facts (B, NUM_FACTS), read from tokens (B, K, W)."""
        pooled = self._pool(tokens, slice(0, len(self.readers)))
        logits = torch.cat([reader(pooled[:, index]) for index, reader in enumerate(self.readers)], 1)
        return self._loss(logits, facts, known)

    def _pool(self, tokens: Tensor, queries: slice) -> Tensor:
        tokens = self.norm(tokens)
        attention = torch.softmax(tokens @ self.queries[queries].mT, dim=1)
        return attention.mT @ tokens

    def joint_loss(self, tokens: Tensor, joints: Tensor, posed: Tensor) -> Tensor:
        """Return `joint_error` of the joints read from tokens (B, K, W)."""
        pooled = self._pool(tokens, slice(len(self.readers), None))
        return joint_error(self.joints(pooled.flatten(1)), joints, posed)

    def cell_loss(self, tokens: Tensor, cells: Tensor) -> Tensor:
        """Return the cross-entropy of each patch's label shares (B, K, sum of CELL_SIZES) read from its token.

        Kinds of labels that an image has not (all zero) are left out.
        """
        read = self.cells(self.norm(tokens)).float().split(CELL_SIZES, -1)
        total = tokens.new_zeros((), dtype=torch.float32)
        for logits, shares in zip(read, cells.split(CELL_SIZES, -1)):
            total = total - (nn.functional.log_softmax(logits, -1) * shares).sum() / shares.sum().clamp_min(1.0)
        return total


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor, contradicts: Tensor) -> Tensor:
    """Return the symmetric InfoNCE loss with extra hard negatives.

    Args:
        images: (B, D) unit embeddings.
        texts: (B + H, D) unit embeddings; the first B belong to the images, the rest are hard negatives.
        scale: () inverse temperature.
        contradicts: (B, B + H) bool, whether the text claims something that is false of the image; pairs that do
            not contradict are no negatives.
    """
    count = len(images)
    logits = scale * images @ texts.mT
    own = torch.eye(count, len(texts), dtype=torch.bool, device=images.device)
    logits = logits.masked_fill(~(contradicts | own), -1e4)
    target = torch.arange(count, device=images.device)
    to_text = nn.functional.cross_entropy(logits, target)
    to_image = nn.functional.cross_entropy(logits[:, :count].mT, target)
    return (to_text + to_image) / 2


def contradictions(facts: Tensor, claims: Tensor, claimed: Tensor) -> Tensor:
    """Tell which texts claim something false of which images.

    Args:
        facts: (B, F) facts of the images.
        claims: (T, F) facts as the texts have them.
        claimed: (T, F) bool, which of them each text claims.
    Returns:
        (B, T) bool.
    """
    differs = facts[:, None] != claims[None]
    return (differs & claimed[None]).any(-1)
