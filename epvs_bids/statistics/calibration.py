"""The line from a model's score to a lab's own ratings, with its error on scans that it did not see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FOLDS = 10


@dataclass(frozen=True)
class Calibration:
    """rating ≈ slope × score + intercept.

    Parameters
    ----------
    slope, intercept
        Of the least-squares line through all scans.
    predicted
        Shape (n,): for each scan the calibrated score from a line that did not see its participant.
    mse_before, mse_after
        Mean squared error of the score as it is, and of `predicted`.
    n
        Number of scans.
    """

    slope: float
    intercept: float
    predicted: NDArray[np.float64]
    mse_before: float
    mse_after: float
    n: int


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Least-squares slope and intercept."""
    centred = x - x.mean()
    slope = float((centred * (y - y.mean())).sum() / (centred**2).sum())
    return slope, float(y.mean() - slope * x.mean())


def calibrate(
    score: ArrayLike, rating: ArrayLike, *, participants: ArrayLike | None = None, seed: int = 0
) -> Calibration:
    """Fit the least-squares line from scores to ratings, cross-validated by participant.

    Ten folds, or as many as there are participants where these are fewer than 20 (leave one out). Least
    squares, because what a lab wants is the smallest error of a calibrated score (ours).

    Parameters
    ----------
    score, rating
        Shape (n,), n ≥ 3.
    participants
        Whose scan each is; None: one scan a participant.
    seed
        Of the folds.

    Raises
    ------
    ValueError
        Where scores or ratings do not vary, or ratings fall with rising scores.
    """
    x, y = np.asarray(score, dtype=np.float64), np.asarray(rating, dtype=np.float64)
    if x.size < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        raise ValueError("at least 3 scans with differing scores and ratings are needed")
    slope, intercept = _line(x, y)
    if slope <= 0:
        raise ValueError(f"ratings do not rise with the score (slope {slope:.3g})")
    labels, index = np.unique(
        np.arange(x.size) if participants is None else participants, return_inverse=True
    )
    folds = len(labels) if len(labels) < 2 * FOLDS else FOLDS
    fold = np.random.default_rng(seed).permutation(np.arange(len(labels)) % folds)[index]
    predicted = np.empty_like(y)
    for number in range(folds):
        seen = fold != number
        a, b = _line(x[seen], y[seen]) if np.ptp(x[seen]) else (0.0, float(y[seen].mean()))
        predicted[~seen] = a * x[~seen] + b
    return Calibration(
        slope,
        intercept,
        predicted,
        float(((x - y) ** 2).mean()),
        float(((predicted - y) ** 2).mean()),
        x.size,
    )
