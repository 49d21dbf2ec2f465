"""Steps that fail: faults are put into the real optimisation, and it must survive them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_texturing import CONFIG, PROMPT, Killed, equal_states

from avatar_core.errors import DivergenceError
from avatar_core.stages import texturing
from avatar_core.stages.texturing_config import RateConfig
from avatar_core.stages.texturing_recovery import (
    Diverged,
    Effort,
    RecoveryConfig,
    check_loss,
    is_out_of_memory,
    setback_of,
)
from avatar_core.storage.store import ArtifactStore

SIX_STEPS = CONFIG.model_copy(update={"steps": 6, "outfit_search": False})
TORCH_SAYS = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"


def nan(loss, field):
    return loss * float("nan")


def explosion(loss, field):
    return loss * 10


def nan_gradient(loss, field):
    return loss + (0 * field.color_encoding.table.sum()).sqrt()


def torch_has_no_memory(loss, field):
    raise RuntimeError(TORCH_SAYS)


def cuda_has_no_memory(loss, field):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def python_has_no_memory(loss, field):
    raise MemoryError


@pytest.fixture
def put_in(monkeypatch):
    """Return a function that makes a fault happen in the steps that are the so-manieth to be tried."""

    def put(fault, *attempts):
        tried = []

        def faulty(rendered, targets, field, *rest):
            tried.append(len(rendered.image))
            loss, parts = texturing_total_loss(rendered, targets, field, *rest)
            return (fault(loss, field) if len(tried) in attempts else loss), parts

        monkeypatch.setattr(texturing, "total_loss", faulty)
        return tried

    texturing_total_loss = texturing.total_loss
    return put


@pytest.fixture
def optimise(small_avatar, small_context):
    def run(config=SIX_STEPS, **context):
        return texturing.run(
            small_avatar, PROMPT, config=config, seed=5, context=replace(small_context, **context)
        )

    return run


@pytest.mark.parametrize(
    ("fault", "reason"), [(nan, "the loss is nan"), (explosion, "the loss rose"), (nan_gradient, "a gradient")]
)
def test_a_step_that_diverges_takes_the_run_back_and_halves_its_rates(put_in, optimise, fault, reason):
    tried = put_in(fault, 4)
    result = optimise()
    assert len(tried) == 6 + 2  # steps 3 and 4 twice, as the last checkpoint was at 2
    assert [entry["step"] for entry in result.history] == [1, 2, 3, 4, 5, 6]
    assert all(np.isfinite(list(entry.values())).all() for entry in result.history)
    assert all(torch.isfinite(value).all() for value in result.state.values() if value.is_floating_point())
    (event,) = result.events
    assert event.reason.startswith(reason)
    assert (event.step, event.kind, event.back_to, event.rate_factor) == (4, "divergence", 2, 0.5)
    assert "back to step 2" in event.told()


def test_what_was_undone_leaves_no_trace(put_in, optimise):
    """Had the rates not been halved, the run would be the one that nothing happened to."""
    undisturbed = optimise()
    put_in(nan, 4)
    same_rates = RecoveryConfig(rate_factor=1 - 1e-12)
    result = optimise(SIX_STEPS.model_copy(update={"recovery": same_rates}))
    assert result.events
    assert result.history[:3] == undisturbed.history[:3]
    for mine, other in zip(result.history, undisturbed.history):
        assert mine == pytest.approx(other, rel=1e-4, abs=1e-6)
    assert result.film.labels == undisturbed.film.labels


def test_smaller_rates_move_the_field_less(put_in, optimise):
    undisturbed = optimise()
    put_in(nan, 1)
    slower = optimise()
    start = optimise(SIX_STEPS.model_copy(update={"steps": 0}))

    def moved(result):
        return (result.state["base.logits"] - start.state["base.logits"]).abs().mean()

    assert moved(slower) < 0.8 * moved(undisturbed)


@pytest.mark.parametrize("killed_after", [0, 2])
@pytest.mark.parametrize("fault", [nan, torch_has_no_memory])
def test_a_run_killed_after_a_setback_continues_to_the_same_bits(tmp_path, put_in, optimise, fault, killed_after):
    put_in(fault, 4)
    whole = optimise()
    store = ArtifactStore(str(tmp_path)).checkpoints(texturing.NAME, "0" * 32)
    attempts = put_in(fault, 4)

    def kill(done, total, note):
        if len(attempts) > 4 + killed_after:
            raise Killed

    with pytest.raises(Killed):
        optimise(checkpoint=store, progress=kill)
    put_in(fault)
    steps = []
    resumed = optimise(checkpoint=store, progress=lambda done, total, note: steps.append(done))
    assert steps[0] == 3 + killed_after
    assert resumed.events == whole.events
    assert resumed.history == whole.history
    assert equal_states(resumed.state, whole.state)
    assert torch.equal(resumed.film.frames, whole.film.frames)
    assert resumed.score_after == whole.score_after


def test_a_run_that_diverges_again_and_again_fails_with_a_remedy(put_in, optimise):
    tried = put_in(nan, *range(2, 100))
    with pytest.raises(DivergenceError, match=r"step 1 .*after going back 3 times.*0\.125.*texturing\.rates"):
        optimise()
    assert len(tried) == 1 + 4


def test_rates_that_are_far_too_high_are_brought_down(optimise):
    """No fault is put in here: the optimisation itself explodes."""
    rates = RateConfig(color_table=3, geometry_table=3, heads=3, palette=3)
    result = optimise(SIX_STEPS.model_copy(update={"rates": rates}))
    assert result.events
    assert all(event.reason.startswith("the loss rose") for event in result.events)
    assert len(result.history) == 6
    assert max(entry["loss"] for entry in result.history) < 4


def test_how_often_it_goes_back_is_a_setting(put_in, optimise):
    put_in(nan, 2)
    with pytest.raises(DivergenceError):
        optimise(SIX_STEPS.model_copy(update={"recovery": RecoveryConfig(rollbacks=0)}))


@pytest.mark.parametrize("fault", [torch_has_no_memory, cuda_has_no_memory, python_has_no_memory])
def test_a_step_without_memory_is_taken_again_with_half_the_views(put_in, optimise, fault):
    tried = put_in(fault, 3)
    result = optimise(SIX_STEPS.model_copy(update={"views_per_step": 4}))
    assert tried == [4, 4, 4, 2, 2, 2, 2]
    assert len(result.history) == 6
    (event,) = result.events
    assert (event.step, event.kind, event.back_to, event.rate_factor, event.views) == (3, "memory", 2, 1.0, 2)


def test_views_are_made_smaller_when_one_is_left_and_then_the_run_fails(put_in, optimise):
    tried = put_in(torch_has_no_memory, *range(1, 100))
    config = SIX_STEPS.model_copy(update={"views_per_step": 2, "resolutions": (40,)})
    with pytest.raises(MemoryError, match=r"step 1 .*even with 1 view of 20 pixels"):
        optimise(config)
    assert tried == [2, 1, 1]


def test_other_errors_pass(put_in, optimise):
    def broken(loss, field):
        raise RuntimeError("shapes do not fit")

    put_in(broken, 2)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        optimise()


def test_events_survive_the_artifact(tmp_path, put_in, optimise):
    put_in(nan, 4)
    result = optimise()
    result.save(tmp_path)
    assert texturing.TexturedAvatar.load(tmp_path).events == result.events
    assert json.loads((tmp_path / "textured.json").read_text())["events"][0]["kind"] == "divergence"


def test_real_allocators_are_understood():
    with pytest.raises(RuntimeError) as torchs:
        torch.empty(2**48)
    with pytest.raises(MemoryError) as numpys:
        np.empty(2**48)
    assert is_out_of_memory(torchs.value)
    assert is_out_of_memory(numpys.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_loss_explodes_against_its_median_only():
    config = RecoveryConfig(explosion=3, explosion_window=4)
    history = [{"loss": loss} for loss in (100.0, 1.0, 1.2, 0.9, 1.1)]
    check_loss(3.0, history, config)
    check_loss(50.0, [], config)
    check_loss(0.2, [{"loss": 1e-4}], config)
    with pytest.raises(Diverged, match=r"from 1\.05 to 3\.5"):
        check_loss(3.5, history, config)


def test_views_are_halved_before_their_edge():
    assert [Effort(halvings=count).step_size(6, 96) for count in range(5)] == [
        (6, 96),
        (3, 96),
        (1, 96),
        (1, 48),
        (1, 24),
    ]
    assert Effort(halvings=4).step_size(1, 40) == (1, 16)
    assert Effort(halvings=4).step_size(1, 12) == (1, 12)
    assert Effort(halvings=3).can_halve(6, 96)
    assert not Effort(halvings=4).can_halve(6, 96)


def test_an_error_of_another_kind_is_raised_as_it_is():
    error = RuntimeError("something else")
    with pytest.raises(RuntimeError) as raised:
        setback_of(error, 1, Effort(), 2, 64, RecoveryConfig())
    assert raised.value is error
