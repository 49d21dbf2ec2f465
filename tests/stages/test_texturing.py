import math
from dataclasses import replace

import pytest
import torch
from small_texturing import CONFIG, PROMPT, Killed, equal_states

from avatar_core.errors import ArtifactError, DivergenceError, Interrupted
from avatar_core.rendering.rasterizer import MeshRays
from avatar_core.seeds import torch_generator
from avatar_core.stages import texturing
from avatar_core.stages.texturing_losses import LossConfig
from avatar_core.stages.texturing_views import PROMPT_KINDS, Subject, ViewConfig, draw_views, scoring_views
from avatar_core.storage.store import ArtifactStore


@pytest.fixture(scope="module")
def context(small_context):
    return small_context


@pytest.fixture(scope="module")
def avatar(small_avatar):
    return small_avatar


@pytest.fixture(scope="module")
def textured(avatar, context):
    return texturing.run(avatar, PROMPT, config=CONFIG, seed=5, context=context)


def test_the_result_is_a_field_that_learned(avatar, textured, context):
    field = textured.field(context.body)
    points = context.body.template[::100]
    assert torch.isfinite(field.sdf(points)).all()
    assert not torch.equal(textured.state["color_head.2.weight"], avatar.state["color_head.2.weight"])
    assert not torch.equal(textured.state["geometry_head.2.weight"], avatar.state["geometry_head.2.weight"])
    assert math.isfinite(textured.score_before)
    assert math.isfinite(textured.score_after)
    assert [entry["step"] for entry in textured.history] == [1, 2, 3, 4]
    assert {"loss", "lit", "clay", "eikonal", "variation"} <= textured.history[0].keys()


def test_the_search_dresses_the_avatar(textured):
    assert "skin" in textured.outfit["worn"]
    assert textured.state["base.logits"].shape[0] >= 5


def test_equal_seeds_give_equal_bits_and_others_differ(avatar, textured, context):
    again = texturing.run(avatar, PROMPT, config=CONFIG, seed=5, context=context)
    assert equal_states(textured.state, again.state)
    assert textured.history == again.history
    other = texturing.run(avatar, PROMPT, config=CONFIG, seed=6, context=context)
    assert not equal_states(textured.state, other.state)


def resume(avatar, context, store):
    """Run to the end from what `store` has; return the steps that were told, and the result."""
    steps = []
    told = replace(context, checkpoint=store, progress=lambda done, total, note: steps.append(done))
    return steps, texturing.run(avatar, PROMPT, config=CONFIG, seed=5, context=told)


@pytest.mark.parametrize(("at_step", "continued_at"), [(1, 1), (3, 3)])
def test_a_killed_run_continues_to_the_same_bits(tmp_path, avatar, textured, context, at_step, continued_at):
    store = ArtifactStore(str(tmp_path)).checkpoints(texturing.NAME, "0" * 32)

    def kill(done: int, total: int, note: str) -> None:
        if done == at_step and "outfit" not in note:
            raise Killed

    with pytest.raises(Killed):
        texturing.run(
            avatar, PROMPT, config=CONFIG, seed=5, context=replace(context, checkpoint=store, progress=kill)
        )
    steps, resumed = resume(avatar, context, store)
    assert steps[0] == continued_at
    assert equal_states(resumed.state, textured.state)
    assert resumed.history == textured.history
    assert (resumed.score_before, resumed.score_after) == (textured.score_before, textured.score_after)
    assert resumed.outfit == textured.outfit
    assert resumed.film.labels == textured.film.labels
    assert torch.equal(resumed.film.frames, textured.film.frames)


def test_a_run_that_is_asked_to_stop_keeps_its_last_step_and_goes_on_to_the_same_bits(
    tmp_path, avatar, textured, context
):
    store = ArtifactStore(str(tmp_path)).checkpoints(texturing.NAME, "0" * 32)
    asked = iter([True])  # after the first step, which is no multiple of `checkpoint_every`
    with pytest.raises(Interrupted, match="step 1 of 4"):
        texturing.run(
            avatar, PROMPT, config=CONFIG, seed=5, context=replace(context, checkpoint=store, stop=lambda: next(asked))
        )
    steps, resumed = resume(avatar, context, store)
    assert steps[0] == 2
    assert equal_states(resumed.state, textured.state)


