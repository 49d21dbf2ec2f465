"""A GPU is not waited for in a step: numbers are looked at late, and the outcome is the same."""

import pytest
import torch
from small_texturing import CONFIG, PROMPT, equal_states
from torch.utils._python_dispatch import TorchDispatchMode

from avatar_core.stages import texturing
from avatar_core.stages.texturing import TexturingRun
from avatar_core.stages.texturing_losses import LossConfig, guidance
from avatar_core.stages.texturing_plateau import PlateauConfig
from avatar_core.stages.texturing_recovery import RecoveryConfig, Setback
from avatar_core.transfers import Awaited

SIX_STEPS = CONFIG.model_copy(update={"steps": 6, "outfit_search": False, "checkpoint_every": 5})
SELDOM = SIX_STEPS.model_copy(update={"recovery": RecoveryConfig(check_every=4)})


@pytest.fixture
def optimise(small_avatar, small_context):
    def run(config):
        return texturing.run(small_avatar, PROMPT, config=config, seed=5, context=small_context)

    return run


@pytest.fixture
def put_in(monkeypatch):
    """Return a function that makes the loss or a gradient of the so-manieth step to be tried no number."""

    def put(attempt, fault):
        tried = []

        def faulty(rendered, disagreement, field, *rest):
            tried.append(len(tried) + 1)
            loss, parts = real(rendered, disagreement, field, *rest)
            return (fault(loss, field) if len(tried) == attempt else loss), parts

        monkeypatch.setattr(texturing, "total_loss", faulty)
        return tried

    real = texturing.total_loss
    return put


def nan(loss, field):
    return loss * float("nan")


def nan_gradient(loss, field):
    return loss + (0 * field.color_encoding.table.sum()).sqrt()


def test_looking_seldom_changes_nothing(optimise):
    often, seldom = optimise(SIX_STEPS), optimise(SELDOM)
    assert equal_states(often.state, seldom.state)
    assert often.history == seldom.history
    assert often.score_after == seldom.score_after


@pytest.mark.parametrize(("fault", "reason"), [(nan, "the loss is nan"), (nan_gradient, "a gradient is not finite")])
def test_a_divergence_is_seen_late_and_undone_all_the_same(optimise, put_in, fault, reason):
    tried = put_in(2, fault)
    result = optimise(SELDOM)
    assert len(tried) == 4 + 6, "steps 1 to 4 are looked at together; the run begins again"
    (event,) = result.events
    assert (event.step, event.kind, event.back_to, event.reason) == (2, "divergence", 0, reason)
    assert [entry["step"] for entry in result.history] == [1, 2, 3, 4, 5, 6]
    assert all(torch.isfinite(value).all() for value in result.state.values() if value.is_floating_point())


@pytest.mark.parametrize("attempt", [5, 6])
def test_no_checkpoint_and_no_result_is_kept_unlooked_at(optimise, put_in, attempt):
    put_in(attempt, nan)
    result = optimise(SIX_STEPS.model_copy(update={"recovery": RecoveryConfig(check_every=100)}))
    (event,) = result.events
    assert (event.step, event.back_to) == (attempt, 0 if attempt == 5 else 5)
    assert len(result.history) == 6


def test_a_plateau_is_seen_when_it_is_due(optimise):
    plateau = PlateauConfig(patience=1, gain=10.0, window=2)
    at_once = SIX_STEPS.model_copy(update={"plateau": plateau, "full_detail_at": 0.1, "resolutions": (24,)})
    late = at_once.model_copy(update={"recovery": RecoveryConfig(check_every=100)})
    assert len(optimise(at_once).history) == len(optimise(late).history) == 4


class Waits(TorchDispatchMode):
    """Counts what a GPU would be waited for: numbers that go to Python, and shapes that follow from values."""

    def __init__(self):
        super().__init__()
        self.counted = []
        self.on = True

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name == "index" and any(one is not None and one.dtype == torch.bool for one in args[1])
        if self.on and (by_mask or name in ("_local_scalar_dense", "nonzero", "masked_select", "equal")):
            self.counted.append(name)
        return func(*args, **(kwargs or {}))

    def pausing(self, function):
        """Return `function` for which nothing is counted: it works on the CPU wherever the rest does."""

        def paused(*arguments):
            self.on = False
            try:
                return function(*arguments)
            finally:
                self.on = True

        return paused


@pytest.fixture
def dressed(small_avatar, small_context):
    """A run with clothes and a skirt, past its first step, that looks at no number before its last."""
    config = SELDOM.model_copy(update={"outfit_search": True, "recovery": RecoveryConfig(check_every=100)})
    run = TexturingRun(small_avatar, "a woman in a red skirt", config, 3, small_context)
    run.begin()
    run.advance()
    return run


def count_waits(run, monkeypatch):
    """Take a step of `run` and return what a GPU would be waited for in it."""
    waits = Waits()
    monkeypatch.setattr(texturing, "draw_views", waits.pausing(texturing.draw_views))
    # Here, the number of rays lies in Python's reach; on a GPU it is awaited, but it came a step before.
    monkeypatch.setattr(Awaited, "__int__", waits.pausing(Awaited.__int__))
    with waits:
        shown = run.show()
        loss = run.weigh(shown, guidance(run.guide, shown.images, shown.texts))
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        # On a CPU, Adam reads its own count of steps, which lies there.
        monkeypatch.setattr(run.optimizer, "step", waits.pausing(run.optimizer.step))
        run.learn()
    return waits.counted


def test_a_step_waits_for_nothing_where_it_is_queued(dressed, monkeypatch):
    dressed.queued = True
    assert count_waits(dressed, monkeypatch) == []


def test_a_step_on_a_cpu_picks_out_the_rays_that_show_the_avatar(dressed, monkeypatch):
    assert count_waits(dressed, monkeypatch) == ["nonzero"]


def test_queued_steps_come_out_alike(small_avatar, small_context):
    """Rays are found a step ahead and all of them shaded; but for the samples' noise, nothing is another."""
    runs = []
    for queued in (False, True):
        run = TexturingRun(small_avatar, PROMPT, SIX_STEPS, 5, small_context)
        run.queued = queued
        run.begin()
        # Where neighbours are drawn for all rays, other numbers are drawn.
        run.config = run.config.model_copy(update={"losses": LossConfig(variation=0.0)})
        while run.step < SIX_STEPS.steps:
            run.advance()
        runs.append(run)
    plain, ahead = runs
    for one, other in zip(plain.history, ahead.history):
        assert one.keys() == other.keys()
        for name in one.keys() - {"variation"}:
            assert other[name] == pytest.approx(one[name], rel=2e-3, abs=1e-6), (one["step"], name)


def test_a_setback_forgets_the_rays_that_were_found_ahead(dressed):
    dressed.queued = True
    dressed.keep()
    dressed.advance()
    assert len(dressed._next.views.cameras) == dressed.config.views_per_step
    dressed.go_back(Setback(dressed.step + 1, "memory", "too much", dressed.effort.halved()))
    dressed.advance()
    assert len(dressed._next.views.cameras) < dressed.config.views_per_step


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_itself_finds_no_wait(small_avatar, small_clip):
    from avatar_core.bodies import load_body
    from avatar_core.perception.encoder import load_encoder
    from avatar_core.stages.base import StageContext

    device = torch.device("cuda")
    context = StageContext(load_body(device=device), load_encoder(device=device), device)
    run = TexturingRun(small_avatar, PROMPT, SELDOM, 3, context)
    run.begin()
    run.advance()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run.advance()
    finally:
        torch.cuda.set_sync_debug_mode("default")
