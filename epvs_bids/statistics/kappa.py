"""Agreement of two series of categories."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from epvs_bids.statistics.icc import Estimate
from epvs_bids.statistics.potter import N_CATEGORIES


def weighted_kappa(
    first: ArrayLike,
    second: ArrayLike,
    *,
    n_categories: int = N_CATEGORIES,
    weights: Literal["linear", "quadratic"] = "quadratic",
) -> Estimate:
    """Cohen's weighted kappa of two series of categories, with its large-sample 95 % confidence interval.

    κ = (p_o − p_e) / (1 − p_e), where agreement in cell (i, j) counts w_ij = 1 − |i − j|/(c − 1) (linear) or
    1 − (i − j)²/(c − 1)² (quadratic); variance of Fleiss, Cohen & Everitt (1969), Psychological Bulletin
    72:323–327.

    Parameters
    ----------
    first, second
        Shape (n,), whole numbers from 0 to n_categories − 1.
    n_categories
        Number of categories c ≥ 2, those that nobody used included.
    weights
        How disagreement grows with distance.

    Returns
    -------
    κ with its limits; NaN where both series are one and the same category throughout.

    Raises
    ------
    ValueError
        For series of different length, empty ones, or categories out of range.
    """
    a, b = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0:
        raise ValueError(f"two series of categories of one length are needed, not {a.shape} and {b.shape}")
    if min(a.min(), b.min()) < 0 or max(a.max(), b.max()) >= n_categories:
        raise ValueError(f"categories must lie in 0 … {n_categories - 1}")
    table = np.zeros((n_categories, n_categories))
    np.add.at(table, (a, b), 1 / a.size)
    distance = np.abs(np.subtract.outer(np.arange(n_categories), np.arange(n_categories))) / (
        n_categories - 1
    )
    agreement = 1 - (distance if weights == "linear" else distance**2)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    observed, expected = (agreement * table).sum(), rows @ agreement @ columns
    if np.isclose(expected, 1):
        return Estimate(np.nan, np.nan, np.nan)
    kappa = (observed - expected) / (1 - expected)
    margins = np.add.outer(agreement @ columns, rows @ agreement)
    moment = (table * (agreement - margins * (1 - kappa)) ** 2).sum() - (kappa - expected * (1 - kappa)) ** 2
    half = stats.norm.ppf(0.975) * np.sqrt(max(moment, 0.0) / a.size) / (1 - expected)
    return Estimate(float(kappa), float(kappa - half), float(kappa + half))
