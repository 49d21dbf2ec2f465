"""Texturing of a field with AvatarCLIP's kind of networks: it learns, resumes and shares a batch as grids do."""

from dataclasses import replace

import pytest
import torch
from small_texturing import CONFIG, FIELD, PROMPT, Killed, Shape, equal_states

from avatar_core.fields import PositionalConfig
from avatar_core.stages import implicit_init, texturing
from avatar_core.stages.texturing_batch import Job, run_batch
from avatar_core.storage.store import ArtifactStore

SIZES = PositionalConfig(octaves=2, sdf_width=24, sdf_layers=2, color_width=16, color_layers=1)
PLAIN = CONFIG.model_copy(update={"outfit_search": False})


@pytest.fixture(scope="module")
def avatar(small_context):
    field = FIELD.model_copy(update={"kind": "positional", "positional": SIZES})
    config = implicit_init.Config(field=field, check_points=500, tolerance=0.01)
    return implicit_init.run(Shape(small_context.body.neutral_shape), config=config, seed=1, context=small_context)


@pytest.fixture(scope="module")
def textured(avatar, small_context):
    return texturing.run(avatar, PROMPT, config=PLAIN, seed=5, context=small_context)


def test_both_networks_learn(avatar, textured, small_context):
    for name in ("sdf_network.last", "color_network.1"):
        lengths = f"{name}.parametrizations.weight.original0"
        assert not torch.equal(textured.state[lengths], avatar.state[lengths])
    field = textured.field(small_context.body)
    assert field.config.positional == SIZES
    assert torch.isfinite(field.color(small_context.body.template[::100])).all()


def test_a_killed_run_continues_to_the_same_bits(tmp_path, avatar, textured, small_context):
    store = ArtifactStore(str(tmp_path)).checkpoints(texturing.NAME, "0" * 32)

    def kill(done: int, total: int, note: str) -> None:
        if done == 3:
            raise Killed

    killed = replace(small_context, checkpoint=store, progress=kill)
    with pytest.raises(Killed):
        texturing.run(avatar, PROMPT, config=PLAIN, seed=5, context=killed)
    resumed = texturing.run(avatar, PROMPT, config=PLAIN, seed=5, context=replace(small_context, checkpoint=store))
    assert equal_states(resumed.state, textured.state)
    assert resumed.history == textured.history


def test_a_batch_comes_out_as_its_avatars_do_alone(avatar, textured, small_context):
    jobs = [Job(avatar, PROMPT, 5, small_context), Job(avatar, "the back of a red man", 6, small_context)]
    together = run_batch(jobs, PLAIN)
    assert together[0].score_after == pytest.approx(textured.score_after, abs=5e-3)
    assert len(together[1].history) == PLAIN.steps
