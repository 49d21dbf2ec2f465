"""Presets: YAML files of differences that say clearly what is wrong with them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from avatar_core.config import DEFAULT_PRESETS, load_preset, preset_names
from avatar_core.errors import ConfigError
from avatar_core.fields import PositionalConfig


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_every_packaged_preset_loads_under_its_name() -> None:
    assert {"draft", "standard", "paper", "tiny"} <= set(preset_names())
    for name in preset_names():
        preset = load_preset(name)
        assert preset.name == name
        assert preset.description
    assert set(DEFAULT_PRESETS.values()) <= set(preset_names())


def test_presets_differ_as_their_names_say() -> None:
    steps = {name: load_preset(name).texturing.steps for name in ("tiny", "draft", "standard", "paper")}
    assert steps["tiny"] < steps["draft"] < steps["standard"] < steps["paper"] == 30_000


def test_the_papers_preset_has_its_networks_and_its_samples() -> None:
    paper = load_preset("paper")
    field = paper.implicit_init.field
    assert (field.kind, field.positional) == ("positional", PositionalConfig())
    assert paper.texturing.intervals == 32 + 32
    assert {load_preset(name).implicit_init.field.kind for name in preset_names() if name != "paper"} == {"hash"}


def test_a_file_changes_what_it_mentions_and_nothing_else(tmp_path: Path) -> None:
    mine = load_preset(write(tmp_path / "mine.yaml", "extends: tiny\ntexturing:\n  losses:\n    eikonal: 0.7\n"))
    tiny = load_preset("tiny")
    assert mine.name == "mine"
    assert mine.texturing.losses.eikonal == 0.7
    losses = tiny.texturing.losses.model_copy(update={"eikonal": 0.7})
    assert mine.texturing == tiny.texturing.model_copy(update={"losses": losses})
    assert mine.motion == tiny.motion


def test_a_file_can_extend_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", "extends: draft\nseed: 5\n")
    assert load_preset(write(tmp_path / "top.yaml", "extends: base.yaml\nmotion: {steps: 3}\n")).seed == 5


def test_what_is_usual_is_not_written_into_keys(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("candidate_poses: { renderer: neural_renderer }", encoding="utf-8")
    usual, mine = load_preset("draft"), load_preset(path)
    for stage in ("coarse_shape", "candidate_poses", "motion"):
        assert not {"renderer", "prior"} & set(usual.stage(stage).model_dump())
    assert mine.candidate_poses.model_dump()["renderer"] == "neural_renderer"


def test_presets_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load_preset("tiny").seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("texturing:\n  stepz: 3\n", ["mine.yaml", "texturing.stepz", "did you mean 'steps'"]),
        ("texturig: {}\n", ["mine.yaml", "texturig", "did you mean 'texturing'"]),
        ("texturing:\n  losses: {eikonol: 1}\n", ["texturing.losses.eikonol", "'eikonal'"]),
        ("texturing:\n  steps: many\n", ["texturing.steps", "integer", "'many'"]),
        ("texturing:\n  steps: -1\n", ["texturing.steps", "greater than or equal to 0"]),
        ("- a list\n", ["mine.yaml", "list"]),
        ("texturing: [unclosed\n", ["mine.yaml", "YAML"]),
        ("extends: mine.yaml\n", ["extends itself"]),
        ("extends: drafd\n", ["drafd", "did you mean 'draft'"]),
        ("extends: 3\n", ["extends", "3"]),
    ],
)
def test_mistakes_name_the_file_the_key_and_the_remedy(text: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_preset(write(tmp_path / "mine.yaml", text))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["drat", "none/such.yaml", "such.yaml"])
def test_a_preset_that_does_not_exist_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load_preset(name)


def test_yaml_cannot_build_objects(tmp_path: Path) -> None:
    text = "seed: !!python/object/apply:os.system ['true']\n"
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_preset(write(tmp_path / "mine.yaml", text))
