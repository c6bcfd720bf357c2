"""Bootstrap by participant: confidence intervals where scans of one participant are not independent."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def participant_weights(participants: ArrayLike, *, draws: int, seed: int) -> Floats:
    """How often each scan occurs in each of `draws` bootstrap samples of participants.

    Participants are drawn with replacement, each with all of their scans, so that every row of the result is
    one sample, written as the multiplicity of every scan (Davison & Hinkley 1997, section 3.8: cluster
    bootstrap).

    Parameters
    ----------
    participants
        Shape (n,), the participant of each scan.
    draws
        Number of bootstrap samples.
    seed
        Seed of the draws.

    Returns
    -------
    Shape (draws, n), whole numbers ≥ 0.
    """
    labels, index = np.unique(np.asarray(participants), return_inverse=True)
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(labels), size=(draws, len(labels)))
    flat = drawn + len(labels) * np.arange(draws)[:, None]
    counts = np.bincount(flat.ravel(), minlength=draws * len(labels)).reshape(draws, len(labels))
    return counts[:, index].astype(np.float64)


def weighted_pearson(x: ArrayLike, y: ArrayLike, weights: Floats) -> Floats:
    """Pearson correlation of `x` and `y`, shape (n,), under each row of `weights`, (draws, n).

    Returns shape (draws,), NaN where one of them does not vary.
    """
    a, b = _centred(x), _centred(y)
    total = weights.sum(axis=1)
    moments = weights @ np.column_stack([a, b, a * a, b * b, a * b]) / total[:, None]
    return _correlation(*moments.T)


def weighted_spearman(x: ArrayLike, y: ArrayLike, weights: Floats) -> Floats:
    """Spearman correlation of `x` and `y`, shape (n,), under each row of `weights`, (draws, n).

    Returns shape (draws,), NaN where one of them does not vary.
    """
    chunk = max(1, 200_000 // weights.shape[1])
    parts = []
    for start in range(0, len(weights), chunk):
        w = weights[start : start + chunk]
        a, b = weighted_ranks(x, w), weighted_ranks(y, w)
        total = w.sum(axis=1)
        middle = (total[:, None] + 1) / 2  # the mean of the ranks 1 … total
        a, b = a - middle, b - middle
        wa, wb = w * a, w * b
        zero = np.zeros_like(total)
        parts.append(
            _correlation(
                zero, zero, (wa * a).sum(1) / total, (wb * b).sum(1) / total, (wa * b).sum(1) / total
            )
        )
    return np.concatenate(parts)


def weighted_ranks(values: ArrayLike, weights: Floats) -> Floats:
    """Mid-ranks of `values`, (n,), in the sample that each row of `weights`, (draws, n), stands for."""
    _, group = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(group.max() + 1))
    sizes = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks: Floats = np.cumsum(sizes, axis=1) - (sizes - 1) / 2
    return ranks[:, group]


def _centred(values: ArrayLike) -> Floats:
    """Values minus their mean: moments keep their digits that way."""
    array = np.asarray(values, dtype=np.float64)
    centred: Floats = array - array.mean()
    return centred


def _correlation(mean_a: Floats, mean_b: Floats, aa: Floats, bb: Floats, ab: Floats) -> Floats:
    """Correlation from the first and second moments of a and b; NaN where a variance is zero."""
    variance_a, variance_b = aa - mean_a**2, bb - mean_b**2
    # Rounding leaves about 1e-16 of the second moment where a draw has one value only.
    varies = (variance_a > 1e-12 * aa) & (variance_b > 1e-12 * bb)
    scale = np.sqrt(np.where(varies, variance_a * variance_b, 1))
    return np.where(varies, (ab - mean_a * mean_b) / scale, np.nan)


def percentile_interval(samples: ArrayLike) -> tuple[float, float]:
    """95 % percentile interval of bootstrap samples, NaN ones left out; (NaN, NaN) where all are."""
    values = np.asarray(samples, dtype=np.float64)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return np.nan, np.nan
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
