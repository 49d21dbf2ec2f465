import pytest
import torch
from small_texturing import CONFIG, PROMPT

from avatar_core.errors import ArtifactError
from avatar_core.fields.shell import shell_of
from avatar_core.stages import texturing
from avatar_core.stages.texturing_film import BACKDROP, Film, FilmCamera, FilmConfig


@pytest.fixture(scope="module")
def film(small_avatar, small_context):
    config = CONFIG.model_copy(update={"steps": 5})
    return texturing.run(small_avatar, PROMPT, config=config, seed=5, context=small_context).film


def test_it_shows_the_body_the_outfit_and_the_way_to_the_last_step(film):
    assert film.labels == ("body", "outfit", "step 3", "step 5")
    assert film.frames.shape == (4, 32, 24, 3)
    assert film.frames.dtype == torch.uint8
    assert all(not torch.equal(one, other) for one, other in zip(film.frames, film.frames[1:]))


def test_the_first_picture_is_the_untouched_body_before_a_plain_backdrop(film, small_avatar, small_context):
    field = small_avatar.field(small_context.body)
    vertices = small_context.body.shape(small_avatar.betas).vertices
    camera = FilmCamera(vertices, CONFIG.film, CONFIG.intervals)
    untouched = camera.shoot(field, shell_of(field), torch.tensor(CONFIG.initial_sharpness))
    assert torch.equal(film.frames[0], untouched)
    backdrop = (film.frames == round(255 * BACKDROP)).all(-1)
    assert backdrop[:, :, 0].all()
    assert backdrop[:, 0].all()
    assert 0.1 < 1 - backdrop[0].float().mean() < 0.6


def test_a_camera_that_has_seen_an_avatar_sees_it_as_a_new_one_does(small_avatar, small_context):
    field = small_avatar.field(small_context.body)
    vertices = small_context.body.shape(small_avatar.betas).vertices
    shell, sharpness = shell_of(field), torch.tensor(CONFIG.initial_sharpness)
    old = FilmCamera(vertices, CONFIG.film, CONFIG.intervals)
    before = old.shoot(field, shell, sharpness)
    with torch.no_grad():
        field.geometry_head[-1].bias.fill_(-0.5)
        field.color_head[-1].bias.fill_(1.0)
    new = FilmCamera(vertices, CONFIG.film, CONFIG.intervals)
    after = new.shoot(field, shell, sharpness)
    assert torch.equal(old.shoot(field, shell, sharpness), after)
    assert not torch.equal(before, after)


def test_without_a_search_or_steps_it_is_shorter(small_avatar, small_context):
    config = CONFIG.model_copy(update={"steps": 0, "outfit_search": False})
    result = texturing.run(small_avatar, PROMPT, config=config, seed=5, context=small_context)
    assert result.film.labels == ("body",)


@pytest.mark.parametrize(("frames", "steps", "due"), [(2, 4, [2, 4]), (3, 10, [4, 7, 10]), (9, 3, [1, 2, 3])])
def test_pictures_are_evenly_spread_and_end_with_the_last_step(frames, steps, due):
    config = FilmConfig(frames=frames)
    assert [step for step in range(1, steps + 1) if config.due(step, steps)] == due


def test_a_film_survives_its_file(film):
    again = Film.from_png(film.png(), film.labels)
    assert again.labels == film.labels
    assert torch.equal(again.frames, film.frames)


@pytest.mark.parametrize("labels", [(), ("body",) * 5])
def test_a_strip_of_other_pictures_is_refused(film, labels):
    with pytest.raises(ArtifactError, match="no film"):
        Film.from_png(film.png(), labels)
