import pytest
from small_texturing import CONFIG, PROMPT

from avatar_core.stages import texturing
from avatar_core.stages.texturing_losses import LossConfig
from avatar_core.stages.texturing_plateau import PlateauConfig, has_stalled

PATIENT = PlateauConfig(patience=20, gain=0.01, window=10)


def course(*parts):
    """A history whose lit loss goes from a to b in n steps, for each part (a, b, n)."""
    losses = [first + (last - first) * index / count for first, last, count in parts for index in range(count)]
    return [{"lit": loss, "clay": 0.5} for loss in losses]


@pytest.mark.parametrize(
    ("history", "stalled"),
    [
        (course((1.0, 0.2, 100)), False),
        (course((1.0, 0.5, 60), (0.5, 0.5, 40)), True),
        (course((1.0, 0.5, 80), (0.5, 0.5, 20)), False),
        (course((1.0, 1.5, 100)), True),
        (course((0.5, 0.5, 20)), False),
        (course((0.5, 0.5, 95)), False),  # looked at every ten steps only
    ],
)
def test_a_run_stalls_when_guidance_has_not_fallen_for_some_time(history, stalled):
    assert has_stalled(history, 0, LossConfig(), PATIENT) == stalled


def test_noise_between_views_is_no_gain():
    history = course((0.5, 0.5, 100))
    for index in range(0, 100, 10):
        history[index]["lit"] = 0.45
    assert has_stalled(history, 0, LossConfig(), PATIENT)


def test_steps_at_less_than_full_detail_do_not_count():
    history = course((0.2, 0.2, 60), (0.9, 0.5, 40))
    assert has_stalled(history, 0, LossConfig(), PATIENT)
    assert not has_stalled(history, 60, LossConfig(), PATIENT)


def test_without_patience_it_never_ends_early():
    assert not has_stalled(course((0.5, 0.5, 1000)), 0, LossConfig(), PlateauConfig())


def test_full_detail_begins_with_the_last_resolution_and_the_last_level():
    config = texturing.Config(steps=100, resolutions=(32, 64, 96), full_detail_at=0.5)
    assert config.full_detail_from() == 67
    assert config.model_copy(update={"full_detail_at": 0.8}).full_detail_from() == 80


def test_a_run_that_stalls_ends_and_says_so(small_avatar, small_context):
    plateau = PlateauConfig(patience=2, gain=10.0, window=2)
    changes = {"steps": 12, "outfit_search": False, "resolutions": (16,), "full_detail_at": 0.5, "plateau": plateau}
    config = CONFIG.model_copy(update=changes)
    result = texturing.run(small_avatar, PROMPT, config=config, seed=5, context=small_context)
    assert len(result.history) == 10
    (event,) = result.events
    assert (event.kind, event.step, event.back_to) == ("plateau", 10, 10)
    assert event.told().startswith("ended early")
    assert result.film.labels[-1] == "step 10"
