"""Automatic checks that decide whether a score stands.

Thresholds are ours: wide enough that healthy and atrophied brains pass, narrow enough that a segmentation
which missed a structure, or a scan that ends inside the region, does not.
"""

from __future__ import annotations

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray

PLAUSIBLE_VOLUME = (8.0, 45.0)
"""Millilitres of caudate, putamen, pallidum and accumbens of both sides; about 20 in healthy adults."""

LARGEST_CUT = 0.02
"""Share of the region that may lie outside the scan's field of view."""


def volume_remarks(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> tuple[float, list[str]]:
    """Return the volume of the basal ganglia in mL and what is odd about it.

    Parameters
    ----------
    mask, affine
        Basal ganglia in the scan's space, and its geometry.
    """
    volume = float(mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000)
    low, high = PLAUSIBLE_VOLUME
    if low <= volume <= high:
        return volume, []
    return volume, [f"the segmented basal ganglia measure {volume:.1f} mL ({low:.0f} to {high:.0f} expected)"]


def coverage_remarks(
    mask: NDArray[np.float32],
    affine: NDArray[np.float64],
    transform: NDArray[np.float64],
    scan_affine: NDArray[np.float64],
    scan_shape: tuple[int, ...],
) -> list[str]:
    """Tell whether the scan ends inside the region.

    Parameters
    ----------
    mask, affine
        Smooth mask of the region, and its geometry.
    transform
        4 × 4, mm of the region's space to mm of the scan's space.
    scan_affine, scan_shape
        Grid of the scan.
    """
    inside = np.argwhere(mask >= 0.5)
    if not len(inside):
        return []
    to_scan = np.linalg.inv(scan_affine) @ transform @ affine
    indices = apply_affine(to_scan, inside)
    outside = np.any((indices < -0.5) | (indices > np.asarray(scan_shape) - 0.5), axis=1).mean()
    return [f"the scan misses {outside:.0%} of the region"] if outside > LARGEST_CUT else []
