"""From a configuration file of AvatarCLIP's to an avatar: its networks, made small, through all six stages."""

import importlib.resources

import pytest
import yaml
from avatarclip_confs import CONFS
from safetensors.torch import load_file

from avatar_core.export.finished import read_finished

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SMALL = {"octaves": 2, "sdf_width": 32, "sdf_layers": 2, "color_width": 32, "color_layers": 1}


def test_an_imported_preset_made_small_makes_an_avatar(avatars, tmp_path):
    conf = tmp_path / "gardener.conf"
    conf.write_text(CONFS["examples_small/gardener"])
    imported, small, library = tmp_path / "imported.yaml", tmp_path / "small.yaml", tmp_path / "library"
    assert avatars("import-conf", conf, "--out", imported).returncode == 0
    effort = yaml.safe_load((importlib.resources.files("configs") / "presets/tiny.yaml").read_text())
    effort["implicit_init"]["field"]["positional"] = SMALL
    small.write_text(yaml.safe_dump(effort | {"extends": str(imported)}))
    made = avatars(
        "make", "--shape", "a tall man", "--appearance", "a gardener", "--motion", "waving", "--id", "gil",
        "--library", library, "--preset", small, "--device", "cpu",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert list(read_finished(library / "avatars/gil/avatar.glb").clips) == ["waving", "idle"]
    (key,) = (library / "store/implicit_init").iterdir()
    assert "sdf_network.last.bias" in " ".join(load_file(key / "implicit.safetensors"))
