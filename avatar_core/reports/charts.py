"""Small charts as SVG inside a page, drawn in the colours of its style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

WIDTH, HEIGHT = 260, 118
_LEFT, _RIGHT, _TOP, _BOTTOM = 4, 4, 8, 20
LEAST_BINS, MOST_BINS = 8, 24
_TAIL = 0.005
"""Part of the values at each end that may fall out of a histogram's range and is counted in its outermost bars."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """How values are spread."""

    edges: NDArray[np.float64]
    """(B + 1,) rising."""
    counts: NDArray[np.int64]
    """(B,) values in each bin; those beyond the ends are in the outermost bins."""

    @classmethod
    def of(cls, values: NDArray[np.floating], least: float = 0.0) -> Histogram:
        """Count finite values (N,), N at least 1, in even bins at round numbers.

        least: the smallest width of a bin that says anything; 0 where any does.
        """
        low, high = (float(end) for end in np.quantile(values, [_TAIL, 1 - _TAIL]))
        bins = max(LEAST_BINS, min(MOST_BINS, math.ceil(math.sqrt(len(values)))))
        step = _round_up(max((high - low) / bins, least, 1e-9 * max(abs(low), abs(high)), 1e-12))
        first = math.floor(low / step)
        last = max(math.ceil(high / step), first + 1)
        edges = (step * np.arange(first, last + 1)).astype(np.float64)
        inside = np.clip(values, edges[0], np.nextafter(edges[-1], edges[0]))
        return cls(edges, np.histogram(inside, edges)[0])


def _round_up(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step * (1 - 1e-9))


def histogram_svg(
    histogram: Histogram, *, title: str, kind: str, marks: Sequence[tuple[float, str]], labels: tuple[str, str]
) -> Markup:
    """Return a histogram as SVG.

    Args:
        histogram: the counts.
        title: what it shows, for who does not see it.
        kind: class of its bars in the style sheet.
        marks: places of upright lines, and their classes.
        labels: what stands under its two ends.
    """
    low, high = float(histogram.edges[0]), float(histogram.edges[-1])
    tallest = max(int(histogram.counts.max()), 1)
    wide, tall = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def across(value: float) -> float:
        return _LEFT + wide * min(max((value - low) / (high - low), 0.0), 1.0)

    base = HEIGHT - _BOTTOM
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{base + 0.5}" y2="{base + 0.5}"/>')
    for count, start, end in zip(histogram.counts.tolist(), histogram.edges, histogram.edges[1:]):
        if count:
            left, height = across(float(start)), max(tall * count / tallest, 1.0)
            width = max(across(float(end)) - left - 1.0, 0.5)
            parts.append(
                f'<rect class="{escape(kind)}" x="{left:.1f}" y="{base - height:.1f}" width="{width:.1f}" '
                f'height="{height:.1f}"/>'
            )
    for value, style in marks:
        x = across(value)
        parts.append(f'<line class="{escape(style)}" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{base}"/>')
    parts.append(f'<text x="{_LEFT}" y="{HEIGHT - 6}">{escape(labels[0])}</text>')
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{escape(labels[1])}</text></svg>')
    return Markup("".join(parts))
