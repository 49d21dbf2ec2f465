"""Line charts as pictures, drawn with Pillow in the type and colours of the preview sheet."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from avatar_core.export.sheet import FAINT, INK, PAPER

Color = tuple[int, int, int]
Box = tuple[float, float, float, float]
Point = tuple[float, float]

COLORS: tuple[Color, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (90, 90, 90),
    (140, 86, 75),
)
"""Of curves, told apart by people who are colour-blind too (after Okabe and Ito)."""
GRID, FRAME = (228, 229, 232), (170, 173, 178)
DECADES = 6
"""A logarithmic axis reaches this many powers of ten below its top."""
FINER = 3
"""Charts are drawn this many times larger and reduced: smooth lines."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a chart."""

    name: str
    """What the legend calls it; a line without a name is not in the legend."""
    y: NDArray[np.floating]
    """(N,) values; NaN where there is none."""
    color: Color
    width: float = 2.0
    """Pixels."""


@dataclass(frozen=True, eq=False)
class Chart:
    """Lines over one axis."""

    title: str
    x_label: str
    y_label: str
    x: NDArray[np.floating]
    """(N,) rising."""
    curves: tuple[Curve, ...]
    """Later ones lie over earlier ones."""
    logarithmic: bool = False
    """Whether the upright axis is: values that are not positive are left out then."""
    marks: tuple[float, ...] = ()
    """Where dashed lines stand."""


def draw_chart(chart: Chart, size: tuple[int, int], text_size: int) -> Image.Image:
    """Return a chart with its axes, their labels and a legend below.

    Args:
        chart: what to draw; with no values at all its axes span 0 to 1.
        size: height and width, pixels.
        text_size: height of the labels' letters, pixels.
    """
    height, width = size
    large = _Drawing(chart, height * FINER, width * FINER, text_size * FINER)
    return large.draw().resize((width, height), Image.Resampling.LANCZOS)


def linear_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return at most `most` + 1 round numbers inside [low, high], evenly spaced."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [step * index for index in range(first, last + 1)]


