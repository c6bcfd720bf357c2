"""The tissues that the simulator knows, and FreeSurfer's labels for them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TISSUES = (
    "outside",
    "white",
    "cortex",
    "csf",
    "ventricle",
    "caudate",
    "putamen",
    "pallidum",
    "accumbens",
    "thalamus",
    "hippocampus",
    "brainstem",
    "choroid",
    "claustrum",
    "soft",
    "skull",
    "eye",
)
"""Names in the order of the tissue indices."""

GANGLIA = ("caudate", "putamen", "pallidum", "accumbens")

ATLAS_LABELS: dict[str, tuple[int, ...]] = {
    "white": (2, 41, 7, 46, 77, 80),
    "cortex": (3, 42, 8, 47),
    "csf": (24, 15, 30, 62),
    "ventricle": (4, 43, 5, 44, 14, 72),
    "caudate": (11, 50),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "accumbens": (26, 58),
    "thalamus": (10, 49),
    "hippocampus": (17, 18, 53, 54),
    "brainstem": (16, 28, 60, 85),
    "choroid": (31, 63),
    "claustrum": (138, 139),
    "soft": (240,),
    "skull": (165,),
    "eye": (241,),
}
"""Labels of the shipped atlas that belong to each tissue."""

_FREESURFER: dict[str, tuple[int, int]] = {
    "white": (2, 41),
    "cortex": (3, 42),
    "csf": (24, 24),
    "ventricle": (4, 43),
    "caudate": (11, 50),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "accumbens": (26, 58),
    "thalamus": (10, 49),
    "hippocampus": (17, 53),
    "brainstem": (16, 16),
    "choroid": (31, 63),
    "claustrum": (2, 41),
}


def freesurfer_labels(tissues: NDArray[np.uint8], left: NDArray[np.bool_]) -> NDArray[np.int16]:
    """Translate tissue indices to FreeSurfer's `aseg` labels.

    Parameters
    ----------
    tissues
        Tissue index of each voxel, any shape.
    left
        Whether the voxel is in the left hemisphere, broadcastable to that shape.

    Returns
    -------
    labels
        int16; the claustrum belongs to the white matter, as in FreeSurfer; 0 outside the brain.
    """
    table = np.zeros((2, len(TISSUES)), dtype=np.int16)
    for name, (on_left, on_right) in _FREESURFER.items():
        table[:, TISSUES.index(name)] = on_right, on_left
    return np.asarray(np.where(left, table[1][tissues], table[0][tissues]))
