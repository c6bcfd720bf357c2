"""What the labels of a segmentation mean, and the masks made of them.

FreeSurfer, FastSurfer, SynthSeg and SAMSEG share one numbering, that of `FreeSurferColorLUT.txt`.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

BASAL_GANGLIA: dict[int, str] = {
    11: "Left-Caudate",
    12: "Left-Putamen",
    13: "Left-Pallidum",
    26: "Left-Accumbens-area",
    50: "Right-Caudate",
    51: "Right-Putamen",
    52: "Right-Pallidum",
    58: "Right-Accumbens-area",
}
"""Labels whose union is the basal ganglia. The list is ours; the paper gives none."""

_OUTSIDE_BRAIN = frozenset({0, 165, 258, 259})
"""Background, skull, soft tissue of the head and of the eyes and skin, as SAMSEG labels them."""


_THREADS = 2
"""Of labelling parts, as of Elastix."""


def basal_ganglia_mask(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """
    Tell which voxels belong to the basal ganglia.

    Parameters
    ----------
    labels
        Label image, shape (X, Y, Z), FreeSurfer's numbering.

    Returns
    -------
    mask
        Boolean array of the same shape: caudate, putamen, pallidum and accumbens of both sides.
    """
    mask = np.zeros_like(labels, dtype=np.bool_)
    for label, box in structure_boxes(labels, BASAL_GANGLIA).items():
        mask[box] |= labels[box] == label
    return mask


def structure_boxes(labels: NDArray[np.integer], structures: Collection[int]) -> dict[int, tuple[slice, ...]]:
    """
    Return the smallest box around each structure that is there.

    Parameters
    ----------
    labels
        Label image, shape (X, Y, Z).
    structures
        Labels wanted, above 0.

    Returns
    -------
    boxes
        A slice an axis, by label.
    """
    # Images read from NIfTI and MGH lie in memory with x fastest: seen transposed, they are read in order.
    found = ndimage.find_objects(labels.T, max_label=max(structures, default=1))
    return {label: box[::-1] for label in structures if (box := found[label - 1]) is not None}


def brain_mask(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """
    Tell which voxels belong to the brain.

    Parameters
    ----------
    labels
        Label image, shape (X, Y, Z), FreeSurfer's numbering.

    Returns
    -------
    mask
        Boolean array of the same shape, one piece without holes. It holds what carries a label: with SAMSEG
        the fluid around the brain too, as the templates' masks do; with `aseg` the brain and its ventricles.
    """
    whole = np.zeros_like(labels, dtype=np.bool_)
    labelled: NDArray[np.bool_] = labels != 0
    if not labelled.any():
        return whole
    box = bounding_box(labelled)
    inside = labelled[box].T  # in the order of memory, see `structure_boxes`
    for label in _OUTSIDE_BRAIN - {0}:
        inside &= label != labels[box].T
    if not inside.any():
        return whole
    parts, n_parts = connected_parts(inside)
    if n_parts > 1:
        boxes = ndimage.find_objects(parts)
        sizes = [np.count_nonzero(parts[place] == part) for part, place in enumerate(boxes, start=1)]
        inside = parts == 1 + int(np.argmax(sizes))
    # Holes are background that does not meet the box's rim; a sixth of binary_fill_holes' time.
    background, _ = connected_parts(np.pad(~inside, 1, constant_values=True))
    whole[box] = (background != background[0, 0, 0])[1:-1, 1:-1, 1:-1].T
    return whole


def connected_parts(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """
    Label the parts of a mask that hang together by their voxels' faces; `ndimage.label` takes twice as long.

    Parameters
    ----------
    mask
        Boolean array, shape (X, Y, Z).

    Returns
    -------
    parts, n_parts
        Same shape, from 1, 0 outside the mask; and how many there are.
    """
    components = sitk.ConnectedComponentImageFilter()
    components.SetFullyConnected(False)
    components.SetNumberOfThreads(_THREADS)
    found = components.Execute(sitk.GetImageFromArray(mask.view(np.uint8)))
    return sitk.GetArrayFromImage(found).view(np.int32), int(components.GetObjectCount())


def bounding_box(mask: NDArray[np.bool_], *, margin: tuple[int, ...] = (0, 0, 0)) -> tuple[slice, ...]:
    """
    Return the smallest box that holds a mask.

    Parameters
    ----------
    mask
        Boolean array, not empty.
    margin
        Voxels to add at both ends of each axis, as far as the array reaches.

    Returns
    -------
    box
        A slice an axis.
    """
    box: tuple[slice, ...] = ()
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        where = np.flatnonzero(mask[box].any(axis=others))
        box += (slice(int(where[0]), int(where[-1]) + 1),)
    return tuple(
        slice(max(part.start - more, 0), min(part.stop + more, size))
        for part, more, size in zip(box, margin, mask.shape, strict=True)
    )


def largest_components(
    labels: NDArray[np.integer], *, structures: Collection[int] = tuple(BASAL_GANGLIA)
) -> tuple[NDArray[np.integer], dict[str, int]]:
    """
    Keep the largest connected part of each structure and drop the specks around it.

    Parameters
    ----------
    labels
        Label image, shape (X, Y, Z).
    structures
        Labels to treat, one by one; all others stay as they are.

    Returns
    -------
    cleaned
        Copy of `labels` in which the voxels dropped are 0.
    dropped
        Number of voxels dropped of each structure that lost any, by name.
    """
    cleaned = labels.copy(order="K")  # as `labels` lie in memory, on which the speed of what follows rests
    dropped: dict[str, int] = {}
    for label, box in structure_boxes(labels, structures).items():
        inside = labels[box] == label
        parts, n_parts = ndimage.label(inside)
        if n_parts < 2:
            continue
        sizes = np.bincount(parts.ravel())[1:]
        specks = inside & (parts != 1 + int(np.argmax(sizes)))
        cleaned[box][specks] = 0
        dropped[BASAL_GANGLIA.get(label, str(label))] = int(specks.sum())
    return cleaned, dropped


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """
    Overlap of two masks, `2 |A ∩ B| / (|A| + |B|)` (Dice 1945).

    Parameters
    ----------
    first, second
        Boolean arrays of one shape.

    Returns
    -------
    dice
        Between 0 and 1; 0 where both masks are empty.
    """
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2.0 * int(np.count_nonzero(first & second)) / total if total else 0.0
