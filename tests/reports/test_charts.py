"""Histograms as SVG."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from avatar_core.reports.charts import Histogram, histogram_svg


def test_every_value_is_counted_once():
    values = np.random.default_rng(0).normal(0.3, 0.05, 5000)
    histogram = Histogram.of(values)
    assert histogram.counts.sum() == 5000
    assert 8 <= len(histogram.counts) <= 30
    centres = (histogram.edges[1:] + histogram.edges[:-1]) / 2
    assert abs(np.average(centres, weights=histogram.counts) - 0.3) < 0.01


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [5.0] * 100, [-1.0, 1.0], [1e12, 1e12 + 1]])
def test_few_or_equal_values_have_a_chart_too(values):
    histogram = Histogram.of(np.array(values))
    assert histogram.counts.sum() == len(values)
    assert (np.diff(histogram.edges) > 0).all()


def test_outliers_do_not_squeeze_the_others():
    values = np.concatenate([np.random.default_rng(0).random(5000), [1e6]])
    histogram = Histogram.of(values)
    assert histogram.edges[-1] < 3
    assert histogram.counts.sum() == 5001


def test_bins_are_no_finer_than_what_anybody_would_notice():
    histogram = Histogram.of(np.linspace(0, 0.01, 500), least=0.01)
    assert len(histogram.counts) <= 2


def test_the_drawing_is_well_formed_and_escaped():
    histogram = Histogram.of(np.random.default_rng(0).random(100))
    hostile = '"><script>alert(1)</script>'
    drawing = histogram_svg(histogram, title=hostile, kind="guide", marks=[(0.5, "limit")], labels=(hostile, "1"))
    tree = ElementTree.fromstring(str(drawing))
    assert [element.tag for element in tree.iter("script")] == []
    assert tree.attrib["aria-label"] == hostile
    bars = list(tree.iter("rect"))
    assert len(bars) == int((histogram.counts > 0).sum())
    heights = [float(bar.attrib["height"]) for bar in bars]
    assert heights.index(max(heights)) == int(histogram.counts[histogram.counts > 0].argmax())
