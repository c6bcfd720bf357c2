"""Where a person's own anterior commissure lies, the level at which raters count."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Point = tuple[float, float, float]

TEMPLATE_COMMISSURE: Point = (0.0, 2.9, -4.9)
"""Where it crosses the midline in MNI152, in mm: mean of the AFIDs placements in MNI152NLin2009cAsym (Lau et
al. 2019, Human Brain Mapping 40:4163, doi:10.1002/hbm.24693); in MNI152NLin2009cSym z is −4.8."""

BELOW_CENTRE = 6.0
"""How far below the middle of the basal ganglia it lies, in mm.

In MNI152 5.9 (the middle of the atlas' basal ganglia is at z 1.0); on six scans of five people, looked up by
eye, 4.5 to 7.5, on average 6.1. The template's own height missed it there by 3 to 7 mm: the template is
larger than most people, and a rigid registration leaves them their size."""


def find_commissure(mask: ArrayLike, affine: NDArray[np.float64]) -> Point:
    """
    Estimate where the anterior commissure lies, from the basal ganglia of the same person.

    Parameters
    ----------
    mask
        (X, Y, Z), basal ganglia on a grid in template space; at least 0.5 inside.
    affine
        4 × 4, voxel index to RAS mm.

    Returns
    -------
    commissure
        RAS mm; its height is what is estimated, x and y are the template's. The template's own point where
        the mask is empty.
    """
    inside = np.argwhere(np.asarray(mask) >= 0.5)
    if not len(inside):
        return TEMPLATE_COMMISSURE
    height = affine[2, :3] @ inside.mean(axis=0) + affine[2, 3]
    return (*TEMPLATE_COMMISSURE[:2], float(height) - BELOW_CENTRE)
