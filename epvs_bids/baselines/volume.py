"""Method (b): the volume of hyperintense tissue."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def volumes_above(region: NDArray[np.floating[Any]], thresholds: ArrayLike) -> NDArray[np.int64]:
    """Count voxels of S above each threshold (section 3.4: the non-zero values of S_t).

    `region`: (X, Y, Z); `thresholds`: (t,), in the region's unit. Returns shape (t,).
    """
    ordered = np.sort(region, axis=None)
    return ordered.size - np.searchsorted(ordered, np.asarray(thresholds), side="right")
