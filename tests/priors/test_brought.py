"""VPoser's and AvatarCLIP's own files become safe files with a record; what does not fit is named tensor by tensor."""

import json
import os
import pickle
import random
import zipfile

import pytest
import torch
from brought_priors import (
    FLOW,
    MOTION,
    VPOSER,
    flow_checkpoint,
    motion_checkpoint,
    pose_codebook,
    shape_codebook,
    vposer_checkpoint,
    vposer_state,
    write_avatarclip,
    write_vposer,
)
from safetensors.torch import load_file

from avatar_core.errors import ConfigError, WeightsError
from avatar_core.licences.terms import terms_of_weights
from avatar_core.priors import checkpoint_tensors
from avatar_core.priors.avatarclip_flow import AvatarClipFlow
from avatar_core.priors.avatarclip_motion import motion_layout
from avatar_core.priors.brought import add_priors, find_prior, holds_priors, list_priors, load_prior, remove_prior
from avatar_core.priors.checkpoint_tensors import layout_of
from avatar_core.priors.vposer import VPoser


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("AVATARS_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def saved(tmp_path, content, name="file.pth", **options):
    path = tmp_path / name
    torch.save(content, path, **options)
    return path


def without(state, *names):
    return {name: value for name, value in state.items() if name not in names}


def test_the_modules_have_the_documented_tensors():
    assert layout_of(VPoser()) == VPOSER
    assert layout_of(AvatarClipFlow()) == FLOW | {"mask": (8, 1, 32)}
    assert motion_layout() == {name: shape for name, shape in MOTION.items() if name.startswith("decoder.")}


def test_the_later_snapshot_of_a_download_is_kept_with_its_licence(tmp_path, root):
    added = add_priors(write_vposer(tmp_path))
    (record,) = added.records
    assert (record.name, record.source) == ("vposer", "V02_05_epoch=13_val_loss=0.03.ckpt")
    assert [name for name in added.skipped if "epoch=08" in name]
    terms = terms_of_weights("vposer", record.digest, record.licence)
    assert (terms.licence, terms.commercial) == ("LicenseRef-VPoser", "no")
    kept = load_file(root / record.file / "model.safetensors")
    assert kept.keys() == VPOSER.keys()
    assert torch.equal(kept["decoder_net.0.bias"], vposer_state()["decoder_net.0.bias"])
    assert sorted(path.name for path in root.iterdir()) == [record.file, "vposer.json"]
    assert str(tmp_path) not in (root / "vposer.json").read_text()


def test_all_of_avatarclips_files_are_told_apart_by_their_tensors(tmp_path):
    records = add_priors(write_avatarclip(tmp_path / "data")).records
    assert {record.name: record.source for record in records} == {
        "avatarclip-poses": "codebook.pth",
        "avatarclip-flow": "pose_realnvp.pth",
        "avatarclip-motion": "motion_vae.pth",
    }
    (shapes,) = add_priors(saved(tmp_path, shape_codebook(), "codebook.pth")).records
    assert shapes.name == "avatarclip-shapes"
    assert [record.name for record in list_priors()] == [
        "avatarclip-poses", "avatarclip-flow", "avatarclip-motion", "avatarclip-shapes",
    ]  # fmt: skip
    assert all("non-commercial" in record.licence for record in list_priors())


def test_a_bare_state_dict_an_old_file_and_a_zip_give_the_same_weights(tmp_path):
    digests = set()
    plain = saved(tmp_path, vposer_state())
    old = saved(tmp_path, vposer_checkpoint(), "old.pth", _use_new_zipfile_serialization=False)
    archive = tmp_path / "V02_05.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(plain, "V02_05/snapshots/a.ckpt")
    for path in (plain, old, archive):
        assert holds_priors(path)
        digests.add(add_priors(path).records[0].digest)
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: without(s, "decoder_net.3.weight"), r"decoder_net\.3\.weight \[512, 512\] is missing"),
        (
            lambda s: s | {"decoder_net.0.weight": torch.zeros(512, 64)},
            r"decoder_net\.0\.weight has the shape \[512, 64\], expected \[512, 32\]",
        ),
        (lambda s: s | {"decoder_net.9.bias": torch.zeros(3)}, r"decoder_net\.9\.bias is unexpected"),
        (lambda s: s | {"decoder_net.0.bias": "none"}, r"decoder_net\.0\.bias is no tensor"),
        (
            lambda s: s | {"decoder_net.0.bias": torch.zeros(512, dtype=torch.int64)},
            r"decoder_net\.0\.bias is no tensor of floating-point numbers",
        ),
        (
            lambda s: s | {"encoder_net.2.bias": torch.full((512,), torch.nan)},
            r"encoder_net\.2\.bias hold values that are not finite",
        ),
        (
            lambda s: s | {"encoder_net.2.weight": torch.zeros(1, 1).expand(1 << 30, 1 << 20)},
            r"encoder_net\.2\.weight has the shape",
        ),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(tmp_path, root, change, message):
    with pytest.raises(WeightsError, match=message):
        add_priors(saved(tmp_path, {"state_dict": change(vposer_state())}))
    assert not root.exists()


