"""The learning curves of an optimisation: its loss, what guides it and what holds it, against its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from avatar_core.export.chart import COLORS, Chart, Color, Curve, draw_chart
from avatar_core.export.sheet import FAINT, PAPER, fit_text

GUIDANCE = {"lit": "Lit, textured views", "clay": "Views without texture"}
"""Parts of the loss that are 1 - cosine with the prompt, and what they look at."""
TOTAL = ("step", "loss")
SIZE = (760, 1280)
"""Height and width, pixels, where nothing else is asked for."""
TEXT_SIZE = 15
BORDER = 16
SMOOTHED = 12
"""Curves are averaged over the run's steps divided by this."""


def learning_curves(
    history: Sequence[Mapping[str, float]], notes: Sequence[tuple[int, str]], size: tuple[int, int] = SIZE
) -> Image.Image:
    """Return a picture of learning curves.

    Args:
        history: each step's number, loss and parts of the loss before weighting; parts may be missing in places.
        notes: steps that are marked, and what is said of them below the curves.
        size: height, without the notes, and width, pixels.
    """
    steps = _column(history, "step")
    window = max(1, len(history) // SMOOTHED)
    marks = tuple(float(step) for step, _ in notes)
    names = sorted({name for entry in history for name in entry if name not in TOTAL})
    guided = [name for name in GUIDANCE if name in names]
    left = [_noisy("Loss", "weighted sum", steps, _column(history, "loss"), COLORS[6], window, marks)]
    for color, name in zip(COLORS, guided):
        left.append(_noisy(GUIDANCE[name], "1 - cosine", steps, _column(history, name), color, window, marks))
    held = [name for name in names if name not in GUIDANCE]
    curves = tuple(_held(name, history, window, color) for name, color in zip(held, _cycle(len(held))))
    right = Chart("What holds the avatar", "step", "before weighting", steps, curves, logarithmic=True, marks=marks)
    return _laid_out(left, right, notes, size)


def smoothed(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Return the mean (N,) of the `window` values (N,) about each, fewer at the ends; NaN stays NaN."""
    valid = np.isfinite(values)
    if not len(values):
        return values
    kernel = np.ones(min(window, len(values)))
    total = np.convolve(np.where(valid, values, 0.0), kernel, mode="same")
    count = np.convolve(valid.astype(np.float64), kernel, mode="same")
    return np.where(valid, total / np.maximum(count, 1.0), np.nan)


def _column(history: Sequence[Mapping[str, float]], name: str) -> NDArray[np.float64]:
    return np.array([entry.get(name, np.nan) for entry in history], dtype=np.float64)


def _held(name: str, history: Sequence[Mapping[str, float]], window: int, color: Color) -> Curve:
    """A part of the loss that may be zero all along, which a logarithmic axis cannot show but its name can."""
    values = smoothed(_column(history, name), window)
    return Curve(name if bool((values > 0).any()) else f"{name} (zero)", values, color)


def _cycle(count: int) -> list[Color]:
    return [COLORS[index % len(COLORS)] for index in range(count)]


def _noisy(
    title: str,
    y_label: str,
    steps: NDArray[np.float64],
    values: NDArray[np.float64],
    color: Color,
    window: int,
    marks: tuple[float, ...],
) -> Chart:
    """A curve whose single steps, each of other views, lie pale behind their mean."""
    red, green, blue = (round(0.3 * part + 0.7 * paper) for part, paper in zip(color, PAPER))
    each = Curve("each step", values, (red, green, blue), width=1.2)
    mean = Curve(f"mean of {window} steps", smoothed(values, window), color, width=2.4)
    return Chart(title, "step", y_label, steps, (each, mean), marks=marks)


def _laid_out(
    left: Sequence[Chart], right: Chart, notes: Sequence[tuple[int, str]], size: tuple[int, int]
) -> Image.Image:
    height, width = size
    font = ImageFont.load_default(size=TEXT_SIZE)
    line = int(1.5 * TEXT_SIZE)
    page = Image.new("RGB", (width, height + line * len(notes)), PAPER)
    half, tall = width // 2 - BORDER, height - 2 * BORDER
    for place, chart in enumerate(left):
        top, bottom = (tall * edge // len(left) for edge in (place, place + 1))
        page.paste(draw_chart(chart, (bottom - top, half), TEXT_SIZE), (BORDER, BORDER + top))
    page.paste(draw_chart(right, (tall, half), TEXT_SIZE), (width // 2, BORDER))
    pen = ImageDraw.Draw(page)
    for place, (step, text) in enumerate(notes):
        words = fit_text(pen, f"step {step}: {text}", font, width - 2 * BORDER)
        pen.text((BORDER, height + line * place - BORDER // 2), words, font=font, fill=FAINT)
    return page
