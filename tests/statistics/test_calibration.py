"""Calibration lines."""

from __future__ import annotations

import numpy as np
import pytest

from epvs_bids.statistics.calibration import Curve, Line, calibrate


def test_line_of_known_data_is_found_and_cross_validated() -> None:
    rng = np.random.default_rng(0)
    score = rng.uniform(0, 30, 200)
    rating = 0.4 * score + 1.5 + rng.normal(0, 1, 200)
    result = calibrate(score, rating)
    assert isinstance(result.fitted, Line)
    assert (result.fitted.slope, result.fitted.intercept) == pytest.approx((0.4, 1.5), abs=0.25)
    assert result.mse_curve >= 0.9 * result.mse_line
    assert result.mse_after == pytest.approx(1, rel=0.3)
    assert result.mse_before > 5 * result.mse_after


def test_leave_one_out_by_hand() -> None:
    score, rating = np.array([0.0, 1, 2, 4]), np.array([1.0, 1, 3, 3])
    expected = [
        np.polyval(np.polyfit(np.delete(score, i), np.delete(rating, i), 1), score[i]) for i in range(4)
    ]
    assert calibrate(score, rating).predicted == pytest.approx(expected)


def test_scans_of_a_participant_never_predict_each_other() -> None:
    people = np.repeat(np.arange(8), 2)
    score = np.random.default_rng(1).uniform(0, 10, 16)
    rating = score + np.repeat(np.random.default_rng(2).normal(0, 2, 8), 2)
    moved = rating.copy()
    moved[1] += 50
    before, after = (calibrate(score, y, participants=people).predicted for y in (rating, moved))
    assert after[:2] == pytest.approx(before[:2])
    assert abs(after[2:] - before[2:]).min() > 1e-6


def test_score_that_saturates_gets_a_curve_from_fifty_participants() -> None:
    rng = np.random.default_rng(3)
    truth = rng.uniform(0, 30, 120)
    score = 10 * (1 - np.exp(-truth / 8))
    rating = truth + rng.normal(0, 1, 120)
    result = calibrate(score, rating)
    assert isinstance(result.fitted, Curve)
    assert result.mse_after == result.mse_curve < 0.6 * result.mse_line
    assert result.mse_curve == pytest.approx(((result.predicted - rating) ** 2).mean())
    assert result.fitted(score) == pytest.approx(truth, abs=3)
    assert (np.diff(result.fitted(np.linspace(-5, 15, 50))) >= 0).all()
    for few in (
        calibrate(score[:49], rating[:49]),
        calibrate(score, rating, participants=np.arange(120) % 49),
        calibrate(score, rating, curve_allowed=False),
    ):
        assert isinstance(few.fitted, Line)
        assert np.isnan(few.mse_curve)


@pytest.mark.parametrize(
    ("score", "rating"), [([1, 2, 3], [3, 2, 1]), ([1, 1, 1], [1, 2, 3]), ([1, 2], [1, 2])]
)
def test_data_without_a_line_are_refused(score: list[float], rating: list[float]) -> None:
    with pytest.raises(ValueError, match=r"do not rise|at least 3"):
        calibrate(score, rating)
