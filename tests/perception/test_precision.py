"""Guidance in less precision leads the same way."""

import pytest
import torch

from avatar_core.errors import WeightsError
from avatar_core.perception import load_encoder
from avatar_core.perception.precision import for_guidance
from avatar_core.stages.texturing_losses import guidance

TEXTS = ["a man in a red shirt", "a woman in a blue dress", "a person"]


@pytest.fixture(scope="module")
def bodyclip_encoder():
    """The one that ships with the package."""
    return load_encoder("bodyclip")


@pytest.mark.parametrize("family", ["clip", "siglip", "bodyclip"])
def test_bfloat16_leads_where_float32_does(family, images, request):
    encoder = request.getfixturevalue(f"{family}_encoder")
    losses, gradients = [], []
    for precision in ("float32", "bfloat16"):
        seen = images.clone().requires_grad_()
        loss = guidance(for_guidance(encoder, precision), seen, encoder.encode_texts(TEXTS)).mean()
        gradients.append(torch.autograd.grad(loss, seen)[0].flatten())
        losses.append(float(loss.detach()))
    assert losses[1] == pytest.approx(losses[0], abs=5e-3)
    assert losses[1] != losses[0], "nothing was computed in less precision"
    assert torch.cosine_similarity(*gradients, dim=0) > 0.97
    assert gradients[1].dtype == torch.float32


def test_a_cpu_guides_in_float32_unless_told_otherwise(clip_encoder):
    assert for_guidance(clip_encoder, "auto") is clip_encoder
    assert for_guidance(clip_encoder, "float32") is clip_encoder


def test_an_encoder_is_converted_once_and_stays_what_it_is(clip_encoder, images):
    before = clip_encoder.encode_images(images)
    half = for_guidance(clip_encoder, "bfloat16")
    assert half is for_guidance(clip_encoder, "bfloat16")
    assert half.in_dtype(torch.float32) is clip_encoder
    assert (half.digest, half.dim) == (clip_encoder.digest, clip_encoder.dim)
    assert torch.equal(clip_encoder.encode_images(images), before)
    assert not torch.equal(half.encode_texts(["a man"]), clip_encoder.encode_texts(["a man"]))


def test_a_precision_that_an_encoder_has_not_is_refused(clip_encoder, monkeypatch):
    monkeypatch.setattr(clip_encoder, "dtypes", (torch.float32,), raising=False)
    with pytest.raises(WeightsError, match=r"computes in torch\.float32, not in torch\.float16"):
        clip_encoder.in_dtype(torch.float16)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_guides_in_bfloat16(clip_folder, images):
    encoder = load_encoder(str(clip_folder), device="cuda")
    fast = for_guidance(encoder, "auto")
    assert fast is encoder.in_dtype(torch.bfloat16)
    assert (fast.encode_images(images) * encoder.encode_images(images)).sum(1).min() > 0.999