class _Drawing:
    """One chart on its way to a picture; all lengths in pixels of the large picture."""

    def __init__(self, chart: Chart, height: int, width: int, text_size: int) -> None:
        self.chart = chart
        self.text_size = text_size
        self.font = ImageFont.load_default(size=text_size)
        self.image = Image.new("RGB", (width, height), PAPER)
        self.pen = ImageDraw.Draw(self.image)
        self.legend = self._legend_rows(width)
        self.x_range = _span(chart.x)
        self.y_range = self._y_range()
        self.box = self._box(width, height)

    def draw(self) -> Image.Image:
        self._grid()
        for mark in self.chart.marks:
            self._dashed(self._across(mark))
        for curve in self.chart.curves:
            self._curve(curve)
        self.pen.rectangle(self.box, outline=FRAME, width=FINER)
        self._labels()
        return self.image

    def _y_range(self) -> tuple[float, float]:
        named = [curve.y for curve in self.chart.curves]
        values = np.concatenate([np.asarray(y, np.float64) for y in named]) if named else np.zeros(0)
        if not self.chart.logarithmic:
            low, high = _span(values)
            return low - 0.04 * (high - low), high + 0.04 * (high - low)
        exponents = np.log10(values[np.isfinite(values) & (values > 0)])
        top = math.ceil(float(exponents.max())) if len(exponents) else 0
        bottom = math.floor(float(exponents.min())) if len(exponents) else -1
        return float(max(min(bottom, top - 1), top - DECADES)), float(top)

    def _box(self, width: int, height: int) -> Box:
        """Left, top, right and bottom of the field of the curves."""
        em = self.text_size
        ticks = max(self.pen.textlength(text, font=self.font) for _, text in self._y_ticks())
        return (
            2.8 * em + ticks,
            2.4 * em,
            width - 1.2 * em,
            height - (3.6 + 1.5 * len(self.legend)) * em,
        )

    def _across(self, x: float) -> float:
        low, high = self.x_range
        return self.box[0] + (x - low) / (high - low) * (self.box[2] - self.box[0])

    def _up(self, y: float) -> float:
        low, high = self.y_range
        return self.box[3] - (y - low) / (high - low) * (self.box[3] - self.box[1])

    def _y_ticks(self) -> list[tuple[float, str]]:
        low, high = self.y_range
        if self.chart.logarithmic:
            return [(float(power), _power(power)) for power in range(math.ceil(low), math.floor(high) + 1)]
        ticks = linear_ticks(low, high)
        return [(value, _plain(value, ticks)) for value in ticks]

    def _grid(self) -> None:
        left, top, right, bottom = self.box
        em = self.text_size
        for value, text in self._y_ticks():
            y = self._up(value)
            self.pen.line([(left, y), (right, y)], fill=GRID, width=FINER)
            self.pen.text((left - 0.4 * em, y), text, font=self.font, fill=FAINT, anchor="rm")
        ticks = linear_ticks(*self.x_range)
        for value in ticks:
            x = self._across(value)
            self.pen.line([(x, top), (x, bottom)], fill=GRID, width=FINER)
            self.pen.text((x, bottom + 0.3 * em), _plain(value, ticks), font=self.font, fill=FAINT, anchor="ma")

    def _curve(self, curve: Curve) -> None:
        values = np.asarray(curve.y, np.float64)
        if self.chart.logarithmic:
            values = np.log10(values, where=values > 0, out=np.full(len(values), np.nan))
            values = np.where(values < self.y_range[0], np.nan, values)
        run: list[Point] = []
        for x, y in zip(self.chart.x, values):
            if np.isfinite(y):
                run.append((self._across(float(x)), self._up(float(y))))
            else:
                self._stroke(run, curve)
                run = []
        self._stroke(run, curve)

    def _stroke(self, run: list[Point], curve: Curve) -> None:
        width = max(1, round(curve.width * FINER))
        if len(run) == 1:
            (x, y), radius = run[0], width
            self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=curve.color)
        elif run:
            self.pen.line(run, fill=curve.color, width=width, joint="curve")

    def _dashed(self, x: float) -> None:
        dash = self.text_size / 2
        for start in np.arange(self.box[1], self.box[3], 2 * dash):
            self.pen.line([(x, start), (x, min(start + dash, self.box[3]))], fill=FAINT, width=FINER)

    def _labels(self) -> None:
        left, top, right, bottom = self.box
        em = self.text_size
        self.pen.text((left, top - 0.5 * em), self.chart.title, font=self.font, fill=INK, anchor="ls")
        middle = (left + right) / 2
        self.pen.text((middle, bottom + 1.6 * em), self.chart.x_label, font=self.font, fill=INK, anchor="ma")
        words = Image.new("RGB", (int(self.pen.textlength(self.chart.y_label, font=self.font)) + em, 2 * em), PAPER)
        pen = ImageDraw.Draw(words)
        pen.text((words.width / 2, em), self.chart.y_label, font=self.font, fill=INK, anchor="mm")
        turned = words.rotate(90, expand=True)
        self.image.paste(turned, (0, int((top + bottom - turned.height) / 2)))
        for row, curves in enumerate(self.legend):
            x, y = left, bottom + (3.6 + 1.5 * row) * em
            for curve in curves:
                self.pen.line([(x, y), (x + 1.5 * em, y)], fill=curve.color, width=round(curve.width * FINER))
                self.pen.text((x + 1.9 * em, y), curve.name, font=self.font, fill=INK, anchor="lm")
                x += self._legend_width(curve)

    def _legend_width(self, curve: Curve) -> float:
        return self.pen.textlength(curve.name, font=self.font) + 3.2 * self.text_size

    def _legend_rows(self, width: int) -> list[list[Curve]]:
        """The named curves in as many rows as they need."""
        rows: list[list[Curve]] = []
        room = 0.0
        for curve in self.chart.curves:
            if not curve.name:
                continue
            needed = self._legend_width(curve)
            if not rows or needed > room:
                rows.append([])
                room = width - 6.0 * self.text_size
            rows[-1].append(curve)
            room -= needed
        return rows


def _span(values: NDArray[np.floating]) -> tuple[float, float]:
    """Lowest and highest finite value, made different; 0 and 1 of none."""
    finite = np.asarray(values, np.float64)[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if high - low < 1e-9 * max(abs(low), abs(high), 1.0):
        return low - 0.5, high + 0.5
    return low, high


def _plain(value: float, ticks: list[float]) -> str:
    """A tick in as many decimals as its neighbours need."""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:.{decimals}f}"


def _power(exponent: int) -> str:
    return f"{10.0**exponent:g}" if -3 <= exponent <= 4 else f"1e{exponent}"
