"""The dual encoders that training knows: BodyCLIP, and the convolutional judge that is held out to test it.

Each architecture builds its `transformers` model and says how training drives it; everything else (data, losses,
optimisers, export) is shared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import BertConfig, ConvNextConfig, VisionTextDualEncoderConfig, VisionTextDualEncoderModel

from avatar_core.training.bodyclip_model import BodyClipConfig, build_bodyclip, image_features, text_features
from avatar_core.training.bodyclip_tokenizer import PAD_ID


class Architecture(Protocol):
    """What training needs of a kind of model."""

    @property
    def image_size(self) -> int:
        """Pixels a side."""
        ...

    @property
    def width(self) -> int:
        """Of the patches' tokens."""
        ...

    @property
    def projection(self) -> int:
        """Of the embeddings."""
        ...

    @property
    def drops_patches(self) -> bool:
        """Whether it can look at some patches only."""
        ...

    def build(self, words: Tensor, seed: int) -> Any:
        """Return a fresh model, the same for the same seed, with fixed words' vectors (V, text width)."""
        ...

    def image_features(self, model: Any, pixels: Tensor, kept: Tensor | None, tap: int) -> tuple[Tensor, Tensor]:
        """Return features (B, D), not normalised, and tokens (B, K, W) of the patches looked at."""
        ...

    def text_features(self, model: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """Return features (B, D), not normalised, of token ids and attention mask (B, T)."""
        ...

    def words(self, model: Any) -> nn.Module:
        """Return the module that looks up the words' vectors."""
        ...

    def layers(self, model: Any) -> list[nn.Module]:
        """Return the modules whose matrices Muon trains."""
        ...


@dataclass(frozen=True)
class BodyClip:
    """BodyCLIP: a vision transformer and a causal text transformer."""

    config: BodyClipConfig = field(default_factory=BodyClipConfig)
    drops_patches: bool = True

    @property
    def image_size(self) -> int:
        """Pixels a side."""
        return self.config.image_size

    @property
    def width(self) -> int:
        """Of the patches' tokens."""
        return self.config.vision_width

    @property
    def projection(self) -> int:
        """Of the embeddings."""
        return self.config.projection

    def build(self, words: Tensor, seed: int) -> Any:
        """Return a fresh CLIPModel."""
        return build_bodyclip(self.config, words, seed)

    def image_features(self, model: Any, pixels: Tensor, kept: Tensor | None, tap: int) -> tuple[Tensor, Tensor]:
        """Return features and the tokens after layer `tap`."""
        return image_features(model, pixels, kept, tap)

    def text_features(self, model: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """Return features of texts."""
        return text_features(model, ids, mask)

    def words(self, model: Any) -> nn.Module:
        """Return the words' embedding."""
        return model.text_model.embeddings.token_embedding

    def layers(self, model: Any) -> list[nn.Module]:
        """Return the transformers' layers."""
        return [*model.vision_model.encoder.layers, *model.text_model.encoder.layers]


@dataclass(frozen=True)
class Judge:
    """A ConvNeXt (Liu et al. 2022) beside a BERT: nothing in common with BodyCLIP but the data and the words.

    Weights start larger than both models' own, which are made for long training: with those, the first pooled features
    hardly depend on the words, and a short training ends before it finds them.
    """

    image_size: int = 96
    widths: tuple[int, ...] = (48, 96, 192)
    depths: tuple[int, ...] = (2, 2, 2)
    text_layers: int = 3
    context: int = 64
    projection: int = 256
    drops_patches: bool = False

    @property
    def width(self) -> int:
        """Of the tokens: the last stage's cells."""
        return self.widths[-1]

    def build(self, words: Tensor, seed: int) -> Any:
        """Return a fresh VisionTextDualEncoderModel."""
        text_width = words.shape[1]
        vision = ConvNextConfig(
            image_size=self.image_size, patch_size=4, num_stages=len(self.widths), hidden_sizes=list(self.widths),
            depths=list(self.depths), layer_scale_init_value=0.5, initializer_range=0.06,
        )  # fmt: skip
        vision.hidden_size = self.width  # type: ignore[attr-defined]  # where the dual encoder looks for the width
        text = BertConfig(
            vocab_size=len(words), hidden_size=text_width, intermediate_size=4 * text_width,
            num_hidden_layers=self.text_layers, num_attention_heads=max(text_width // 32, 1),
            max_position_embeddings=self.context, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            pad_token_id=PAD_ID, initializer_range=text_width**-0.5,
        )  # fmt: skip
        config = VisionTextDualEncoderConfig.from_vision_text_configs(vision, text, projection_dim=self.projection)
        config.logit_scale_init_value = 2.3
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = VisionTextDualEncoderModel(config)
        embedding = self.words(model)
        embedding.weight.data.copy_(words)
        embedding.weight.requires_grad_(False)
        return model

    def image_features(self, model: Any, pixels: Tensor, kept: Tensor | None, tap: int) -> tuple[Tensor, Tensor]:
        """Return features and the last stage's cells, row by row."""
        if kept is not None:
            raise ValueError("the judge's convolutions look at whole images: `kept` must be None")
        seen = model.vision_model(pixel_values=pixels)
        return model.visual_projection(seen.pooler_output), seen.last_hidden_state.flatten(2).mT

    def text_features(self, model: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """Return features of texts."""
        return model.text_projection(model.text_model(input_ids=ids, attention_mask=mask).pooler_output)

    def words(self, model: Any) -> Any:
        """Return the words' embedding."""
        return model.text_model.embeddings.word_embeddings

    def layers(self, model: Any) -> list[nn.Module]:
        """Return the stages and the transformer's layers."""
        return [*model.vision_model.encoder.stages, *model.text_model.encoder.layer]


ARCHITECTURES: dict[str, Architecture] = {"bodyclip": BodyClip(), "judge": Judge()}
