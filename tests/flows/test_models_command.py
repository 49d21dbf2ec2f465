"""`avatars models` on the screen and for scripts."""

import json
import pickle

import pytest
import torch
from brought_priors import write_vposer
from synthetic_smpl import write_npz
from typer.testing import CliRunner

from flows.cli.app import app


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("AVATARS_MODELS", str(tmp_path / "models"))


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    return write_npz(tmp_path_factory.mktemp("smpl") / "SMPL_NEUTRAL.npz")


def call(*arguments):
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def test_a_model_is_added_listed_and_removed(npz):
    added = call("add", npz)
    assert added.exit_code == 0
    assert "smpl: added" in added.output
    assert "non-commercial" in added.output
    (listed,) = json.loads(call("list", "--json").output)["models"]
    assert (listed["name"], listed["source"]) == ("smpl", "SMPL_NEUTRAL.npz")
    assert "smpl" in call("list").output
    assert call("remove", "smpl").exit_code == 0
    assert "add one" in call("list").output


def test_priors_are_added_listed_and_removed_beside_bodies(npz, tmp_path):
    call("add", npz)
    added = call("add", write_vposer(tmp_path))
    assert added.exit_code == 0
    assert "vposer: added" in added.output
    assert "non-commercial" in added.output
    assert "candidate_poses.prior: vposer" in added.output
    assert "Left out: V02_05/snapshots/V02_05_epoch=08" in added.output
    assert [one["name"] for one in json.loads(call("list", "--json").output)["models"]] == ["smpl", "vposer"]
    assert "VPoser v2, 24 tensors" in call("list").output
    assert call("remove", "vposer").exit_code == 0
    assert "vposer" not in call("list").output


def test_a_prior_that_does_not_fit_ends_with_its_tensor_and_status_two(tmp_path):
    torch.save({"decoder_net.0.weight": torch.zeros(2, 3)}, tmp_path / "v.pth")
    refused = call("add", tmp_path / "v.pth")
    assert refused.exit_code == 2
    assert "decoder_net.0.weight has the shape [2, 3], expected [512, 32]" in refused.output.replace("\n", " ")


def test_a_path_that_is_not_there_is_named(tmp_path):
    missing = call("add", tmp_path / "nowhere.ckpt")
    assert missing.exit_code == 2
    assert "there is no such file or folder" in missing.output


def test_a_malicious_pickle_ends_with_its_name_and_status_two(tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "touched"), "w")

    path = tmp_path / "SMPL_MALE.pkl"
    path.write_bytes(pickle.dumps({"v_template": Evil()}, protocol=2))
    refused = call("add", path)
    assert refused.exit_code == 2
    assert "asks for" in refused.output
    assert not (tmp_path / "touched").exists()
    assert "add one" in call("list").output
