import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from avatar_core.errors import WeightsError
from avatar_core.perception import load_encoder
from avatar_core.training.bodyclip_export import export_bodyclip
from avatar_core.training.bodyclip_model import BodyClipConfig, build_bodyclip
from avatar_core.training.bodyclip_tokenizer import train_tokenizer

TINY = BodyClipConfig(
    image_size=32, patch_size=16, vision_width=32, vision_layers=1, text_width=32, text_layers=1, context=12,
    vocab_size=300, projection=16,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip")
    model = build_bodyclip(TINY, seed=0)
    tokenizer = train_tokenizer(["a man in a red shirt", "a woman in a blue dress"] * 4, 300, TINY.context)
    export_bodyclip(model, model.state_dict(), tokenizer, path)
    return path


@pytest.fixture(scope="module")
def encoder(folder):
    return load_encoder(str(folder))


def test_features_are_unit_vectors_for_any_image_size(encoder):
    for size in ((32, 32), (70, 50)):
        features = encoder.encode_images(torch.rand(3, 3, *size))
        assert features.shape == (3, encoder.dim) == (3, 16)
        torch.testing.assert_close(features.norm(dim=1), torch.ones(3))


def test_gradients_reach_every_pixel_and_no_weight(encoder):
    images = torch.rand(2, 3, 64, 64, requires_grad=True)
    encoder.encode_images(images)[:, 0].sum().backward()
    assert (images.grad.abs().amax(1) > 0).float().mean() > 0.99
    assert all(parameter.grad is None for parameter in encoder._model.parameters())


def test_texts_are_encoded_once_and_independently_of_their_batch(encoder):
    together = encoder.encode_texts(["a man in a red shirt", "x", "a man in a red shirt"])
    torch.testing.assert_close(together[0], together[2])
    fresh = type(encoder).encode_texts
    assert fresh(encoder, ["x"])[0].data_ptr() != together[1].data_ptr()
    torch.testing.assert_close(encoder.encode_texts(["x"])[0], together[1])
    assert not together.requires_grad


def test_long_unknown_and_empty_texts_do_not_crash(encoder):
    found = encoder.encode_texts(["red " * 500, "Übergrößenträger 🤖 42", ""])
    assert torch.isfinite(found).all()


def test_wrong_image_shapes_are_named(encoder):
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        encoder.encode_images(torch.rand(3, 32, 32))


def test_the_digest_follows_the_weights(folder, encoder, tmp_path):
    model = build_bodyclip(TINY, seed=1)
    tokenizer = train_tokenizer(["a man in a red shirt", "a woman in a blue dress"] * 4, 300, TINY.context)
    export_bodyclip(model, model.state_dict(), tokenizer, tmp_path)
    assert load_encoder(str(tmp_path)).digest != encoder.digest
    assert load_encoder(str(folder)).digest == encoder.digest


def test_any_clip_layout_loads_without_a_preprocessor_file(folder, tmp_path):
    config = CLIPConfig.from_pretrained(str(folder))
    config.vision_config.image_size = 48
    CLIPModel(config).save_pretrained(str(tmp_path))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert load_encoder(str(tmp_path)).encode_images(torch.rand(1, 3, 96, 96)).shape == (1, 16)


def test_a_pickle_is_refused(folder, tmp_path):
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="pickle"):
        load_encoder(str(tmp_path))


def test_a_truncated_checkpoint_is_named(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[: 2000 if path.suffix == ".safetensors" else None])
    with pytest.raises(WeightsError, match="could not be loaded"):
        load_encoder(str(tmp_path))


def test_an_offline_hub_model_says_how_to_fetch_it_once(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="hf download openai/clip-that-is-not-here"):
        load_encoder("openai/clip-that-is-not-here")


def test_a_missing_folder_is_named():
    with pytest.raises(WeightsError, match="no such folder"):
        load_encoder("/nowhere/at/all")
