"""Potter categories and weighted kappa against R's psych and definitions."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa

from epvs_bids.statistics.kappa import weighted_kappa
from epvs_bids.statistics.potter import potter_class


def test_limits_of_the_categories() -> None:
    assert potter_class([-2, 0, 0.4, 0.6, 1, 10, 10.4, 11, 20, 21, 40, 41, 300]).tolist() == [
        0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4,
    ]  # fmt: skip


@pytest.mark.parametrize("weights", ["linear", "quadratic"])
def test_kappa_is_that_of_psych_and_its_interval_that_of_statsmodels(
    weights: Literal["linear", "quadratic"], reference: dict[str, Any], counts: pd.DataFrame
) -> None:
    first, second = potter_class(counts["count"]), potter_class(counts["second"])
    result = weighted_kappa(first, second, weights=weights)
    theirs = reference[f"kappa_{weights}"]
    assert result.value == pytest.approx(theirs["value"], abs=1e-9)
    assert result.value == pytest.approx(cohen_kappa_score(first, second, weights=weights), abs=1e-9)
    # psych 2.2.9 has another standard error than Fleiss, Cohen & Everitt, statsmodels and the bootstrap.
    table = np.zeros((5, 5))
    np.add.at(table, (first, second), 1)
    error = cohens_kappa(table, wt=weights).std_kappa
    assert (result.high - result.low) / 2 / stats.norm.ppf(0.975) == pytest.approx(error, rel=1e-6)


def test_kappa_of_agreement_chance_and_one_category() -> None:
    series = np.tile(np.arange(5), 40)
    assert weighted_kappa(series, series).value == pytest.approx(1)
    assert weighted_kappa(series, np.repeat(np.arange(5), 40)).value == pytest.approx(0, abs=1e-12)
    assert np.isnan(weighted_kappa([2, 2, 2], [2, 2, 2]).value)


def test_categories_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0 … 4"):
        weighted_kappa([0, 5], [0, 1])
