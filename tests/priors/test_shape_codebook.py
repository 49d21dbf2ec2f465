import numpy as np
import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.bodies.phenotypes import sample_phenotypes
from avatar_core.errors import BodyError, WeightsError
from avatar_core.priors.build_shape_codebook import build_shape_codebook
from avatar_core.priors.shape_codebook import load_shape_codebook

LABELS = ("gender", "age", "muscle", "weight", "height", "proportions")


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def book():
    return load_shape_codebook()


def test_the_shipped_codebook_covers_people(body, book):
    assert len(book) >= 1024
    assert book.latents.shape == (len(book), 16)
    assert book.betas.shape == (len(book), len(body.shape_labels))
    assert (book.body, book.body_digest) == (body.name, body.digest)
    column = {label: book.betas[:, index] for index, label in enumerate(body.shape_labels)}
    adult, child, old = column["age"] > 0.55, column["age"] < 0.45, column["age"] > 0.84
    assert adult.float().mean() > 0.6
    assert 0.1 < child.float().mean() < 0.4
    assert 0.1 < old.float().mean() < 0.4
    for sex in (column["gender"] < 0.2, column["gender"] > 0.8):
        fat = sex & adult & (column["muscle"] < 0.3) & (column["weight"] > 0.7)
        strong = sex & adult & (column["muscle"] > 0.8)
        assert fat.sum() >= 20
        assert strong.sum() >= 20


def test_an_entry_decodes_to_its_own_betas(book):
    index = torch.arange(0, len(book), 97)
    assert (book.decode(book.latents[index]) - book.betas[index]).abs().max() < 0.02


def test_encoding_a_body_finds_its_entry(body, book):
    index = [3, 200, 900]
    vertices = torch.stack([body.shape(book.betas[i]).vertices for i in index])
    assert (book.encode(vertices) - book.latents[index]).abs().max() < 0.02


def test_a_body_between_entries_is_found_again_nearly(body, book):
    betas = torch.tensor([0.03, 0.7, 0.3, 0.6, 0.5, 0.6])
    vertices = body.shape(betas).vertices
    found = book.decode(book.encode(vertices[None]))[0]
    assert (body.shape(found).vertices - vertices).norm(dim=-1).mean() < 0.03


def test_sampling_is_decided_by_the_seed_and_stays_in_range():
    first = sample_phenotypes(LABELS, 300, seed=4)
    np.testing.assert_array_equal(first, sample_phenotypes(LABELS, 300, seed=4))
    assert not np.array_equal(first, sample_phenotypes(LABELS, 300, seed=5))
    assert first.min() >= 0
    assert first.max() <= 1


def test_an_unknown_body_model_is_refused():
    with pytest.raises(BodyError, match="not betas0, betas1"):
        sample_phenotypes(("betas0", "betas1"), 300, seed=0)


def test_too_few_entries_are_refused():
    with pytest.raises(ValueError, match="ask for more"):
        sample_phenotypes(LABELS, 100, seed=0)


def test_a_missing_codebook_is_named(tmp_path):
    with pytest.raises(WeightsError, match="give a folder of shape_codebook weights"):
        load_shape_codebook(tmp_path)


def test_building_writes_a_codebook_that_loads(body, tmp_path):
    measures = build_shape_codebook(body, 180, 0, tmp_path)
    book = load_shape_codebook(tmp_path)
    assert len(book) == 180
    assert measures["variance_kept"] > 0.999
    assert measures["vertex_error_mm"] < 3
    assert torch.allclose(book.latents.std(0), torch.ones(16), atol=0.05)
