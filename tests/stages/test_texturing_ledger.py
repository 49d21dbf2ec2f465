"""A GPU is not waited for in a step: numbers are looked at late, and the outcome is the same."""

import pytest
import torch
from small_texturing import CONFIG, PROMPT, equal_states
from torch.utils._python_dispatch import TorchDispatchMode

from avatar_core.stages import texturing
from avatar_core.stages.texturing import TexturingRun
from avatar_core.stages.texturing_losses import guidance
from avatar_core.stages.texturing_plateau import PlateauConfig
from avatar_core.stages.texturing_recovery import RecoveryConfig

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


def test_a_step_waits_for_its_three_compactions_alone(dressed, monkeypatch):
    """Rays that meet the shell, those that come near the surface, and those that show it."""
    waits = Waits()
    monkeypatch.setattr(texturing, "draw_views", waits.pausing(texturing.draw_views))
    with waits:
        shown = dressed.show()
        loss = dressed.weigh(shown, guidance(dressed.guide, shown.images, shown.texts))
        dressed.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        # On a CPU, Adam reads its own count of steps, which lies there.
        monkeypatch.setattr(dressed.optimizer, "step", waits.pausing(dressed.optimizer.step))
        dressed.learn()
    assert waits.counted == ["nonzero"] * 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_itself_finds_no_other_waits(small_avatar, small_clip):
    from avatar_core.bodies import load_body
    from avatar_core.perception.encoder import load_encoder
    from avatar_core.stages.base import StageContext

    device = torch.device("cuda")
    context = StageContext(load_body(device=device), load_encoder(device=device), device)
    run = TexturingRun(small_avatar, PROMPT, SELDOM, 3, context)
    run.begin()
    run.advance()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="synchroniz") as warned:
            run.advance()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(warned) == 3
