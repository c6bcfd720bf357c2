"""Simulated raters: visual counts of the slice of the anterior commissure, with chosen reliability.

Two raters, A and B, count every scan twice. A count is the true one plus an error that the rater repeats
(interaction of rater and scan) plus one that they do not, both larger where there is more to count. Their
variances follow from the two intraclass correlations wanted: with t the variance of the truth,

    inter = t / (t + i + e),   intra = (t + i) / (t + i + e)

Defaults: intra 0.80 and inter 0.66, within the 0.62 to 0.80 of table 2 of the paper.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

RATERS = ("A1", "A2", "B1", "B2")
"""Rater and repetition."""


def rate(
    rng: np.random.Generator, counts: ArrayLike, *, intra: float = 0.80, inter: float = 0.66
) -> pd.DataFrame:
    """Draw the counts of both raters.

    Parameters
    ----------
    rng
        Source of randomness.
    counts
        (N,) true counts in the slice.
    intra, inter
        Intraclass correlation of a rater with themselves and with the other; 0 < inter ≤ intra ≤ 1.

    Returns
    -------
    ratings
        (N, 4) whole numbers ≥ 0, columns `RATERS`.

    Raises
    ------
    ValueError
        Correlations out of order.
    """
    if not 0 < inter <= intra <= 1:
        raise ValueError("0 < inter <= intra <= 1 is needed.")
    truth = np.asarray(counts, dtype=float)
    total = truth.var() / inter
    spread = np.sqrt(truth + 0.5)
    spread = spread / np.sqrt((spread**2).mean())
    repeated = np.sqrt(max(total * intra - truth.var(), 0)) * spread
    single = np.sqrt(total * (1 - intra)) * spread
    columns = {}
    for rater in ("A", "B"):
        own = truth + repeated * rng.standard_normal(truth.size)
        for repetition in (1, 2):
            seen = own + single * rng.standard_normal(truth.size)
            columns[f"{rater}{repetition}"] = np.maximum(np.rint(seen), 0).astype(int)
    return pd.DataFrame(columns, columns=list(RATERS))
