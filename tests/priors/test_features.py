from dataclasses import replace

import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.errors import ConfigError
from avatar_core.perception.encoder import load_encoder
from avatar_core.priors import choices
from avatar_core.priors.features import codebook_features, compute_features
from avatar_core.priors.pose_vae import PoseCodebook
from avatar_core.priors.shape_codebook import load_shape_codebook
from avatar_core.priors.view_encoders import EncoderViews, load_view_encoder, shape_views
from avatar_core.priors.views import GreyViews


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("bodyclip")


@pytest.fixture
def small_shapes(monkeypatch, tmp_path):
    """A codebook of five shapes, which nobody ships features of, and an empty cache."""
    book = load_shape_codebook()
    small = replace(book, latents=book.latents[::300][:5], betas=book.betas[::300][:5], digest="five shapes")
    monkeypatch.setattr(choices, "shape_codebook_of", lambda body: small)
    monkeypatch.setenv("AVATARS_CACHE", str(tmp_path / "cache"))
    return small


@pytest.mark.parametrize(("kind", "frames"), [("shape", None), ("pose", None), ("motion", 5)])
def test_features_of_the_default_encoder_are_shipped(kind, frames, body, encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("AVATARS_CACHE", str(tmp_path))
    computed = []
    found = codebook_features(kind, encoder, body, progress=lambda *facts: computed.append(facts))
    assert computed == []
    assert list(tmp_path.iterdir()) == []
    assert found.shape[1:] == ((encoder.dim,) if frames is None else (frames, encoder.dim))
    assert torch.allclose(found.norm(dim=-1), torch.ones(found.shape[:-1]), atol=2e-3)


def test_shipped_features_are_those_of_the_shipped_codebook(body, encoder):
    book, view = load_shape_codebook(), load_view_encoder("shape", encoder, body)
    shipped, views = codebook_features("shape", encoder, body), GreyViews(body, view.image_size)
    for entry in (0, 700):
        own = view.encode(shape_views(views, body.shape(book.betas[entry]))[None])[0]
        assert own @ shipped[entry] > 0.999


def test_other_features_are_computed_once_and_kept(small_shapes, body, encoder):
    done: list[tuple[int, int]] = []
    first = codebook_features("shape", encoder, body, progress=lambda step, total, note: done.append((step, total)))
    assert first.shape == (5, encoder.dim)
    assert done[-1] == (5, 5)
    done.clear()
    again = codebook_features("shape", encoder, body, progress=lambda step, total, note: done.append((step, total)))
    assert done == []
    assert torch.equal(first, again)


def test_a_damaged_cache_is_computed_again(small_shapes, body, encoder, tmp_path):
    first = codebook_features("shape", encoder, body)
    (kept,) = (tmp_path / "cache").rglob("features-*.safetensors")
    kept.write_bytes(kept.read_bytes()[:40])
    assert torch.equal(codebook_features("shape", encoder, body), first)


def test_another_codebook_has_features_of_its_own(small_shapes, body, encoder, monkeypatch):
    first = codebook_features("shape", encoder, body)
    other = replace(small_shapes, betas=small_shapes.betas.flip(0), digest="reversed")
    monkeypatch.setattr(choices, "shape_codebook_of", lambda body: other)
    assert torch.allclose(codebook_features("shape", encoder, body), first.flip(0), atol=2e-3)


def test_poses_are_told_apart(body, encoder, monkeypatch):
    book = PoseCodebook.load()
    standing = next(i for i, label in enumerate(book.labels) if label == "standing still")
    sitting = next(i for i, label in enumerate(book.labels) if label == "sitting and dangling the legs")
    chosen = torch.tensor([standing, sitting])
    small = replace(
        book,
        latents=book.latents[chosen],
        roots=book.roots[chosen],
        heights=book.heights[chosen],
        labels=("standing", "sitting"),
        captions=((), ()),
        digest="two poses",
    )
    monkeypatch.setattr(PoseCodebook, "load", classmethod(lambda cls: small))
    for view in (load_view_encoder("pose", encoder, body), EncoderViews("pose", encoder, body)):
        pair = compute_features("pose", view, body)
        assert pair.shape == (2, encoder.dim)
        assert pair[0] @ pair[1] < 0.999


def test_an_unknown_codebook_is_refused(body, encoder):
    with pytest.raises(ConfigError, match="shape, pose and motion"):
        codebook_features("hair", encoder, body)
