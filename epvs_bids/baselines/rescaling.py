"""The line that brings a method's output to the scale of visual counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from epvs_bids.statistics.calibration import Line


def icc_maximising_line(output: ArrayLike, reference: ArrayLike) -> Line:
    """Find the line whose rescaled output has the largest ICC(1,1) with the visual counts (section 3.4).

    It has a closed form. With x' = a + b x, ICC(1,1) falls with (mean of x' − mean of y)², so the means are
    made equal; what remains grows with 2 b cov(x, y) / (b² var x + var y), which is largest at
    b = sign(cov) √(var y / var x).

    Parameters
    ----------
    output, reference
        Shape (n,), n ≥ 2: the method's output and the visual counts of validation scans.

    Returns
    -------
    The line from output to count; slope 0 and the mean count where the output does not vary. What it
    gives may be negative, as the paper notes.
    """
    x, y = np.asarray(output, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    slope = float(np.sign(covariance) * y.std() / x.std()) if x.std() > 0 else 0.0
    return Line(slope, float(y.mean() - slope * x.mean()))
