"""The part of a scan that a rater sees: axial slices around the anterior commissure, eight bits a voxel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epvs_bids.anatomy.image_files import open_derivative
from epvs_bids.errors import BadDataError

HALF_HEIGHT = 30.0
"""Slices are shown at most this far (mm) above and below the commissure: all of the basal ganglia's box."""

REGION = (40.0, 40.0, 10.0)
"""Half widths (mm) along x, y, z of the box around the commissure that sets the grey levels.

It holds the basal ganglia and the fluid beside them, not the scalp, whose fat would take the contrast on PD.
"""

WINDOW_PERCENTILES = (2.0, 98.0)
"""Percentiles of the intensities in that box that the page shows as black and as white at first."""

BELOW, ABOVE = 0.5, 0.75
"""How much darker and brighter than that window, in its widths, grey levels still differ."""

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Slab:
    """Axial slices of one scan.

    Parameters
    ----------
    data
        uint8, (z, y, x), increasing to superior, anterior and right.
    origin
        Centre (mm, RAS, template) of the first voxel, as x, y, z.
    spacing
        Voxel size (mm) along x, y, z.
    level
        Height (mm) of the slice nearest to the anterior commissure.
    window
        Grey levels (0–255) to show as black and as white at first.
    """

    data: NDArray[np.uint8]
    origin: Point
    spacing: Point
    level: float
    window: tuple[float, float]

    def heights(self) -> NDArray[np.float64]:
        """Height (mm) of every slice."""
        return self.origin[2] + self.spacing[2] * np.arange(self.data.shape[0], dtype=np.float64)

    def nearest_height(self, height: float) -> float:
        """Height (mm) of the slice nearest to `height`."""
        heights = self.heights()
        return float(heights[np.argmin(np.abs(heights - height))])

    def holds(self, point: Point) -> bool:
        """Whether a template point (mm, RAS) lies in a voxel of the slab."""
        index = (np.asarray(point) - self.origin) / self.spacing
        inside = (index >= -0.5) & (index < np.array(self.data.shape[::-1]) - 0.5)
        return bool(inside.all())


def to_bytes(
    data: NDArray[np.floating], region: NDArray[np.floating]
) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Scale intensities to 0–255.

    Parameters
    ----------
    data
        Intensities, any shape; what is not finite counts as 0.
    region
        Those of them that set the grey levels.

    Returns
    -------
    The grey levels, and the two to show as black and white at first.

    Raises
    ------
    BadDataError
        When no intensity of the region is positive.
    """
    positive = region[np.isfinite(region) & (region > 0)]
    if positive.size == 0:
        raise BadDataError("it holds no positive intensity at the level of the anterior commissure")
    dark, bright = (float(value) for value in np.percentile(positive, WINDOW_PERCENTILES))
    width = max(bright - dark, 0.1 * bright)
    lowest = max(0.0, dark - BELOW * width)
    factor = 255 / (bright + ABOVE * width - lowest)
    grey = np.nan_to_num(data, nan=0.0, posinf=0.0, neginf=0.0)
    np.clip(np.rint((grey - lowest) * factor), 0, 255, out=grey)
    return grey.astype(np.uint8), ((bright - width - lowest) * factor, (bright - lowest) * factor)


def _around(point: Point, affine: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Voxels at most `REGION` from a point, for axes along x, y and z."""
    bounds = []
    for axis, half in enumerate(REGION):
        places = affine[axis, 3] + affine[axis, axis] * np.arange(shape[axis])
        near = np.flatnonzero(np.abs(places - point[axis]) <= half)
        bounds.append(slice(near[0], near[-1] + 1) if near.size else slice(0))
    return tuple(bounds)


def load_slab(path: Path, *, level: float, half_height: float = HALF_HEIGHT) -> Slab:
    """Read the axial slices around the anterior commissure.

    Parameters
    ----------
    path
        A scan on the template's grid: 3D, axes along right, anterior and superior.
    level
        Height (mm) of the commissure in this person.
    half_height
        How far (mm) above and below it slices are read.

    Raises
    ------
    BadDataError
        When the file can't be read, has other axes, or does not reach the commissure.
    """
    remedy = "Run the participant level again for it."
    image = open_derivative(path)
    try:
        affine, shape = np.asarray(image.affine, np.float64), image.shape
        spacing = np.diag(affine)[:3]
        straight = np.allclose(affine[:3, :3], np.diag(spacing), atol=1e-4)
        if len(shape) != 3 or (spacing <= 0).any() or not straight:
            raise BadDataError("its axes are not those of the template")
        heights = affine[2, 3] + spacing[2] * np.arange(shape[2])
        chosen = np.flatnonzero(np.abs(heights - level) <= half_height)
        if not heights[0] - spacing[2] <= level <= heights[-1] + spacing[2]:
            raise BadDataError("it does not reach the anterior commissure")
        data = np.asarray(image.dataobj[..., chosen[0] : chosen[-1] + 1], np.float32)
        affine[2, 3] = heights[chosen[0]]
        grey, window = to_bytes(data, data[_around((0.0, 0.0, level), affine, data.shape)])
    except BadDataError as error:
        raise BadDataError(f"{path} can't be shown: {error}. {remedy}") from error
    origin = (float(affine[0, 3]), float(affine[1, 3]), float(affine[2, 3]))
    size = (float(spacing[0]), float(spacing[1]), float(spacing[2]))
    nearest = float(heights[np.argmin(np.abs(heights - level))])
    return Slab(np.ascontiguousarray(grey.transpose(2, 1, 0)), origin, size, nearest, window)
