from dataclasses import replace

import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.errors import ConfigError, WeightsError
from avatar_core.perception.encoder import load_encoder
from avatar_core.perception.prompts import motion_prompt, shape_prompt
from avatar_core.priors.fit_view_readers import ReaderSettings, TextDirections, fit_reader
from avatar_core.priors.shape_words import describe_shape, mass_index
from avatar_core.priors.view_encoders import (
    EncoderViews,
    ThumbnailReader,
    load_view_encoder,
    reader_name,
    thumbnails,
)


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("bodyclip")


def shaped(body, **facts):
    betas = body.neutral_shape.clone()
    for name, value in facts.items():
        betas[body.shape_labels.index(name)] = value
    return body.shape(betas)


def test_the_default_encoder_has_readers_of_its_own(encoder, body):
    for kind in ("shape", "pose", "motion"):
        assert isinstance(load_view_encoder(kind, encoder, body), ThumbnailReader)


def test_another_encoder_uses_its_own_image_tower(encoder, body):
    class Other:
        digest = "another"

        def __getattr__(self, name):
            return getattr(encoder, name)

    view = load_view_encoder("pose", Other(), body)
    assert isinstance(view, EncoderViews)
    images = torch.rand(3, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features = view.encode(images)
    assert torch.allclose(features.norm(dim=-1), torch.ones(3), atol=1e-5)
    expected = encoder.encode_images(images[1]).mean(0)
    assert torch.allclose(features[1], expected / expected.norm(), atol=1e-5)


def test_an_unknown_kind_is_refused(encoder, body):
    with pytest.raises(ConfigError, match="shape, pose and motion"):
        load_view_encoder("hair", encoder, body)


def test_a_damaged_reader_is_named(tmp_path):
    path = tmp_path / reader_name("pose", "0123456789abcdef")
    path.write_bytes(b"torn")
    with pytest.raises(WeightsError, match="reader-pose-0123456789ab"):
        ThumbnailReader.load(path)


def test_thumbnails_are_dark_where_the_body_is():
    images = torch.ones(1, 2, 3, 48, 48)
    images[0, 1, :, :24] = 0.0
    small = thumbnails(images).reshape(2, 24, 24)
    assert small[0].abs().max() == 0
    assert torch.equal(small[1, :12], torch.ones(12, 24))
    assert small[1, 12:].abs().max() == 0


@pytest.mark.parametrize("random", [0, 300])
def test_a_reader_learns_directions_from_pictures(random):
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randint(3, (400,), generator=generator)
    images = torch.ones(400, 1, 3, 24, 24)
    for row, kind in enumerate(kinds):
        images[row, 0, :, 8 * kind : 8 * kind + 8] = 0.2
    images = (images + 0.1 * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    goals = torch.eye(3)
    settings = ReaderSettings(components=20, random=random, ridge=0.01)
    fitted = fit_reader(thumbnails(images[:300]), goals[kinds[:300]], torch.ones(300), settings)
    reader = ThumbnailReader(replace(fitted, text_means=torch.zeros(1, 3)), "digest")
    features = reader.encode(images[300:])
    for kind in range(3):
        scores = reader.search(features, goals[kind])
        assert (kinds[300:][scores.topk(10).indices] == kind).all()


def test_a_reader_has_gradients(encoder, body):
    reader = load_view_encoder("pose", encoder, body)
    images = torch.rand(1, 2, 3, 48, 48, generator=torch.Generator().manual_seed(0), requires_grad=True)
    target = encoder.encode_texts([motion_prompt("running")])[0]
    reader.compare(reader.encode(images), target).sum().backward()
    assert images.grad.abs().sum() > 0


def test_text_directions_do_not_depend_on_the_wording(encoder):
    wordings = [motion_prompt, lambda text: motion_prompt("a person is " + text)]
    texts = TextDirections([("running",), ("sitting",), ("running", "sitting")], wordings, encoder)
    assert texts.means.shape == (2, encoder.dim)
    assert texts.goals[0] @ texts.goals[1] < 0.5
    assert texts.goals[2] @ texts.goals[0] > texts.goals[1] @ texts.goals[0]


def test_words_follow_a_bodys_measures(body):
    fat = shaped(body, gender=0.0, weight=1.0, muscle=0.0, height=0.7)
    assert mass_index(body, fat) > 30
    assert {"man", "fat man", "tall man", "tall and fat man"} <= set(describe_shape(body, fat))
    old = describe_shape(body, shaped(body, gender=1.0, age=1.0, weight=0.0, muscle=0.1, height=0.4))
    assert "old woman" in old
    assert "thin old woman" in old
    assert "girl" in describe_shape(body, shaped(body, gender=1.0, age=0.3))
    strong = describe_shape(body, shaped(body, gender=0.0, muscle=1.0, weight=0.5, height=0.4))
    assert "muscular man" in strong
    assert not any("fat" in phrase for phrase in strong)


def test_prompts_of_shapes_take_the_words(encoder):
    assert "an old man" in shape_prompt("old man")
