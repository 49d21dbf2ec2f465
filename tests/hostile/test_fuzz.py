"""Whatever the bytes are, parsers end soon, with the project's own errors alone, and touch nothing else.

AVATARS_FUZZ=10000 tries so many inputs in all instead of some hundred, the same ones each time.
"""

import gc
import math
import os
import tempfile
import time
import warnings
from pathlib import Path

import pytest
from effects import watched
from hypothesis import HealthCheck, given, settings
from mutations import damaged
from parsers import Parser, parsers

from avatar_core.errors import AvatarError

INPUTS = int(os.environ.get("AVATARS_FUZZ", "300"))
SECONDS = 1.0
"""Of this process's time that one input may take."""
NAMES = (
    "catalog", "preset", "authored actions", "AvatarCLIP configuration", "captions", "prompts", "avatar ids",
    "library URLs", "BVH", "AMASS npz", "array of an npz", "SMPL pickle", "SMPL npz", "prior checkpoint",
    "report facts", "report page", "view features", "artifact marker", "checkpoint", "run plan", "shard outcome",
    "stage facts", "stage tensors", "manifest part", "preview", "GLB", "encoder config.json",
    "encoder tokenizer.json", "encoder model.safetensors", "gallery paths", "gallery queries", "gallery forms",
    "gallery headers",
)  # fmt: skip

INCOMPLETE = ("SMPL npz", "artifact marker", "run plan", "avatar ids", "library URLs")
"""Entrances whose samples are refused in the end: whole ones would be large, or need what is not here."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def entrances(folder: Path) -> dict[str, Parser]:
    return parsers(folder / "inside")


def test_every_entrance_is_tried(entrances: dict[str, Parser]) -> None:
    assert set(entrances) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_hostile_bytes_end_in_an_error_of_the_projects_own(name, entrances, folder, monkeypatch):
    parser = entrances[name]
    inside = folder / "inside"
    monkeypatch.setattr(tempfile, "tempdir", str(inside))
    monkeypatch.chdir(inside)
    count = max(4, math.ceil(INPUTS * parser.share / sum(one.share for one in entrances.values())))
    told = {"inputs": 0, "refused": 0, "slowest": 0.0}
    for sample in parser.samples:  # loads what the first call loads
        refused = _read(parser, sample)
    assert not refused or name in INCOMPLETE, f"the last sample of {name} is no valid one"

    @settings(
        max_examples=count, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(damaged(parser.samples))
    def tried(content: bytes) -> None:
        with watched(inside) as effects:
            begun = time.process_time()
            refused = _read(parser, content)
            spent = time.process_time() - begun
        assert not effects
        assert spent < SECONDS, f"{name} took {spent:.2f} s"
        told["inputs"] += 1
        told["refused"] += refused
        told["slowest"] = max(told["slowest"], spent)

    gc.collect()
    gc.freeze()  # a collection of what other tests left is no time of the parser's
    try:
        tried()
    finally:
        gc.unfreeze()
    print(f"{name}: {told['inputs']} inputs, {told['refused']} refused, slowest {1000 * told['slowest']:.0f} ms")


def _read(parser: Parser, content: bytes) -> bool:
    """Whether an input was refused; raises what no user should see."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parser.read(content)
    except AvatarError:
        return True
    return False
