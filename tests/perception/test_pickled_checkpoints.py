"""Pickled checkpoints are read as far as they hold tensors; none of them ever runs anything."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file

from avatar_core.errors import WeightsError
from avatar_core.perception import folder_digest, load_encoder

FIRST, SECOND = "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"


class Trap:
    """An object whose unpickling creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def folder(clip_folder, tmp_path):
    """The small CLIP's folder without its weights."""
    path = tmp_path / "checkpoint"
    path.mkdir()
    for file in clip_folder.iterdir():
        if file.suffix != ".safetensors":
            (path / file.name).write_bytes(file.read_bytes())
    return path


@pytest.fixture
def weights(clip_folder):
    return load_file(clip_folder / "model.safetensors")


def save_whole(content, folder):
    torch.save(content, folder / "pytorch_model.bin")
    return folder / "pytorch_model.bin"


def save_legacy(content, folder):
    torch.save(content, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    return folder / "pytorch_model.bin"


def save_sharded(content, folder):
    names = list(content)
    shards = {FIRST: names[::2], SECOND: names[1::2]}
    for file, kept in shards.items():
        torch.save({name: content[name] for name in kept}, folder / file)
    index = {"metadata": {}, "weight_map": {name: file for file, kept in shards.items() for name in kept}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder / SECOND


@pytest.mark.parametrize("save", [save_whole, save_legacy, save_sharded])
def test_a_pickle_of_tensors_has_the_features_of_its_safetensors_twin(save, folder, weights, clip_encoder, images):
    save(weights, folder)
    pickled = load_encoder(str(folder))
    torch.testing.assert_close(pickled.encode_images(images), clip_encoder.encode_images(images))
    texts = ["a man in a red shirt", "dress"]
    torch.testing.assert_close(pickled.encode_texts(texts), clip_encoder.encode_texts(texts))


@pytest.mark.parametrize("save", [save_whole, save_legacy, save_sharded])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(save, folder, weights, tmp_path):
    sprung = tmp_path / "sprung"
    file = save(weights | {list(weights)[1]: Trap(sprung)}, folder)
    with pytest.raises(WeightsError, match=rf"{file.name} .* asks for \S*open; .* refused\. Get .*\*\.safetensors"):
        load_encoder(str(folder))
    assert not sprung.exists()
    spring, arguments = Trap(sprung).__reduce__()  # the call that the message says the file asks for
    spring(*arguments).close()
    assert sprung.exists(), "the trap is no trap, so that this test proves nothing"


def test_a_pickle_that_is_not_torchs_own_is_refused_and_runs_nothing(folder, tmp_path):
    sprung = tmp_path / "sprung"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Trap(sprung)}, protocol=4))
    with pytest.warns(UserWarning, match="protocol 4"), pytest.raises(WeightsError, match="refused"):
        load_encoder(str(folder))
    assert not sprung.exists()


def test_nothing_that_a_user_sets_unlocks_full_unpickling(folder, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    save_whole(weights | {"extra": Trap(tmp_path / "sprung")}, folder)
    with pytest.raises(WeightsError, match="refused"):
        load_encoder(str(folder))
    assert not (tmp_path / "sprung").exists()


def test_a_pickled_module_is_refused(folder):
    save_whole(torch.nn.Linear(2, 2), folder)
    with pytest.raises(WeightsError, match=r"asks for torch\.nn\.modules\.linear\.Linear"):
        load_encoder(str(folder))


def test_a_safetensors_file_goes_before_a_pickle_beside_it(clip_folder, folder, tmp_path):
    save_whole({"weight": Trap(tmp_path / "sprung")}, folder)
    (folder / "model.safetensors").write_bytes((clip_folder / "model.safetensors").read_bytes())
    assert load_encoder(str(folder)).digest == folder_digest(clip_folder)


@pytest.mark.parametrize("save", [save_whole, save_sharded])
def test_the_digest_follows_the_pickled_weights(save, folder, weights):
    save(weights, folder)
    before = folder_digest(folder)
    assert folder_digest(folder) == before
    last = list(weights)[-1]
    save(weights | {last: weights[last] + 1}, folder)
    assert folder_digest(folder) != before


@pytest.mark.parametrize("content", [{}, [1, 2], {"state": {"epoch": 3}}])
def test_a_pickle_without_weights_is_named(folder, content):
    save_whole(content, folder)
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin holds no tensors by name"):
        load_encoder(str(folder))


@pytest.mark.parametrize("kept", [0, 2000])
def test_a_truncated_pickle_is_named(folder, weights, kept):
    file = save_whole(weights, folder)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin is damaged .*; fetch it again"):
        load_encoder(str(folder))


def test_a_placeholder_of_git_lfs_is_refused(folder):
    (folder / "pytorch_model.bin").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin is damaged"):
        load_encoder(str(folder))


@pytest.mark.parametrize("index", ["{", "{}", '{"weight_map": 3}'])
def test_a_broken_index_of_shards_is_named(folder, index):
    (folder / "pytorch_model.bin.index.json").write_text(index)
    with pytest.raises(WeightsError, match=r"index\.json is no index of shards"):
        load_encoder(str(folder))
