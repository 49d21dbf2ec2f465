"""Bodies that users bring have a shape codebook of their own, made once."""

from dataclasses import replace

import pytest
import torch
from synthetic_smpl import write_npz

from avatar_core.bodies import load_body
from avatar_core.bodies.brought import add_models
from avatar_core.errors import WeightsError
from avatar_core.priors import body_codebook
from avatar_core.priors.body_codebook import shape_codebook_of
from avatar_core.priors.features import judged_body
from avatar_core.priors.shape_codebook import load_shape_codebook


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("models")
        patch.setenv("AVATARS_MODELS", str(root))
        add_models(write_npz(root.parent / "SMPL_NEUTRAL.npz"))
        yield load_body("smpl")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AVATARS_CACHE", str(tmp_path))
    monkeypatch.setattr(body_codebook, "ENTRIES", 80)
    return tmp_path / "shape_codebooks"


def test_the_embedded_body_has_the_shipped_one(cache):
    assert shape_codebook_of(load_body()).digest == load_shape_codebook().digest
    assert not cache.exists()


def test_a_brought_body_has_its_own_made_once(body, cache, monkeypatch):
    book = shape_codebook_of(body)
    assert (book.body, book.body_digest) == ("smpl", body.digest)
    assert book.betas.shape == (80, 10)
    assert torch.isfinite(book.latents).all()
    assert [path.name for path in cache.iterdir()] == [f"{body.digest[:16]}-{body_codebook.SAMPLING}"]
    monkeypatch.setattr(body_codebook, "build_shape_codebook", None)
    assert shape_codebook_of(body).digest == book.digest


def test_the_same_body_gives_the_same_codebook_anywhere(body, tmp_path, monkeypatch):
    first = shape_codebook_of(body)
    monkeypatch.setenv("AVATARS_CACHE", str(tmp_path / "elsewhere"))
    assert torch.equal(shape_codebook_of(body).betas, first.betas)


def test_a_damaged_one_is_built_again(body, cache):
    first = shape_codebook_of(body)
    (kept,) = cache.glob("*/codebook.safetensors")
    kept.write_bytes(kept.read_bytes()[:100])
    assert torch.equal(shape_codebook_of(body).betas, first.betas)


def test_a_cache_that_cannot_be_written_is_named(body, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("AVATARS_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="AVATARS_CACHE"):
        shape_codebook_of(body)


def test_latents_of_a_brought_body_decode_to_its_shapes(body):
    book = shape_codebook_of(body)
    vertices = body.shape(book.betas[3]).vertices
    decoded = replace(book).decode(book.encode(vertices[None]))[0]
    torch.testing.assert_close(decoded, book.betas[3], atol=0.05, rtol=0)


@pytest.mark.parametrize(("kind", "name"), [("shape", "smpl"), ("pose", "anny"), ("motion", "anny")])
def test_poses_are_shown_by_the_embedded_body_and_shapes_by_the_bodys_own(body, kind, name):
    assert judged_body(kind, body).name == name
