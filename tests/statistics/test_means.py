"""The mean and its interval, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from epvs_bids.statistics.means import mean_estimate


def test_the_interval_is_scipys() -> None:
    values = np.random.default_rng(0).normal(5, 2, 13)
    found, theirs = mean_estimate(values), stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_a_single_value_has_no_interval() -> None:
    found = mean_estimate([3])
    assert found.value == 3
    assert np.isnan([found.low, found.high]).all()
