from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from avatar_core.bodies import load_body
from avatar_core.bodies.skeleton import JOINT_NAMES
from avatar_core.bodies.surface_chart import SurfaceChart
from avatar_core.training.bodyclip_tokenizer import build_tokenizer, save_tokenizer
from avatar_core.training.geometry_bank import BankConfig, write_bank
from avatar_core.training.image_shards import write_image_shards
from avatar_core.training.painting import Painter


@pytest.fixture(scope="session")
def body():
    return load_body("anny")


@pytest.fixture(scope="session")
def painter(body):
    return Painter(SurfaceChart(body))


@pytest.fixture(scope="session")
def motions(tmp_path_factory) -> Path:
    """Two short clips in the documented layout."""
    folder = tmp_path_factory.mktemp("motions")
    poses = np.random.default_rng(0).normal(0, 0.1, (40, len(JOINT_NAMES), 3)).astype(np.float16)
    np.savez(folder / "clips.npz", poses=poses, clip_start=np.int32([0, 25]), clip_len=np.int32([25, 15]))
    rows = [
        "clip_id,label,captions",
        "a,running,a person is running|a person is jogging",
        "b,bowing,a person is bowing",
    ]
    (folder / "clips.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def words(tmp_path_factory) -> Path:
    """A small vocabulary of random vectors."""
    folder = tmp_path_factory.mktemp("words")
    tokens = [chr(code) for code in range(33, 127)] + ["##" + chr(code) for code in range(97, 123)]
    tokens += ["man", "woman", "in", "red", "green", "blue", "white", "shirt", "dress", "wearing", "with", "rendering"]
    save_tokenizer(build_tokenizer(tokens, 32), folder)
    vectors = torch.randn(len(tokens) + 4, 32, generator=torch.Generator().manual_seed(0))
    save_file({"words": vectors}, folder / "words.safetensors")
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory, motions) -> tuple[Path, Path]:
    """A tiny geometry bank and its image shards."""
    bank = tmp_path_factory.mktemp("bank")
    config = BankConfig(views_per_pose=4, poses_per_shard=4)
    write_bank(bank, motions, shards=1, seed=3, config=config)
    write_image_shards(bank, bank / "images", shards=4, first=0, size=16, seed=3)
    return bank, bank / "images"
