"""The calibration that a model carries: from the network's output to the scale of a lab's own ratings.

Either a line, ``{"slope": …, "intercept": …}``, or a rising curve of straight pieces through points,
``{"scores": […], "ratings": […]}``, level beyond its first and last point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from epvs_bids.errors import BadDataError

LARGEST = 1e9
LINE, CURVE = {"slope", "intercept"}, {"scores", "ratings"}


def apply_calibration(calibration: Mapping[str, Any] | None, output: float) -> float:
    """Turn a network's output into a calibrated score; without a calibration it is the score."""
    if calibration is None:
        return output
    if "slope" in calibration:
        return float(calibration["slope"] * output + calibration["intercept"])
    return float(np.interp(output, calibration["scores"], calibration["ratings"]))


def check_calibration(calibration: object) -> None:
    """Refuse a calibration that is neither a line nor a rising curve.

    Raises
    ------
    BadDataError
        Says what was found.
    """
    if calibration is None:
        return
    values = calibration if isinstance(calibration, dict) else {}
    if set(values) == LINE and all(_is_number(value) for value in values.values()):
        return
    if set(values) == CURVE and _rises(values["scores"], values["ratings"]):
        return
    raise BadDataError(
        f"calibration is {calibration!r:.60}; a slope and an intercept, or rising scores and ratings, are "
        "expected."
    )


def _is_number(value: object) -> bool:
    """Whether a value is a number that can be computed with (JSON knows NaN and endless integers)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def _rises(scores: object, ratings: object) -> bool:
    """Whether two lists of numbers are the points of a curve that rises or stays level."""
    if not (isinstance(scores, list) and isinstance(ratings, list) and len(scores) == len(ratings) >= 2):
        return False
    if not all(_is_number(value) for value in (*scores, *ratings)):
        return False
    return bool((np.diff(scores) > 0).all() and (np.diff(ratings) >= 0).all())
