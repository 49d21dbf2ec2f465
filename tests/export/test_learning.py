import math

import numpy as np
import pytest

from avatar_core.export.chart import COLORS, Chart, Curve, draw_chart, linear_ticks
from avatar_core.export.learning import SIZE, TEXT_SIZE, learning_curves, smoothed

STEPS = 60
HISTORY = [
    {
        "step": float(step),
        "loss": 1.1 - 0.002 * step,
        "lit": 0.6 - 0.001 * step,
        "clay": 0.9 - 0.001 * step,
        "mask": 0.01 * math.exp(-0.05 * step),
        "palette": 0.0,
    }
    for step in range(1, STEPS + 1)
]


def near(image, color):
    """Where pixels are of a colour."""
    return (np.abs(np.asarray(image).astype(int) - color).sum(axis=2) < 30).nonzero()


def chart(y, **more):
    return Chart("Title", "step", "value", np.arange(len(y)), (Curve("a", np.array(y), COLORS[0]),), **more)


def test_each_part_of_the_loss_has_a_curve_of_its_colour():
    image = learning_curves(HISTORY, [])
    assert image.size == (SIZE[1], SIZE[0])
    half = SIZE[1] // 2
    for color, left in ((COLORS[6], True), (COLORS[0], True), (COLORS[1], True), (COLORS[0], False)):
        columns = near(image, color)[1]
        assert ((columns < half) == left).sum() > 200
    assert len(near(image.crop((half, 0, SIZE[1], SIZE[0] - 120)), COLORS[1])[0]) == 0  # zero all along


def test_equal_histories_give_equal_pictures():
    assert learning_curves(HISTORY, []).tobytes() == learning_curves(HISTORY, []).tobytes()


def test_notes_stand_below_and_mark_their_steps():
    plain = learning_curves(HISTORY, [])
    noted = learning_curves(HISTORY, [(20, "back to step 10"), (40, "x" * 1000)])
    assert noted.height > plain.height + 2 * TEXT_SIZE
    assert noted.width == plain.width
    field = (100, 55, 600, 170)
    assert noted.crop(field).tobytes() != plain.crop(field).tobytes()


@pytest.mark.parametrize(
    "history", [[], HISTORY[:1], [{"step": 1.0, "loss": 0.5}, {"step": 2.0, "loss": 0.4, "new": 1.0}]]
)
def test_short_and_patchy_histories_can_be_drawn(history):
    assert learning_curves(history, []).size == (SIZE[1], SIZE[0])


def test_a_curve_runs_where_its_values_are():
    image = draw_chart(chart([0.0, 1.0, 1.0, 1.0, 0.0]), (300, 400), 12)
    rows, columns = near(image, COLORS[0])
    on_curve = rows < 220  # above the legend
    rows, columns = rows[on_curve], columns[on_curve]
    first, middle = rows[columns == columns.min()].mean(), rows[np.abs(columns - columns.mean()) < 5].mean()
    assert first > middle + 100


def test_a_logarithmic_axis_leaves_out_zeros_and_what_is_far_below_its_top():
    starts = []
    for first in (1e-1, 1e-30, 0.0):
        drawn = chart([first, first, 1e-2, 1.0, 1e-2], logarithmic=True)
        rows, columns = near(draw_chart(drawn, (300, 400), 12), COLORS[0])
        starts.append(columns[rows < 235].min())  # above the legend
    assert starts[1] == pytest.approx(starts[2], abs=10)  # the numbers at the axis differ in width
    assert starts[1] > starts[0] + 100


def test_gaps_are_not_bridged():
    drawn = [
        len(near(draw_chart(chart(y), (300, 400), 12), COLORS[0])[0])
        for y in ([0.0, 0.0, math.nan, math.nan, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    ]
    assert drawn[0] < 0.7 * drawn[1]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (1, 160, [50, 100, 150]),
        (0.581, 0.662, [0.6, 0.62, 0.64, 0.66]),
        (-3, 3, [-2, 0, 2]),
    ],
)
def test_ticks_are_round_and_few(low, high, ticks):
    assert linear_ticks(low, high) == pytest.approx(ticks)


def test_smoothing_is_a_mean_of_what_is_there():
    values = np.array([1.0, 3.0, math.nan, 5.0, 5.0])
    np.testing.assert_allclose(smoothed(values, 3), [2, 2, math.nan, 5, 5])
    assert np.isnan(smoothed(np.full(3, math.nan), 3)).all()
    assert len(smoothed(np.zeros(0), 3)) == 0
