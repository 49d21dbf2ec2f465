"""Seconds and peak memory of a block."""

import numpy as np
import pytest

from tasks.measuring import Cost, lifetime_peak_mb


def test_the_peak_is_that_of_the_block_and_the_lifetime_keeps_the_highest() -> None:
    with Cost() as large:
        np.ones(200 * 2**20, np.uint8).sum()
    with Cost() as small:
        np.ones(2**20, np.uint8).sum()
    if small.peak_mb > large.peak_mb - 100:
        pytest.skip("this kernel does not reset the peak")
    assert large.peak_mb - small.peak_mb > 100
    assert lifetime_peak_mb() >= large.peak_mb
    assert large.seconds > 0
