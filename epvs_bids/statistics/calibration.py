"""The line or curve from a model's score to a lab's ratings, with its error on scans that it did not see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FOLDS = 10

FEWEST_FOR_A_CURVE = 50
"""Below so many participants only a line is fitted: a curve would follow single ratings (ours)."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """rating ≈ slope × score + intercept; may be negative for low scores."""

    slope: float
    intercept: float

    def __call__(self, score: ArrayLike) -> Floats:
        """Calibrate scores."""
        return self.slope * np.asarray(score, dtype=np.float64) + self.intercept


@dataclass(frozen=True)
class Curve:
    """Straight pieces through the points (scores, ratings), both rising; level beyond the ends."""

    scores: Floats
    ratings: Floats

    def __call__(self, score: Floats) -> Floats:
        """Calibrate scores."""
        return np.asarray(np.interp(score, self.scores, self.ratings), dtype=np.float64)


@dataclass(frozen=True)
class Calibration:
    """What `calibrate` found.

    Parameters
    ----------
    fitted
        The line or the curve through all scans.
    predicted
        Shape (n,): for each scan the calibrated score from a fit that did not see its participant.
    mse_before, mse_line, mse_curve
        Mean squared error of the score as it is, of the line and of the curve, cross-validated; NaN for a
        curve that was not tried.
    n
        Number of scans.
    """

    fitted: Line | Curve
    predicted: Floats
    mse_before: float
    mse_line: float
    mse_curve: float
    n: int

    @property
    def mse_after(self) -> float:
        """Cross-validated mean squared error of what was chosen."""
        return self.mse_line if isinstance(self.fitted, Line) else self.mse_curve


def fit_line(x: Floats, y: Floats) -> Line:
    """Least-squares line; level where the scores do not vary."""
    centred = x - x.mean()
    square = float((centred**2).sum())
    slope = float((centred * (y - y.mean())).sum() / square) if square else 0.0
    return Line(slope, float(y.mean() - slope * x.mean()))


def fit_curve(x: Floats, y: Floats) -> Curve:
    """Least-squares rising curve (isotonic regression; pool adjacent violators, Barlow et al. 1972)."""
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression().fit(x, y)
    return Curve(np.asarray(model.X_thresholds_, dtype=float), np.asarray(model.y_thresholds_, dtype=float))


def _folds(participants: ArrayLike, seed: int) -> tuple[NDArray[np.intp], int]:
    """Fold of every scan, and the number of participants; scans of a participant share a fold."""
    labels, index = np.unique(participants, return_inverse=True)
    folds = len(labels) if len(labels) < 2 * FOLDS else FOLDS
    return np.random.default_rng(seed).permutation(np.arange(len(labels)) % folds)[index], len(labels)


def _held_out(
    fit: Callable[[Floats, Floats], Line | Curve], x: Floats, y: Floats, fold: NDArray[np.intp]
) -> Floats:
    """Prediction for each scan by the fit to the other folds."""
    predicted = np.empty_like(y)
    for number in np.unique(fold):
        seen = fold != number
        predicted[~seen] = fit(x[seen], y[seen])(x[~seen])
    return predicted


def _clearly_better(line: Floats, curve: Floats) -> bool:
    """Whether the curve's squared errors are smaller by more than their standard error."""
    gain = line - curve
    return bool(gain.mean() > gain.std(ddof=1) / np.sqrt(gain.size))


def calibrate(
    score: ArrayLike,
    rating: ArrayLike,
    *,
    participants: ArrayLike | None = None,
    curve_allowed: bool = True,
    seed: int = 0,
) -> Calibration:
    """Fit the line, or the rising curve where that is clearly better, from scores to ratings.

    Both by least squares, because what a lab wants is the smallest error of a calibrated score (ours), and
    both cross-validated by participant: ten folds, or as many as there are participants where these are fewer
    than 20 (leave one out). The curve is tried from 50 participants, and taken where its cross-validated
    squared error is smaller than the line's by more than one standard error of the difference (the
    one-standard-error rule of Breiman et al. 1984: the simpler fit unless the other is clearly better).

    Parameters
    ----------
    score, rating
        Shape (n,), n ≥ 3.
    participants
        Whose scan each is; None: one scan a participant.
    curve_allowed
        Whether the curve may be taken.
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
    line = fit_line(x, y)
    if line.slope <= 0:
        raise ValueError(f"ratings do not rise with the score (slope {line.slope:.3g})")
    fold, people = _folds(np.arange(x.size) if participants is None else participants, seed)
    by_line = _held_out(fit_line, x, y, fold)
    before, line_errors = float(((x - y) ** 2).mean()), (by_line - y) ** 2
    if not curve_allowed or people < FEWEST_FOR_A_CURVE:
        return Calibration(line, by_line, before, float(line_errors.mean()), float("nan"), x.size)
    by_curve = _held_out(fit_curve, x, y, fold)
    curve_errors = (by_curve - y) ** 2
    bent = _clearly_better(line_errors, curve_errors)
    return Calibration(
        fit_curve(x, y) if bent else line,
        by_curve if bent else by_line,
        before,
        float(line_errors.mean()),
        float(curve_errors.mean()),
        x.size,
    )
