import subprocess
import sys

import pytest
import torch
from small_texturing import CONFIG, PROMPT, equal_states, write_small_clip

import avatar_core
from avatar_core import Pipeline, load_body, load_encoder, load_preset
from avatar_core.errors import BodyError, ConfigError
from avatar_core.stages import texturing


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    write_small_clip(folder)
    return load_encoder(str(folder))


@pytest.fixture(scope="module")
def preset():
    return load_preset("tiny").model_copy(update={"texturing": CONFIG})


@pytest.fixture(scope="module")
def bare(preset, encoder):
    pipeline = Pipeline(preset, encoder=encoder)
    return pipeline.implicit_init(pipeline.context.body.shape(pipeline.context.body.neutral_shape))


def saturation(views, field):
    return 10 * (views.albedo.std(dim=1) * views.shown).sum() / views.shown.sum().clamp_min(1)


def test_importing_the_package_does_not_load_torch():
    code = "import sys, avatar_core as a; assert 'torch' not in sys.modules; a.Pipeline; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there():
    assert all(getattr(avatar_core, name) is not None for name in avatar_core.__all__)
    assert set(avatar_core.__all__) <= set(dir(avatar_core))
    with pytest.raises(AttributeError, match="no attribute 'Pipelines'"):
        avatar_core.Pipelines  # noqa: B018


def test_an_own_loss_is_minimised_and_told_in_the_history(preset, encoder, bare):
    longer = preset.model_copy(update={"texturing": CONFIG.model_copy(update={"steps": 12})})
    told = []
    # Told and not minimised, and minimised: a step looks from the same places in both.
    for own in (lambda views, field: saturation(views, field).detach(), saturation):
        result = Pipeline(longer, encoder=encoder, losses={"own": own}).texturing(bare, PROMPT)
        told.append([(entry["own"], entry["loss"]) for entry in result.history])
    watched, minimised = told
    assert minimised[0] == pytest.approx(watched[0], rel=1e-4)
    assert minimised[-1][0] < watched[-1][0]


def test_no_own_losses_change_nothing(preset, encoder, bare):
    through = Pipeline(preset, encoder=encoder).texturing(bare, PROMPT, seed=5)
    direct = texturing.run(bare, PROMPT, config=CONFIG, seed=5, context=Pipeline(preset, encoder=encoder).context)
    assert equal_states(through.state, direct.state)


def test_a_loss_that_is_called_as_ours_or_gives_no_number_is_refused(preset, encoder, bare):
    with pytest.raises(ConfigError, match="lit: texturing has such numbers itself"):
        Pipeline(preset, encoder=encoder, losses={"lit": saturation}).texturing(bare, PROMPT)
    with pytest.raises(ConfigError, match=r"own: gave a tensor of shape .*return one floating-point number"):
        Pipeline(preset, encoder=encoder, losses={"own": lambda views, field: views.albedo}).texturing(bare, PROMPT)


def test_a_body_of_ones_own_needs_a_name_of_its_own(preset, encoder):
    body = load_body()
    body.digest = "0" * 64
    with pytest.raises(BodyError, match="give it another name"):
        Pipeline(preset, body=body, encoder=encoder)
    body.name = "mine"
    assert Pipeline(preset, body=body, encoder=encoder).context.body is body


def test_stages_that_draw_nothing_ignore_the_seed(preset, encoder, bare):
    pipeline = Pipeline(preset, encoder=encoder)
    again = pipeline.implicit_init(bare, seed=7)
    assert all(torch.equal(value, bare.state[name]) for name, value in again.state.items())
