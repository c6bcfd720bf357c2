"""Method (c): the number of hyperintense connected components."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)
"""26-connectivity (ours; the paper does not say)."""


def components_above(region: NDArray[np.floating[Any]], thresholds: ArrayLike) -> NDArray[np.int64]:
    """Count connected components of S above each threshold (section 3.4).

    `region`: (X, Y, Z); `thresholds`: (t,), in the region's unit. Returns shape (t,).
    """
    return np.array(
        [ndimage.label(region > level, NEIGHBOURS)[1] for level in np.atleast_1d(np.asarray(thresholds))],
        dtype=np.int64,
    )


def bounding_box(region: NDArray[np.floating[Any]]) -> tuple[slice, slice, slice]:
    """Smallest box that holds every voxel of S that is not zero; the whole array where all are."""
    boxes = ndimage.find_objects((region != 0).astype(np.uint8))
    x, y, z = boxes[0] if boxes else (slice(0, size) for size in region.shape)
    return x, y, z
