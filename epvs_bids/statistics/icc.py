"""Intraclass correlation: how far two or more sets of counts of the same scans agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import f as f_distribution


@dataclass(frozen=True)
class Estimate:
    """A value with the limits of its 95 % confidence interval; limits are NaN where there is none."""

    value: float
    low: float
    high: float

    def columns(self, name: str) -> dict[str, float]:
        """Return the three numbers as columns of a table: `name`, `name_low`, `name_high`."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


@dataclass(frozen=True)
class IntraclassCorrelations:
    """The three single-measure coefficients of Shrout & Fleiss (1979), for `n` targets and `k` raters.

    `icc11`: one-way random, absolute agreement. `icc21`: two-way random, absolute agreement.
    `icc31`: two-way mixed, consistency.
    """

    icc11: Estimate
    icc21: Estimate
    icc31: Estimate
    n: int
    k: int


@dataclass(frozen=True)
class _MeanSquares:
    """Mean squares of an n × k table: between targets, within, between raters, residual."""

    targets: float
    within: float
    raters: float
    residual: float


def _mean_squares(table: NDArray[np.float64]) -> _MeanSquares:
    """Mean squares of the two-way analysis of variance without replication."""
    n, k = table.shape
    grand = table.mean()
    by_target = k * ((table.mean(axis=1) - grand) ** 2).sum()
    by_rater = n * ((table.mean(axis=0) - grand) ** 2).sum()
    total = ((table - grand) ** 2).sum()
    residual = max(total - by_target - by_rater, 0.0)
    return _MeanSquares(
        targets=by_target / (n - 1),
        within=max(total - by_target, 0.0) / (n * (k - 1)),
        raters=by_rater / (k - 1),
        residual=residual / ((n - 1) * (k - 1)),
    )


def _from_f(f_value: float, df1: float, df2: float, k: int) -> tuple[float, float]:
    """Limits of (F − 1) / (F + k − 1), for a ratio of mean squares `f_value`."""
    low = f_value / f_distribution.ppf(0.975, df1, df2)
    high = f_value * f_distribution.ppf(0.975, df2, df1)
    return float((low - 1) / (low + k - 1)), float((high - 1) / (high + k - 1))


def _icc21(ms: _MeanSquares, n: int, k: int) -> Estimate:
    """ICC(2,1) with the approximate interval of Shrout & Fleiss (1979), p. 424."""
    between = k * (ms.raters - ms.residual) / n
    value = (ms.targets - ms.residual) / (ms.targets + (k - 1) * ms.residual + between)
    if ms.residual == 0 or value >= 1:
        return Estimate(value, np.nan, np.nan)
    rated = k * value * ms.raters / ms.residual
    share = n * (1 + (k - 1) * value) - k * value
    if rated == 0 and share == 0:  # no variation between targets at all
        return Estimate(value, np.nan, np.nan)
    df = (k - 1) * (n - 1) * (rated + share) ** 2 / ((n - 1) * rated**2 + share**2)
    f_low = f_distribution.ppf(0.975, n - 1, df)
    f_high = f_distribution.ppf(0.975, df, n - 1)
    spread = k * ms.raters + (k * n - k - n) * ms.residual
    return Estimate(
        value,
        n * (ms.targets - f_low * ms.residual) / (f_low * spread + n * ms.targets),
        n * (f_high * ms.targets - ms.residual) / (spread + n * f_high * ms.targets),
    )


def intraclass_correlations(ratings: ArrayLike) -> IntraclassCorrelations:
    """Single-measure intraclass correlations of n targets scored by k raters, with F-based 95 % intervals.

    With the mean squares between targets BMS, within targets WMS, between raters JMS and residual EMS:

    - ICC(1,1) = (BMS − WMS) / (BMS + (k − 1) WMS)
    - ICC(2,1) = (BMS − EMS) / (BMS + (k − 1) EMS + k (JMS − EMS) / n)
    - ICC(3,1) = (BMS − EMS) / (BMS + (k − 1) EMS)

    Parameters
    ----------
    ratings
        Shape (n, k), counts without missing values, n ≥ 2 and k ≥ 2.

    Returns
    -------
    The three coefficients, at most 1; NaN where nobody's ratings vary. Limits are NaN where agreement is
    perfect.

    Raises
    ------
    ValueError
        For a table of another shape or with values that are not finite.

    References
    ----------
    Shrout & Fleiss (1979), Psychological Bulletin 86:420–428; McGraw & Wong (1996), Psychological Methods
    1:30–46.
    """
    table = np.asarray(ratings, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError(f"ratings of shape {table.shape}: at least 2 × 2 finite values are needed")
    n, k = table.shape
    if np.ptp(table) == 0:
        nothing = Estimate(np.nan, np.nan, np.nan)
        return IntraclassCorrelations(nothing, nothing, nothing, n, k)
    ms = _mean_squares(table)

    def one(error: float, df: int) -> Estimate:
        value = (ms.targets - error) / (ms.targets + (k - 1) * error)
        if error == 0:
            return Estimate(value, np.nan, np.nan)
        low, high = _from_f(ms.targets / error, n - 1, df, k)
        return Estimate(value, low, high)

    return IntraclassCorrelations(
        one(ms.within, n * (k - 1)), _icc21(ms, n, k), one(ms.residual, (n - 1) * (k - 1)), n, k
    )
