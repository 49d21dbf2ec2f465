"""Several avatars at once come out as each does alone, and what befalls one is nobody else's."""

from dataclasses import replace

import pytest
import torch
from small_texturing import CONFIG, PROMPT, Killed

from avatar_core.errors import DivergenceError, Interrupted
from avatar_core.stages import texturing
from avatar_core.stages.texturing_batch import Job, run_batch
from avatar_core.storage.store import ArtifactStore

SIX_STEPS = CONFIG.model_copy(update={"steps": 6, "outfit_search": False})
PROMPTS = (PROMPT, "a face of a man", "the back of a red man")


@pytest.fixture
def jobs(small_avatar, small_context):
    return [Job(small_avatar, prompt, seed, small_context) for seed, prompt in enumerate(PROMPTS)]


@pytest.fixture
def calls(small_context, monkeypatch):
    """Numbers of images of the encoder's calls with gradients."""
    seen = []
    encode = small_context.encoder.encode_images

    def counted(images):
        if images.requires_grad:
            seen.append(len(images))
        return encode(images)

    monkeypatch.setattr(small_context.encoder, "encode_images", counted)
    return seen


@pytest.fixture(params=[False, True], ids=["waiting", "queued"])
def _as_queued(request, monkeypatch):
    """Steps as a CPU takes them, and as they are queued on a GPU."""
    begin = texturing.TexturingRun.__init__

    def begun(run, *arguments):
        begin(run, *arguments)
        run.queued = request.param

    monkeypatch.setattr(texturing.TexturingRun, "__init__", begun)


@pytest.mark.usefixtures("_as_queued")
def test_a_batch_comes_out_as_its_avatars_do_alone_and_asks_the_encoder_once_a_step(jobs, calls):
    together = run_batch(jobs, SIX_STEPS)
    assert len(calls) == SIX_STEPS.steps
    assert min(calls) >= 3 * SIX_STEPS.views_per_step
    for job, found in zip(jobs, together):
        alone = texturing.run(job.avatar, job.prompt, config=SIX_STEPS, seed=job.seed, context=job.context)
        losses = [[step["loss"] for step in one.history] for one in (found, alone)]
        torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), atol=2e-3, rtol=0)
        assert found.score_after == pytest.approx(alone.score_after, abs=5e-3)
        assert found.score_before == pytest.approx(alone.score_before, abs=1e-5)


def test_one_avatar_that_diverges_costs_the_others_nothing(jobs, monkeypatch):
    real = texturing.total_loss
    doomed = []

    def faulty(rendered, disagreement, field, *rest):
        loss, parts = real(rendered, disagreement, field, *rest)
        if not doomed:
            doomed.append(field)
        return (loss * float("nan") if field is doomed[0] else loss), parts

    monkeypatch.setattr(texturing, "total_loss", faulty)
    failed, *others = run_batch(jobs, SIX_STEPS)
    assert isinstance(failed, DivergenceError)
    assert [len(one.history) for one in others] == [6, 6]
    assert all(one.events == () for one in others)


def test_an_avatar_that_cannot_begin_costs_the_others_nothing(jobs):
    strange = {name: value for name, value in jobs[0].avatar.state.items() if name != "config"}
    broken = replace(jobs[0], avatar=replace(jobs[0].avatar, state=strange))
    failed, found = run_batch([broken, jobs[1]], SIX_STEPS)
    assert "run its stage again" in str(failed)
    assert len(found.history) == 6


def test_want_of_memory_halves_the_avatars_at_once(jobs, calls, monkeypatch, small_context):
    encode = small_context.encoder.encode_images

    def small(images):
        if images.requires_grad and len(images) > 8:
            raise RuntimeError("CUDA out of memory")
        return encode(images)

    monkeypatch.setattr(small_context.encoder, "encode_images", small)
    found = run_batch(jobs, SIX_STEPS)
    assert [len(one.history) for one in found] == [6, 6, 6]
    assert all(one.events == () for one in found)
    assert max(calls) <= 8


def test_a_batch_that_is_killed_goes_on_alone(jobs, tmp_path):
    store = ArtifactStore(str(tmp_path))

    def die(done, total, message):
        if done == 5:
            raise Killed

    places = [store.checkpoints(texturing.NAME, str(job.seed) * 32) for job in jobs]
    kept = [replace(job, context=replace(job.context, checkpoint=place)) for job, place in zip(jobs, places)]
    with pytest.raises(Killed):
        run_batch([*kept[:2], replace(kept[2], context=replace(kept[2].context, progress=die))], SIX_STEPS)
    alone = texturing.run(
        kept[0].avatar, kept[0].prompt, config=SIX_STEPS, seed=kept[0].seed, context=kept[0].context
    )
    assert [step["step"] for step in alone.history] == [1, 2, 3, 4, 5, 6]
    (whole,) = run_batch(jobs[:1], SIX_STEPS)
    assert alone.score_after == pytest.approx(whole.score_after, abs=5e-3)


def test_a_batch_that_is_asked_to_stop_keeps_the_last_step_of_all(jobs, tmp_path):
    store = ArtifactStore(str(tmp_path))
    places = [store.checkpoints(texturing.NAME, str(job.seed) * 32) for job in jobs]
    contexts = [replace(job.context, checkpoint=place, stop=lambda: True) for job, place in zip(jobs, places)]
    asked = [replace(job, context=context) for job, context in zip(jobs, contexts)]
    with pytest.raises(Interrupted):
        run_batch(asked, SIX_STEPS)
    kept = [place.load() for place in places]
    assert [one[1] for one in kept if one is not None] == [1, 1, 1]


def test_nobody_is_no_batch():
    assert run_batch([], SIX_STEPS) == []