def test_many_problems_are_counted(tmp_path):
    state = without(motion_checkpoint()["state_dict"], *[name for name in MOTION if ".layers.2." in name])
    with pytest.raises(WeightsError, match=r"layers\.2\.self_attn.* is missing; .*; and 10 more"):
        add_priors(saved(tmp_path, state))


def test_a_mask_of_other_numbers_is_refused(tmp_path):
    content = flow_checkpoint()
    content["state_dict"]["mask"][0] = 0.5
    with pytest.raises(WeightsError, match="mask holds other numbers than 0 and 1"):
        add_priors(saved(tmp_path, content))


def test_a_codebook_whose_columns_do_not_fit_is_named(tmp_path):
    content = pose_codebook() | {"codebook": torch.zeros(40, 16)}
    with pytest.raises(WeightsError, match=r"codebook has the shape \[40, 16\], expected \[40, 32\]"):
        add_priors(saved(tmp_path, content))


class Touches:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("new", [True, False])
def test_a_checkpoint_that_would_run_code_is_refused_and_nothing_ran(tmp_path, new):
    content = vposer_checkpoint() | {"callbacks": Touches(tmp_path / "touched")}
    path = saved(tmp_path, content, _use_new_zipfile_serialization=new)
    with pytest.raises(WeightsError, match="reading it could run code, so it is refused"):
        add_priors(path)
    assert not (tmp_path / "touched").exists()


def test_a_whole_module_is_refused_with_what_would_be_taken(tmp_path):
    with pytest.raises(WeightsError, match=r"asks for .*VPoser.*file of its tensors alone"):
        add_priors(saved(tmp_path, VPoser()))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x05\x06" + bytes(18), pickle.dumps({"a": 1})])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"file\.pth"):
        add_priors(path)


def test_a_checkpoint_of_something_else_is_left_out_with_what_it_holds(tmp_path):
    with pytest.raises(WeightsError, match=r"none of VPoser v2, .*: it holds layer\.weight, …"):
        add_priors(saved(tmp_path, {"layer.weight": torch.zeros(2)}))


def test_a_file_larger_than_any_prior_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_tensors, "BYTES", 1000)
    with pytest.raises(WeightsError, match="which no prior does"):
        add_priors(saved(tmp_path, vposer_state()))


@pytest.mark.parametrize("new", [True, False])
def test_damaged_checkpoints_are_read_or_refused_and_nothing_else(tmp_path, new):
    whole = saved(tmp_path, pose_codebook(3), _use_new_zipfile_serialization=new).read_bytes()
    draw, path, outcomes = random.Random(0), tmp_path / "damaged.pth", set()
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(draw.choice([1, 5, 20])):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content[: draw.choice([None, draw.randrange(len(content))])])
        try:
            outcomes.add(add_priors(path).records[0].name)
        except WeightsError:
            outcomes.add("refused")
    assert outcomes == {"avatarclip-poses", "refused"}


def test_links_in_a_folder_are_refused(tmp_path):
    path = saved(tmp_path, vposer_state())
    (tmp_path / "links").mkdir()
    os.symlink(path, tmp_path / "links" / "a.ckpt")
    with pytest.raises(WeightsError, match="is a link"):
        add_priors(tmp_path / "links")


def test_another_of_the_name_replaces_it_and_a_removed_one_says_how_to_get_it(tmp_path, root):
    first = add_priors(saved(tmp_path, vposer_state())).records[0]
    changed = vposer_state() | {"decoder_net.0.bias": torch.ones(512)}
    second = add_priors(saved(tmp_path, changed))
    assert second.replaced == ("vposer",)
    assert [path.name for path in root.iterdir() if path.is_dir()] == [second.records[0].file] != [first.file]
    remove_prior("vposer")
    assert list(root.iterdir()) == []
    with pytest.raises(ConfigError, match="avatars models add PATH"):
        find_prior("vposer")


def test_altered_files_and_damaged_records_do_not_load(tmp_path, root):
    record = add_priors(saved(tmp_path, vposer_state())).records[0]
    path = root / record.file / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="was altered since it was added"):
        load_prior("vposer")
    facts = json.loads((root / "vposer.json").read_text())
    (root / "vposer.json").write_text(json.dumps(facts | {"file": "../elsewhere"}))
    with pytest.raises(WeightsError, match="record of something else"):
        load_prior("vposer")
