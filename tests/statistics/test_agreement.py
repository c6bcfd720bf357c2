"""Correlations, limits of agreement and Williams' test against R, published examples and definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from epvs_bids.statistics.agreement import agreement, bland_altman, proportion, repeatability, williams_test


def test_correlations_are_those_of_r(reference: dict[str, Any], counts: pd.DataFrame) -> None:
    result = agreement(counts["count"], counts["score"])
    assert result.pearson.value == pytest.approx(reference["correlations"]["pearson"], abs=1e-10)
    assert result.spearman.value == pytest.approx(reference["correlations"]["spearman"], abs=1e-10)
    assert result.mse.value == pytest.approx(((counts["count"] - counts["score"]) ** 2).mean())


def test_intervals_hold_the_value_and_depend_on_the_seed_only(counts: pd.DataFrame) -> None:
    first = agreement(counts["count"], counts["score"], seed=3)
    assert first == agreement(counts["count"], counts["score"], seed=3)
    for name in ("pearson", "spearman", "icc11", "icc21", "icc31", "mse"):
        estimate = getattr(first, name)
        assert estimate.low < estimate.value < estimate.high


def test_bootstrap_interval_of_pearson_is_near_fishers() -> None:
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, 400))
    y = 0.6 * x + 0.8 * noise
    result = agreement(x, y).pearson
    z, half = np.arctanh(result.value), 1.96 / np.sqrt(397)
    assert (result.low, result.high) == pytest.approx((np.tanh(z - half), np.tanh(z + half)), abs=0.03)


def test_scans_of_one_participant_are_drawn_together() -> None:
    rng = np.random.default_rng(1)
    x = np.repeat(rng.normal(size=40), 5)
    y = x + np.repeat(rng.normal(size=40), 5)
    apart = agreement(x, y).pearson
    together = agreement(x, y, participants=np.repeat(np.arange(40), 5)).pearson
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2, 3]), ([1], [1]), ([1, np.nan], [1, 2])])
def test_series_that_do_not_pair_are_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(ValueError, match="two series"):
        agreement(x, y)


def test_bland_altman_limits_by_hand() -> None:
    # Differences 1, 2, 3, 4, 5: mean 3, SD √2.5.
    result = bland_altman([0, 0, 0, 0, 0], [1, 2, 3, 4, 5])
    sd, t = np.sqrt(2.5), stats.t.ppf(0.975, 4)
    assert (result.bias.value, result.sd) == pytest.approx((3, sd))
    assert (result.lower.value, result.upper.value) == pytest.approx((3 - 1.96 * sd, 3 + 1.96 * sd))
    assert result.bias.high - 3 == pytest.approx(t * sd / np.sqrt(5))
    assert result.upper.high - result.upper.value == pytest.approx(t * sd * np.sqrt(3 / 5))


def test_bland_altman_of_the_peak_flow_data_of_1986() -> None:
    # Bland & Altman (1986), table 1: Wright and mini Wright meters, first readings; mean −2.1, SD 38.8 l/min.
    wright = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
    mini = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
    result = bland_altman(mini, wright)
    assert (round(result.bias.value, 1), round(result.sd, 1)) == (-2.1, 38.8)
    # Their interval for the bias: −22.0 to 17.8; for the upper limit 40.9 to 110.1.
    assert (result.bias.low, result.bias.high) == pytest.approx((-22.0, 17.8), abs=0.15)
    assert result.upper.high - result.upper.value == pytest.approx((110.1 - 40.9) / 2, abs=0.3)


def test_williams_test_of_steiger_1980_and_psych(reference: dict[str, Any]) -> None:
    # Steiger's Case A as psych documents it: n = 103, r = .5 and .4, correlated at .1.
    result = williams_test(0.5, 0.4, 0.1, 103)
    assert (round(result.t, 2), round(result.p, 2), result.df) == (0.89, 0.37, 100)
    for name, values in {
        "williams_steiger_1980": (0.5, 0.4, 0.1, 103),
        "williams_close": (0.75, 0.63, 0.68, 405),
    }.items():
        ours = williams_test(*values)
        assert (abs(ours.t), ours.p) == pytest.approx((reference[name]["t"], reference[name]["p"]), rel=1e-8)


def test_williams_test_keeps_its_level() -> None:
    rng = np.random.default_rng(2)
    rejected = 0
    for _ in range(1000):
        x, a, b = rng.normal(size=(3, 60))
        r = np.corrcoef([x, x + a, x + b])
        rejected += williams_test(r[0, 1], r[0, 2], r[1, 2], 60).p < 0.05
    assert 30 <= rejected <= 72  # 5 % of 1000, ± 3 standard errors


def test_williams_test_refuses_impossible_correlations() -> None:
    with pytest.raises(ValueError, match="possible correlations"):
        williams_test(0.9, -0.9, 0.9, 50)
    assert williams_test(0.5, 0.5, 1.0, 50).p == 1


def test_repeatability_by_hand() -> None:
    result = repeatability([1, 2, 3], [2, 2, 5])
    assert result.within_sd == pytest.approx(np.sqrt((1 + 0 + 4) / 6))
    assert result.coefficient == pytest.approx(2.7719 * result.within_sd, rel=1e-4)


def test_wilson_interval_of_the_paper_by_newcombe() -> None:
    # Newcombe (1998), Stat. Med. 17:857–872, table I: 81 of 263 has the score interval 0.2553 to 0.3662.
    result = proportion(81, 263)
    assert (round(result.low, 4), round(result.high, 4)) == (0.2553, 0.3662)
