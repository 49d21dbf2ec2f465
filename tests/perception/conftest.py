from pathlib import Path

import pytest
import torch
from transformers import SiglipConfig, SiglipModel

from avatar_core.perception import load_encoder
from avatar_core.training.bodyclip_export import export_bodyclip
from avatar_core.training.bodyclip_model import BodyClipConfig, build_bodyclip
from avatar_core.training.bodyclip_tokenizer import build_tokenizer, save_tokenizer

TINY = BodyClipConfig(
    image_size=32, patch_size=16, vision_width=32, vision_layers=1, text_width=32, text_layers=1, context=12,
    projection=16,
)  # fmt: skip


@pytest.fixture(scope="session")
def tokenizer():
    """Characters, continuations of letters and a few words."""
    printable = [chr(code) for code in range(33, 127)]
    tokens = [*printable, *("##" + one for one in printable if one.islower())]
    tokens += ["man", "woman", "person", "in", "red", "blue", "shirt", "dress"]
    return build_tokenizer(tokens, TINY.context)


@pytest.fixture(scope="session")
def write_clip(tokenizer):
    """Writes a small random CLIP checkpoint into a folder; another seed, other weights."""

    def write(folder: Path, seed: int = 0) -> Path:
        words = torch.randn(len(tokenizer), TINY.text_width, generator=torch.Generator().manual_seed(seed))
        model = build_bodyclip(TINY, words, seed=seed)
        export_bodyclip(model, model.state_dict(), tokenizer, folder)
        return folder

    return write


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory, write_clip):
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def siglip_folder(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("siglip")
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 3}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 10, "projection_size": 32, **ids, **tower}
    config = SiglipConfig(text_config=text, vision_config={"image_size": 48, "patch_size": 16, **tower})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        SiglipModel(config).save_pretrained(str(folder))
    save_tokenizer(tokenizer, folder)
    return folder


@pytest.fixture(scope="session")
def clip_encoder(clip_folder):
    return load_encoder(str(clip_folder))


@pytest.fixture(scope="session")
def siglip_encoder(siglip_folder):
    return load_encoder(str(siglip_folder))


@pytest.fixture
def images():
    return torch.rand(3, 3, 70, 50, generator=torch.Generator().manual_seed(0))
