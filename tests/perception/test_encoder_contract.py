"""What every backend promises, each with a model of its own."""

import importlib
from pathlib import Path

import pytest
import torch

from avatar_core.perception import load_encoder

LONG = "a man in a red shirt " * 60


def openai_encoder():
    try:
        importlib.import_module("clip")
    except Exception as error:  # as the adapter does: broken binary packages raise anything
        pytest.skip(f"OpenAI's clip package does not import here: {error}")
    if not (Path.home() / ".cache" / "clip" / "ViT-B-32.pt").is_file():
        pytest.skip("the weights of clip:ViT-B/32 are not in ~/.cache/clip, and tests fetch nothing")
    return load_encoder("clip:ViT-B/32")


@pytest.fixture(scope="module", params=["clip", "siglip", "openai"])
def encoder(request):
    if request.param == "openai":
        return openai_encoder()
    return request.getfixturevalue(f"{request.param}_encoder")


def test_images_of_any_size_become_unit_vectors(encoder):
    for size in ((32, 32), (70, 50), (40, 90)):
        features = encoder.encode_images(torch.rand(2, 3, *size))
        assert features.shape == (2, encoder.dim)
        assert features.dtype == torch.float32
        torch.testing.assert_close(features.norm(dim=1), torch.ones(2))


def test_texts_become_unit_vectors_of_the_same_space(encoder):
    features = encoder.encode_texts(["a man", "a woman in a blue dress"])
    assert features.shape == (2, encoder.dim)
    assert not features.requires_grad
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))


def test_different_inputs_have_different_features(encoder, images):
    pictures, texts = encoder.encode_images(images), encoder.encode_texts(["a man in a red shirt", "blue"])
    assert not torch.allclose(pictures[0], pictures[1], atol=1e-5)
    assert not torch.allclose(texts[0], texts[1], atol=1e-5)


def test_gradients_reach_every_pixel(encoder, images):
    encoder.encode_images(images.requires_grad_())[:, 0].sum().backward()
    assert (images.grad.abs().amax(1) > 0).float().mean() > 0.99


def test_a_batch_of_images_equals_one_by_one(encoder, images):
    alone = torch.cat([encoder.encode_images(image[None]) for image in images])
    torch.testing.assert_close(encoder.encode_images(images), alone, atol=1e-5, rtol=1e-4)


def test_a_batch_of_texts_equals_one_by_one(encoder):
    # Texts that no other test asks for: what was asked before is not computed again.
    texts = ["red", "a woman in blue, with a red shirt", "red " * 70]
    together = encoder._text_features(texts)
    alone = torch.cat([encoder._text_features([text]) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_texts_are_encoded_once(encoder, monkeypatch):
    texts = ["a man in a dress", "x", "a man in a dress"]
    first = encoder.encode_texts(texts)
    torch.testing.assert_close(first[0], first[2])
    monkeypatch.setattr(encoder, "_text_features", lambda missing: pytest.fail(f"{missing} encoded again"))
    torch.testing.assert_close(encoder.encode_texts(["x", "a man in a dress"]), first[1:])


def test_texts_longer_than_the_context_are_cut(encoder):
    kept, longer = encoder.encode_texts([LONG, LONG + "woman"])
    torch.testing.assert_close(kept, longer)


def test_unknown_and_empty_texts_have_features(encoder):
    assert torch.isfinite(encoder.encode_texts(["Übergrößenträger 🤖 42", ""])).all()


def test_wrong_image_shapes_are_named(encoder):
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        encoder.encode_images(torch.rand(3, 32, 32))


def test_facts_about_the_encoder(encoder):
    assert len(encoder.digest) == 64
    assert encoder.image_size >= 32
    assert encoder.device == torch.device("cpu")
