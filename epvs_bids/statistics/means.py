"""Means with their confidence intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from epvs_bids.statistics.icc import Estimate


def mean_estimate(values: ArrayLike) -> Estimate:
    """Mean with its 95 % interval by Student's t, in the unit of the values.

    Parameters
    ----------
    values
        Shape (n,), finite, n ≥ 1; the limits of a single value are NaN.
    """
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    if array.size < 2:
        return Estimate(mean, np.nan, np.nan)
    half = float(stats.t.ppf(0.975, array.size - 1) * array.std(ddof=1) / np.sqrt(array.size))
    return Estimate(mean, mean - half, mean + half)
