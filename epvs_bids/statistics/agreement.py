"""Agreement of a score with a visual count: correlations, error, limits, and tests between methods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from epvs_bids.statistics.icc import Estimate, intraclass_correlations
from epvs_bids.statistics.resampling import (
    participant_weights,
    percentile_interval,
    weighted_pearson,
    weighted_spearman,
)

BOOTSTRAP_DRAWS = 1000


@dataclass(frozen=True)
class Agreement:
    """How far `n` scores agree with `n` visual counts; see `agreement`."""

    n: int
    pearson: Estimate
    spearman: Estimate
    icc11: Estimate
    icc21: Estimate
    icc31: Estimate
    mse: Estimate


def _pair(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as finite arrays of one shape (n,), n ≥ 2."""
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape or a.size < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(
            f"two series of one length with at least 2 finite values are needed, not {a.shape} and {b.shape}"
        )
    return a, b


def agreement(
    reference: ArrayLike,
    score: ArrayLike,
    *,
    participants: ArrayLike | None = None,
    draws: int = BOOTSTRAP_DRAWS,
    seed: int = 0,
) -> Agreement:
    """Correlations, intraclass correlations and mean squared error between a visual count and a score.

    Intervals (95 %) of the intraclass correlations are F-based; those of the rest are percentile intervals
    of a bootstrap by participant (section 3.4 of the paper has the same measures without intervals).

    Parameters
    ----------
    reference, score
        Shape (n,), counts (any finite real number for the score), n ≥ 2.
    participants
        Shape (n,), whose scan each is; None: one scan a participant.
    draws, seed
        Bootstrap samples and their seed.

    Raises
    ------
    ValueError
        For series of different length, shorter than 2 or with values that are not finite.
    """
    x, y = _pair(reference, score)
    weights = participant_weights(
        np.arange(x.size) if participants is None else participants, draws=draws, seed=seed
    )
    plain = np.ones((1, x.size))

    squared = (x - y) ** 2
    icc = intraclass_correlations(np.column_stack([x, y]))
    return Agreement(
        n=x.size,
        pearson=Estimate(
            float(weighted_pearson(x, y, plain)[0]), *percentile_interval(weighted_pearson(x, y, weights))
        ),
        spearman=Estimate(
            float(weighted_spearman(x, y, plain)[0]), *percentile_interval(weighted_spearman(x, y, weights))
        ),
        icc11=icc.icc11,
        icc21=icc.icc21,
        icc31=icc.icc31,
        mse=Estimate(float(squared.mean()), *percentile_interval(weights @ squared / weights.sum(axis=1))),
    )


@dataclass(frozen=True)
class BlandAltman:
    """Mean difference and limits of agreement, in counts, each with its 95 % confidence interval."""

    n: int
    bias: Estimate
    sd: float
    lower: Estimate
    upper: Estimate


def bland_altman(reference: ArrayLike, score: ArrayLike) -> BlandAltman:
    """Bias and 95 % limits of agreement of score − reference: d̄ ± 1.96 s.

    Intervals are Bland & Altman's (1986, Lancet 327:307–310): standard error s/√n for the bias and √(3 s²/n)
    for a limit, with the t distribution of n − 1 degrees of freedom. Raises ValueError as `agreement` does.
    """
    x, y = _pair(reference, score)
    difference = y - x
    n, bias, sd = difference.size, float(difference.mean()), float(difference.std(ddof=1))
    t = float(stats.t.ppf(0.975, n - 1))
    at_bias, at_limit = t * sd / np.sqrt(n), t * sd * np.sqrt(3 / n)

    def around(value: float, half: float) -> Estimate:
        return Estimate(value, float(value - half), float(value + half))

    return BlandAltman(
        n, around(bias, at_bias), sd, around(bias - 1.96 * sd, at_limit), around(bias + 1.96 * sd, at_limit)
    )


@dataclass(frozen=True)
class WilliamsTest:
    """Result of `williams_test`: t statistic, its degrees of freedom n − 3, and the two-sided p value."""

    t: float
    df: int
    p: float


def williams_test(r12: float, r13: float, r23: float, n: int) -> WilliamsTest:
    """Williams' test whether two correlations that share a variable differ.

    t = (r12 − r13) √[ (n − 1)(1 + r23) / ( 2 |R| (n − 1)/(n − 3) + r̄² (1 − r23)³ ) ], with
    |R| = 1 − r12² − r13² − r23² + 2 r12 r13 r23 and r̄ = (r12 + r13)/2; df = n − 3.

    Parameters
    ----------
    r12, r13
        Correlations of the shared variable (the visual count) with the two others (two methods), in [−1, 1].
    r23
        Correlation of the two methods with each other.
    n
        Number of scans, more than 3.

    Raises
    ------
    ValueError
        For fewer than 4 scans, or correlations that no three variables can have.

    References
    ----------
    Williams (1959), J. R. Stat. Soc. B 21:396–399; Steiger (1980), Psychological Bulletin 87:245–251,
    equation 7.
    """
    determinant = 1 - r12**2 - r13**2 - r23**2 + 2 * r12 * r13 * r23
    if n < 4 or determinant < -1e-12:
        raise ValueError(
            f"Williams' test needs n > 3 and possible correlations, not n={n}, {r12}, {r13}, {r23}"
        )
    df = n - 3
    spread = 2 * max(determinant, 0.0) * (n - 1) / df + ((r12 + r13) / 2) ** 2 * (1 - r23) ** 3
    t = (r12 - r13) * np.sqrt((n - 1) * (1 + r23) / spread) if spread > 0 else 0.0
    return WilliamsTest(float(t), df, float(2 * stats.t.sf(abs(t), df)))


@dataclass(frozen=True)
class Repeatability:
    """Within-subject SD and repeatability coefficient in counts, from `n` participants scanned twice."""

    n: int
    within_sd: float
    coefficient: float


def repeatability(first: ArrayLike, second: ArrayLike) -> Repeatability:
    """Within-subject standard deviation s_w = √(Σ d² / 2n) and repeatability coefficient 1.96 √2 s_w.

    Two scans of one participant differ by less than the coefficient in 95 % of pairs (Bland & Altman 1999,
    Stat. Methods Med. Res. 8:135–160). `first`, `second`: shape (n,), counts. Raises ValueError as
    `agreement` does.
    """
    x, y = _pair(first, second)
    within = float(np.sqrt(((x - y) ** 2).mean() / 2))
    return Repeatability(x.size, within, float(1.96 * np.sqrt(2) * within))


def proportion(successes: int, n: int) -> Estimate:
    """Share successes / n with Wilson's 95 % score interval (Wilson 1927, JASA 22:209–212); n ≥ 1."""
    z = stats.norm.ppf(0.975)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Estimate(share, float(centre - half), float(centre + half))
