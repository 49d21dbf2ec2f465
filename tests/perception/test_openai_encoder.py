"""The adapter of OpenAI's `clip` package.

The package needs torchvision and a download, so a small module stands in for it here: real torch modules with the
package's functions and signatures, half-precision weights as on a GPU, and its refusal of long texts. What the package
itself computes is left to test_encoder_contract.py, where it is installed.
"""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from avatar_core.errors import WeightsError
from avatar_core.perception import encoder_folder, load_encoder
from avatar_core.perception.openai_encoder import state_digest
from avatar_core.perception.preprocess import resize

CONTEXT = 8


class Visual(torch.nn.Module):
    input_resolution = 16

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3 * 16 * 16, 6)

    def forward(self, pixels):
        return self.linear(pixels.flatten(1))


class Model(torch.nn.Module):
    def __init__(self, seed):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.visual, self.words = Visual(), torch.nn.Embedding(128, 6)
            self.logit_scale = torch.nn.Parameter(torch.ones([]))

    def encode_image(self, image):
        return self.visual(image)

    def encode_text(self, text):
        return self.words(text.long()).cumsum(1)[:, -1]


def tokenize(texts, context_length=CONTEXT, truncate=False):
    rows = torch.zeros(len(texts), context_length, dtype=torch.int)
    for row, text in zip(rows, texts):
        if len(text) > context_length and not truncate:
            raise RuntimeError(f"Input {text} is too long for context length {context_length}")
        row[: len(text)] = torch.tensor([ord(one) for one in text[:context_length]])
    return rows


@pytest.fixture
def package(monkeypatch):
    """A stand-in for the package, and what it was asked to load."""
    module, calls = ModuleType("clip"), []

    def load(name, device="cuda", jit=False):
        calls.append((name, str(device), jit))
        return Model(seed=len(name)).half().train(), None

    module.available_models = lambda: ["RN50", "ViT-B/32"]
    module.load, module.tokenize = load, tokenize
    monkeypatch.setitem(sys.modules, "clip", module)
    return SimpleNamespace(module=module, calls=calls)


def test_a_model_is_loaded_without_jit_and_runs_frozen_in_float32(package):
    encoder = load_encoder("clip:ViT-B/32")
    assert package.calls == [("ViT-B/32", "cpu", False)]
    assert (encoder.name, encoder.image_size, encoder.dim) == ("clip:ViT-B/32", 16, 6)
    assert encoder.device == torch.device("cpu")
    assert not encoder._model.training
    assert {parameter.dtype for parameter in encoder._model.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in encoder._model.parameters())


def test_images_are_resized_and_normalised_as_clips_are(package, images):
    encoder = load_encoder("clip:ViT-B/32")
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    wanted = encoder._model.visual((resize(images, 16) - mean) / std)
    torch.testing.assert_close(encoder.encode_images(images), wanted / wanted.norm(dim=1, keepdim=True))


def test_gradients_reach_every_pixel(package, images):
    load_encoder("clip:ViT-B/32").encode_images(images.requires_grad_())[:, 0].sum().backward()
    assert (images.grad.abs().amax(1) > 0).float().mean() > 0.99


def test_long_texts_are_cut_and_each_is_encoded_once(package, monkeypatch):
    encoder = load_encoder("clip:ViT-B/32")
    features = encoder.encode_texts(["x" * 500, "red", "x" * 501])
    torch.testing.assert_close(features[0], features[2])
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3))
    assert not features.requires_grad
    package.module.tokenize = lambda texts, truncate: pytest.fail(f"{texts} tokenized again")
    torch.testing.assert_close(encoder.encode_texts(["red"])[0], features[1])


def test_the_digest_follows_the_weights(package):
    first, again, other = (load_encoder(name).digest for name in ("clip:RN50", "clip:RN50", "clip:ViT-B/32"))
    assert first == again != other


def test_a_state_digest_follows_names_shapes_and_values_and_not_their_order():
    state = {"a": torch.arange(4.0), "b": torch.tensor(2)}
    found = state_digest(state)
    assert state_digest(dict(reversed(state.items()))) == found
    changed = ({"a": torch.arange(4.0)}, state | {"b": torch.tensor(3)}, state | {"a": torch.arange(4.0).view(2, 2)})
    assert found not in {state_digest(one) for one in changed}


def test_names_that_the_package_has_not_are_told_what_it_has(package):
    with pytest.raises(WeightsError, match="'ViT-B/99'; it has RN50, ViT-B/32"):
        load_encoder("clip:ViT-B/99")
    assert package.calls == []


def test_other_dtypes_are_refused(package):
    with pytest.raises(WeightsError, match="float32 only"):
        load_encoder("clip:ViT-B/32", dtype=torch.bfloat16)


def test_a_failed_download_says_what_to_copy(package):
    def load(name, device, jit):
        raise OSError("no route to host")

    package.module.load = load
    with pytest.raises(WeightsError, match=r"no route to host.*~/\.cache/clip.*openai/clip-vit-base-patch32"):
        load_encoder("clip:ViT-B/32")


@pytest.mark.parametrize("error", [ImportError("no torchvision"), RuntimeError("operator nms does not exist")])
def test_a_package_that_does_not_import_says_how_to_install_it(monkeypatch, tmp_path, error):
    monkeypatch.delitem(sys.modules, "clip", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "clip.py").write_text(f"raise {error!r}")
    with pytest.raises(
        WeightsError, match=rf"{error}.*pip install git\+https://github\.com/openai/CLIP\.git"
    ) as caught:
        load_encoder("clip:ViT-B/32")
    assert "openai/clip-vit-base-patch32" in str(caught.value)


def test_a_package_of_the_same_name_is_told_apart(monkeypatch):
    monkeypatch.setitem(sys.modules, "clip", ModuleType("clip"))
    with pytest.raises(WeightsError, match="another one here, of the same name"):
        load_encoder("clip:ViT-B/32")


def test_the_package_is_left_alone_until_it_is_asked_for(monkeypatch, clip_folder):
    monkeypatch.setitem(sys.modules, "clip", None)  # importing it fails
    assert load_encoder(str(clip_folder)).dim == 16
    with pytest.raises(WeightsError, match="pip install"):
        load_encoder("clip:ViT-B/32")


def test_it_has_no_checkpoint_folder(package):
    with pytest.raises(WeightsError, match="has no checkpoint folder"):
        encoder_folder("clip:ViT-B/32")
