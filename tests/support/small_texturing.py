"""A texturing small enough for tests: a two-layer CLIP of random weights, a coarse field, a few tiny views."""

from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from avatar_core.fields import FieldConfig, HashConfig
from avatar_core.stages import texturing
from avatar_core.stages.outfit_search import SearchConfig
from avatar_core.stages.texturing_film import FilmConfig

PROMPT = "a man in a red shirt"
FIELD = FieldConfig(
    sdf_cell=0.02,
    geometry=HashConfig(levels=2, coarsest_cell=0.2, finest_cell=0.1, log2_table_size=10),
    color=HashConfig(levels=3, coarsest_cell=0.2, finest_cell=0.05, log2_table_size=10),
    hidden=8,
)
CONFIG = texturing.Config(
    steps=4,
    views_per_step=2,
    resolutions=(16, 24),
    intervals=4,
    checkpoint_every=2,
    score_size=24,
    warmup_steps=1,
    search=SearchConfig(size=24, starts=4, kept_starts=1, passes=1),
    film=FilmConfig(frames=2, height=32, width=24),
)


@dataclass(frozen=True)
class Shape:
    betas: torch.Tensor


class Killed(Exception):
    """Stands for the death of the process."""


def equal_states(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Tell whether two fields' states are equal bit by bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def write_small_clip(folder: Path, dim: int = 12) -> None:
    """Write a checkpoint like any other, whose features have `dim` numbers."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=["<unk>", "<pad>", "<start>", "<end>"])
    tokenizer.train_from_iterator([f"a 3d rendering of the face back {PROMPT} in unreal engine"], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
    )
    fast.save_pretrained(folder)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=small | {"vocab_size": len(fast), "max_position_embeddings": 24, "eos_token_id": 3},
        vision_config=small | {"image_size": 24, "patch_size": 8},
        projection_dim=dim,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(folder)
