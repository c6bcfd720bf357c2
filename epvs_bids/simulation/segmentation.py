"""What a segmentation makes of the basal ganglia of a scan: ragged outlines on the scan's own voxels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from epvs_bids.simulation import operators
from epvs_bids.simulation.acquisition import Protocol, grid_positions
from epvs_bids.simulation.anatomy import Anatomy
from epvs_bids.simulation.tissues import TISSUES

Array = NDArray[np.float32]
_DILATIONS, _SIGMA = 4, 2.0


def smooth_mask(
    rng: np.random.Generator, anatomy: Anatomy, protocol: Protocol, *, error: float, ragged: float
) -> Array:
    """Mask of the basal ganglia as the app makes it: segmented, dilated four times, smoothed (σ 2 voxels).

    Parameters
    ----------
    rng
        Source of randomness.
    anatomy
        Tissues.
    protocol
        The scan's voxels.
    error
        Standard deviation in mm of the outline.
    ragged
        How far noise misleads the segmentation, see `segment`.

    Returns
    -------
    mask
        float32 in [0, 1], of the anatomy's shape.
    """
    box = anatomy.box
    sizes = [protocol.regrid or size for size in protocol.voxel_size]
    grids = [grid_positions(box, sizes[axis], protocol.offset[axis], axis) for axis in range(3)]
    found = segment(rng, anatomy, grids, error=error, ragged=ragged)
    restore = [
        operators.linear(len(grid), (np.arange(count) * box.voxel_size - grid[0]) / size)
        for grid, count, size in zip(grids, box.shape, sizes, strict=True)
    ]
    binary = operators.apply(found.astype(np.float32), restore) >= 0.5
    for _ in range(_DILATIONS):
        binary = _dilate(binary)
    smooth = ndimage.gaussian_filter(binary.astype(np.float32), _SIGMA, mode="constant")
    return np.asarray(np.clip(smooth, 0, 1))


def segment(
    rng: np.random.Generator,
    anatomy: Anatomy,
    grids: list[NDArray[np.float64]],
    *,
    error: float,
    ragged: float,
) -> NDArray[np.bool_]:
    """Segment the basal ganglia on a scan's voxels, with the errors that segmentations of thick slices have.

    Parameters
    ----------
    rng
        Source of randomness.
    anatomy
        Tissues.
    grids
        Centres of the voxels along x, y, z, in mm from the centre of the anatomy's first voxel.
    error
        Standard deviation in mm by which the outline is off, most of it over 6 mm, the rest over 2.5 mm.
    ragged
        Standard deviation of the noise that decides voxels of the border, as a fraction of a voxel. The
        pallidum, which T2 hardly tells from white matter, is decided by noise all through and misses patches.

    Returns
    -------
    ganglia
        Boolean, as many voxels along each axis as the grid has centres.
    """
    step = anatomy.box.voxel_size
    sizes = [float(grid[1] - grid[0]) for grid in grids]
    sample = [
        operators.point_spread(count, step, grid, width=max(size, 1.8), kind="gauss")
        for count, grid, size in zip(anatomy.box.shape, grids, sizes, strict=True)
    ]
    soft = operators.apply(anatomy.ganglia.astype(np.float32), sample)
    pallidum = operators.apply((anatomy.tissues == TISSUES.index("pallidum")).astype(np.float32), sample)

    def field(spacing: float) -> Array:
        return operators.smooth_field(rng, soft.shape, [spacing / size for size in sizes])

    shift = np.float32(0.5 * error) * (np.float32(0.8) * field(6.0) + np.float32(0.6) * field(2.5))
    noise = np.float32(ragged) * rng.standard_normal(soft.shape, dtype=np.float32)
    missed = np.float32(2 * ragged) * np.clip(field(5.0) - 0.8, 0, None)
    at_border = 4 * soft * (1 - soft)
    return np.asarray(
        soft + np.clip(shift, -0.4, 0.4) + at_border * noise + pallidum * (noise - missed) > 0.5
    )


def _dilate(binary: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """One binary dilation with six neighbours."""
    grown = binary.copy()
    for axis in range(3):
        ahead = [slice(None)] * 3
        behind = [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        grown[tuple(ahead)] |= binary[tuple(behind)]
        grown[tuple(behind)] |= binary[tuple(ahead)]
    return grown