def test_guidance_lowers_its_loss(avatar, context):
    """Only the guidance, views as they are scored: Adam on field and colours must make them fit the prompt better."""
    kept = ("lit", "clay_share", "variation_step")
    plain = LossConfig(**{name: 0.0 for name in LossConfig.model_fields if name not in kept})
    config = CONFIG.model_copy(
        update={
            "steps": 30,
            "outfit_search": False,
            "losses": plain,
            "views_per_step": 4,
            "resolutions": (24,),
            "views": ViewConfig(feet_share=0.0, hand_share=0.0),
        }
    )
    result = texturing.run(avatar, PROMPT, config=config, seed=2, context=context)
    assert result.score_after > result.score_before + 0.01
    assert result.outfit == {}


def test_numbers_that_are_not_finite_stop_the_run(avatar, context):
    broken = replace(avatar, state=avatar.state | {"color_head.2.bias": torch.full((3,), float("nan"))})
    config = CONFIG.model_copy(update={"outfit_search": False})
    with pytest.raises(DivergenceError, match=r"rates"):
        texturing.run(broken, PROMPT, config=config, seed=1, context=context)


def test_saved_and_loaded_it_is_the_same(tmp_path, textured):
    textured.save(tmp_path)
    loaded = texturing.TexturedAvatar.load(tmp_path)
    assert equal_states(loaded.state, textured.state)
    assert torch.equal(loaded.betas, textured.betas)
    assert (loaded.score_before, loaded.score_after) == (textured.score_before, textured.score_after)
    assert loaded.history == textured.history
    assert loaded.outfit == textured.outfit
    assert loaded.film.labels == textured.film.labels
    assert torch.equal(loaded.film.frames, textured.film.frames)


@pytest.mark.parametrize(("name", "content"), [("textured.json", b"{"), ("film.png", b"\x89PNG")])
def test_a_damaged_artifact_is_named(tmp_path, textured, name, content):
    textured.save(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtifactError, match="run texturing again"):
        texturing.TexturedAvatar.load(tmp_path)


def test_views_keep_their_shares(context):
    subject = Subject.of(context.body, context.body.shape(context.body.neutral_shape))
    config = ViewConfig(
        face_share=0.25, back_share=0.25, side_share=0.0, feet_share=0.0, hand_share=0.1, azimuth_spread=0.0
    )
    prompts = []
    for step in range(40):
        views = draw_views(subject, config, 2, 16, step, torch_generator(step))
        prompts += [PROMPT_KINDS[index] for index in views.prompt.tolist()]
    for kind, expected in (("face", 20), ("back", 20), ("hand", 8), ("body", 32)):
        assert abs(prompts.count(kind) - expected) <= 2, kind


@pytest.mark.parametrize(
    ("kind", "names"), [("hand", ("left_hand", "right_hand")), ("feet", ("left_foot", "right_foot"))]
)
def test_close_ups_show_hands_and_feet(context, kind, names):
    body = context.body
    shaped = body.shape(body.neutral_shape)
    none = {name: 0.0 for name in ("face_share", "back_share", "side_share", "feet_share", "hand_share")}
    config = ViewConfig(**(none | {f"{kind}_share": 1.0}), target_spread=0.0)
    views = draw_views(Subject.of(body, shaped), config, 8, 32, 0, torch_generator(3))
    face = MeshRays(shaped.vertices, body.faces).rasterize(views.cameras).face
    wanted = torch.tensor([body.region_names.index(name) for name in names])
    seen = torch.isin(body.regions[body.faces[:, 0]][face.clamp_min(0)], wanted) & (face >= 0)
    assert float(seen.flatten(1).float().mean(1).amin()) > 0.02
    assert float((face >= 0).float().mean()) > 0.1


def test_scoring_views_are_fixed_and_show_every_prompt(context):
    subject = Subject.of(context.body, context.body.shape(context.body.neutral_shape))
    first, second = scoring_views(subject, 16), scoring_views(subject, 16)
    assert torch.equal(first.cameras.eye, second.cameras.eye)
    assert set(first.prompt.tolist()) == {0, 1, 2}


def test_resolutions_rise_in_equal_parts():
    config = CONFIG.model_copy(update={"resolutions": (32, 64, 96)})
    assert [config.resolution_at(done) for done in (0.0, 0.3, 0.34, 0.7, 0.999)] == [32, 32, 64, 96, 96]


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="colour_rate"):
        texturing.Config(colour_rate=1.0)
