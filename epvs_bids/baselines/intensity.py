"""Method (a): the mean intensity of the region."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def mean_intensity(region: NDArray[np.floating[Any]]) -> float:
    """Mean of S over all of its voxels (section 3.4 of the paper), in the region's own unit.

    `region`: S = V × M_s, (X, Y, Z), zero outside the smooth mask.
    """
    return float(region.mean(dtype=np.float64))
