"""`avatars import-conf` on the screen, in files and for scripts."""

import json

import pytest
from avatarclip_confs import CONFS
from typer.testing import CliRunner

from avatar_core.catalog import read_catalog
from avatar_core.config import load_preset
from flows.cli.app import app


@pytest.fixture
def conf(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    path = tmp_path / "gardener.conf"
    path.write_text(CONFS["examples_small/gardener"])
    return path


def call(*arguments):
    return CliRunner().invoke(app, ["import-conf", *map(str, arguments)])


def test_a_preset_and_a_catalog_are_written_and_every_fate_is_told(conf, tmp_path):
    done = call(conf, "--out", "mine.yaml", "--catalog", "people.csv")
    assert done.exit_code == 0
    for word in ("train.mask_weight = 1.0", "corrected", "ignored", "sdf_width: 128", "extends: paper"):
        assert word in done.output
    assert "avatars run people.csv --preset mine.yaml" in done.output
    assert "shape and motion" in done.output
    assert load_preset("mine.yaml").implicit_init.field.positional.sdf_width == 128
    (row,) = read_catalog(tmp_path / "people.csv")
    assert row.appearance == "a gardener"


def test_without_a_name_the_preset_lies_here_under_the_files_own(conf, tmp_path):
    assert call(conf).exit_code == 0
    assert load_preset(tmp_path / "gardener.yaml").texturing.steps == 30_000
    assert not list(tmp_path.glob("*.csv"))


def test_files_that_are_there_are_left_alone(conf, tmp_path):
    (tmp_path / "people.csv").write_text("mine")
    refused = call(conf, "--catalog", "people.csv")
    assert refused.exit_code == 2
    assert "people.csv is there already" in refused.output
    assert (tmp_path / "people.csv").read_text() == "mine"
    assert not (tmp_path / "gardener.yaml").exists()


def test_scripts_get_all_keys(conf):
    facts = json.loads(call(conf, "--json").output)
    assert facts["kind"] == "appearance"
    fates = {one["key"]: one["fate"] for one in facts["keys"]}
    assert fates["train.end_iter"] == "mapped"
    assert fates["train.pretrain"] == "ignored"
    assert facts["row"]["id"] == "gardener"


def test_mistakes_end_with_status_two_and_write_nothing(conf, tmp_path):
    assert call(conf, "--out", "mine.txt").exit_code == 2
    conf.write_text('include "/etc/passwd"')
    refused = call(conf)
    assert refused.exit_code == 2
    assert "gardener.conf: line 1" in refused.output
    assert [path.name for path in tmp_path.iterdir()] == ["gardener.conf"]


def test_nothing_in_a_file_steers_the_terminal(conf):
    conf.write_text('clip { prompt = a king }\ngeneral { recording = "\x1b[2J\x07 [red]" }\n')
    shown = call(conf).output
    assert "\x1b[2J" not in shown
    assert "\x07" not in shown
    assert "[red]" in shown
