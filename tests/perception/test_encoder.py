import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

from avatar_core.errors import WeightsError
from avatar_core.perception import encoder_folder, load_encoder


def copy_tokenizer(source, target):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (target / name).write_bytes((source / name).read_bytes())


def copy_folder(source, target):
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_no_weight_gets_a_gradient(clip_encoder, images):
    clip_encoder.encode_images(images.requires_grad_())[:, 0].sum().backward()
    assert all(parameter.grad is None for parameter in clip_encoder._model.parameters())


def test_the_digest_follows_the_weights(clip_folder, clip_encoder, write_clip, tmp_path):
    assert load_encoder(str(write_clip(tmp_path, seed=1))).digest != clip_encoder.digest
    assert load_encoder(str(clip_folder)).digest == clip_encoder.digest


def test_a_sharded_checkpoint_has_the_features_of_a_whole_one(clip_folder, clip_encoder, images, tmp_path):
    CLIPModel.from_pretrained(str(clip_folder)).save_pretrained(str(tmp_path), max_shard_size="30KB")
    copy_tokenizer(clip_folder, tmp_path)
    (tmp_path / "preprocessor_config.json").write_bytes((clip_folder / "preprocessor_config.json").read_bytes())
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert len(shards) > 1
    sharded = load_encoder(str(tmp_path))
    torch.testing.assert_close(sharded.encode_images(images), clip_encoder.encode_images(images))
    torch.testing.assert_close(sharded.encode_texts(["red shirt"]), clip_encoder.encode_texts(["red shirt"]))

    tensors = load_file(shards[-1])
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, shards[-1], metadata={"format": "pt"})
    assert load_encoder(str(tmp_path)).digest != sharded.digest
    shards[-1].unlink()
    with pytest.raises(WeightsError, match=shards[-1].name):
        load_encoder(str(tmp_path))


def test_a_checkpoint_without_an_image_processor_is_normalised_as_its_family_is(clip_folder, siglip_folder, tmp_path):
    copy_folder(clip_folder, tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    assert load_encoder(str(tmp_path))._mean.tolist() == pytest.approx((0.4815, 0.4578, 0.4082), abs=1e-4)
    assert load_encoder(str(siglip_folder))._mean.tolist() == [0.5, 0.5, 0.5]


def test_an_image_processor_within_a_processor_is_read(siglip_folder, tmp_path):
    copy_folder(siglip_folder, tmp_path)
    saved = {"image_processor": {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1]}, "processor_class": "any"}
    (tmp_path / "processor_config.json").write_text(json.dumps(saved))
    assert load_encoder(str(tmp_path))._mean.tolist() == pytest.approx((0.1, 0.2, 0.3))


@pytest.mark.parametrize("family", ["clip", "siglip"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_agrees_with_full(family, dtype, images, request):
    whole = request.getfixturevalue(f"{family}_encoder")
    half = load_encoder(str(request.getfixturevalue(f"{family}_folder")), dtype=dtype)
    assert half._model.dtype == dtype

    found, wanted = half.encode_images(images.requires_grad_()), whole.encode_images(images)
    said, meant = half.encode_texts(["a man", "red " * 50]), whole.encode_texts(["a man", "red " * 50])
    assert found.dtype == said.dtype == torch.float32
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    assert (found * wanted).sum(1).min() > 0.999
    assert (said * meant).sum(1).min() > 0.999

    (gradient,) = torch.autograd.grad(found[:, 0].sum(), images)
    (full,) = torch.autograd.grad(wanted[:, 0].sum(), images)
    assert torch.cosine_similarity(gradient.flatten(), full.flatten(), dim=0) > 0.98


def test_other_dtypes_are_refused(clip_folder):
    with pytest.raises(ValueError, match=r"int8; expected one of torch\.float32"):
        load_encoder(str(clip_folder), dtype=torch.int8)


def test_a_truncated_checkpoint_is_named(clip_folder, tmp_path):
    copy_folder(clip_folder, tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(WeightsError, match="could not be loaded"):
        load_encoder(str(tmp_path))


def test_weights_that_lack_tensors_are_refused_rather_than_made_up(clip_folder, tmp_path):
    copy_folder(clip_folder, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"lack 1 .* visual_projection\.weight"):
        load_encoder(str(tmp_path))


def test_a_folder_without_weights_is_named(clip_folder, tmp_path):
    (tmp_path / "config.json").write_bytes((clip_folder / "config.json").read_bytes())
    with pytest.raises(WeightsError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        load_encoder(str(tmp_path))


def test_a_folder_without_a_tokenizer_is_named(clip_folder, tmp_path):
    copy_folder(clip_folder, tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(WeightsError, match="tokenizer"):
        load_encoder(str(tmp_path))


def test_an_offline_hub_model_says_how_to_fetch_it_once(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="hf download openai/clip-that-is-not-here"):
        load_encoder("openai/clip-that-is-not-here")


@pytest.mark.parametrize(("kept", "asked"), [("model.safetensors", 1), ("config.json", 2)])
def test_pickles_are_fetched_only_where_the_hub_has_no_safetensors(monkeypatch, tmp_path, kept, asked):
    """With a stand-in for the download, which takes the place of a network."""
    patterns = []

    def download(name, allow_patterns, local_files_only):
        patterns.append(allow_patterns)
        (tmp_path / kept).touch()
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert encoder_folder("someone/some-clip") == tmp_path
    assert len(patterns) == asked
    assert not any(pattern.endswith(".bin") for pattern in patterns[0])


def test_a_missing_folder_is_named():
    with pytest.raises(WeightsError, match="no such folder"):
        load_encoder("/nowhere/at/all")
