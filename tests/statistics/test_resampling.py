"""Draws of the bootstrap in which a series does not vary have no correlation."""

from __future__ import annotations

import numpy as np
import pytest

from epvs_bids.statistics.resampling import participant_weights, weighted_pearson, weighted_spearman


def test_draws_with_one_value_of_a_series_have_no_correlation() -> None:
    rng = np.random.default_rng(0)
    x = np.array([0.1] * 9 + [7.3, 2.9])
    y = rng.normal(5, 2, x.size)
    weights = participant_weights(np.arange(x.size), draws=400, seed=0)
    constant = np.array([np.ptp(x[draw > 0]) == 0 for draw in weights])
    assert 10 < constant.sum() < 390
    for correlations in (weighted_pearson(x, y, weights), weighted_pearson(y, x, weights)):
        assert np.isnan(correlations).tolist() == constant.tolist()
    assert np.isnan(weighted_spearman(x, y, weights)).tolist() == constant.tolist()


def test_small_variance_beside_a_large_one_counts() -> None:
    x = np.array([1.0, 2.0, 3.0, 5.0])
    assert weighted_pearson(1e-9 * x, 1e9 * x**2, np.ones((1, 4)))[0] == pytest.approx(
        np.corrcoef(x, x**2)[0, 1]
    )
