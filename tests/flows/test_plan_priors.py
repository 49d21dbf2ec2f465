"""What of brought priors is in an avatar's keys."""

from pathlib import Path

import pytest
import torch
from brought_priors import vposer_state, write_vposer

from avatar_core.config import Preset
from avatar_core.errors import ConfigError
from avatar_core.priors.brought import add_priors, find_prior
from flows.recipe import Cook, Recipe
from tasks.digests import stage_weights

TEXTS = {"shape": "a tall man", "appearance": "a man in red", "motion": "walking"}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVATARS_MODELS", str(tmp_path / "models"))


def keys(**poses: str) -> dict[str, str]:
    preset = Preset.model_validate({"name": "mine", "candidate_poses": poses})
    return Cook(Recipe.of(preset, "anny", "bodyclip")).keys(TEXTS, 0)


def test_a_prior_changes_the_keys_of_its_stage_and_of_those_after_it_alone(tmp_path: Path) -> None:
    add_priors(write_vposer(tmp_path))
    before, after = keys(), keys(prior="vposer")
    assert {stage for stage in before if before[stage] != after[stage]} == {"candidate_poses", "motion", "export"}


def test_keys_go_by_the_priors_content_and_not_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    download = write_vposer(tmp_path)
    add_priors(download)
    first = keys(prior="vposer")
    read = stage_weights("candidate_poses", config={"prior": "vposer"}, body="anny", encoder="bodyclip")
    assert read["vposer"] == find_prior("vposer").digest
    monkeypatch.setenv("AVATARS_MODELS", str(tmp_path / "elsewhere"))
    add_priors(download)
    assert keys(prior="vposer") == first
    torch.save(vposer_state() | {"decoder_net.0.bias": torch.ones(512)}, tmp_path / "other.ckpt")
    add_priors(tmp_path / "other.ckpt")
    assert keys(prior="vposer")["candidate_poses"] != first["candidate_poses"]


def test_the_embedded_prior_by_name_has_the_same_keys_as_without() -> None:
    assert keys(prior="embedded") == keys()


def test_shapes_of_another_body_are_told_before_anything_is_made() -> None:
    preset = Preset.model_validate({"name": "mine", "coarse_shape": {"prior": "avatarclip"}})
    with pytest.raises(ConfigError, match="the body is anny: run with --body smpl"):
        Recipe.of(preset, "anny", "bodyclip")


@pytest.mark.parametrize(
    ("prior", "missing"), [("vposer", "vposer"), ("avatarclip", "vposer"), ("own", "own-poses")]
)
def test_a_prior_that_is_not_here_says_how_to_add_it(prior: str, missing: str) -> None:
    with pytest.raises(ConfigError, match=rf"\({missing}\) is not on this machine.*avatars models add PATH"):
        keys(prior=prior)
