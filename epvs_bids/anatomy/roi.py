"""From a scan and its labels to the smooth region of interest that the network sees (paper, section 2.1).

The way: the scan is resampled once, from its own grid to a 0.5 mm grid; the basal ganglia are dilated and
smoothed on that grid; the product of both is cropped about the mask's centre of mass and divided by its
maximum.

Axes of every array here are RAS: x from left to right, y from posterior to anterior, z from inferior to
superior. Transforms are 4 × 4 matrices that map millimetres of the grid's space to millimetres of the scan's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage

from epvs_bids.anatomy.grid import Grid, Matrix, Shape, as_shape, resample_to_grid
from epvs_bids.anatomy.labels import bounding_box
from epvs_bids.errors import BadDataError

_INTENSITY_PERCENTILE = 99.5


@dataclass(frozen=True)
class RoiParameters:
    """
    How a region is made. Travels with each model; `participant` uses what the model was trained with.

    Parameters
    ----------
    voxel_size
        Edge of a voxel in mm.
    shape
        Voxels along left–right, posterior–anterior, inferior–superior.
    dilations
        Number of binary dilations of the mask, 6-connectivity.
    sigma
        Standard deviation of the Gaussian that smooths the mask, in voxels.
    intensity
        `maximum`: divided by the maximum of the region, as in the paper. `percentile`: divided by the 99.5th
        percentile of the scan inside the mask and clipped at 1 (ours), because one hot voxel rescales a scan.
    registration
        Whether the scan is brought to MNI space first (Table 3 of the paper has both).
    """

    voxel_size: float = 0.5
    shape: Shape = (168, 128, 84)
    dilations: int = 4
    sigma: float = 2.0
    intensity: Literal["maximum", "percentile"] = "maximum"
    registration: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {**asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RoiParameters:
        """Make parameters of what `to_dict` gave; raises `BadDataError` for an unknown field or value."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise BadDataError(f"Unknown preprocessing field(s): {', '.join(sorted(unknown))}.")
        read = {**cls().to_dict(), **values}
        for name, sound in _SOUND.items():
            if not sound(read[name]):
                raise BadDataError(
                    f"Preprocessing field {name} is {read[name]!r:.60}, which makes no region."
                )
        return cls(**{**read, "shape": as_shape(read["shape"])})


_SOUND: Mapping[str, Callable[[Any], bool]] = {
    "voxel_size": lambda value: type(value) in (int, float) and 0.1 <= value <= 10,
    "shape": lambda value: (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(type(size) is int and 0 < size <= 2048 for size in value)
    ),
    "dilations": lambda value: type(value) is int and 0 <= value <= 100,
    "sigma": lambda value: type(value) in (int, float) and 0 <= value <= 100,
    "intensity": lambda value: value in ("maximum", "percentile"),
    "registration": lambda value: isinstance(value, bool),
}
"""What each field of a file may be."""


@dataclass(frozen=True)
class Roi:
    """
    A region as the network sees it.

    Parameters
    ----------
    data
        float32 in [0, 1]: scan × smooth mask, divided by `scale`.
    image
        float32, the scan itself in the same box, intensities unchanged.
    mask
        float32 in [0, 1], the smooth mask in the same box.
    affine
        4 × 4, voxel index to RAS millimetres of the grid's space.
    scale
        What the intensities were divided by.
    """

    data: NDArray[np.float32]
    image: NDArray[np.float32]
    mask: NDArray[np.float32]
    affine: Matrix
    scale: float


def smooth_mask(
    mask: NDArray[np.bool_],
    affine: Matrix,
    transform: Matrix,
    grid: Grid,
    params: RoiParameters,
) -> tuple[NDArray[np.float32], Shape]:
    """
    Bring a binary mask to the grid, dilate it and smooth it.

    Parameters
    ----------
    mask, affine
        Binary mask in the scan's space, shape (X, Y, Z), and its geometry.
    transform
        4 × 4, mm of the grid's space to mm of the scan's space.
    grid
        Grid of which the result covers the part around the mask.
    params
        Number of dilations and width of the Gaussian.

    Returns
    -------
    smooth
        float32 in [0, 1] in the box around the mask outside which it is 0.
    origin
        Voxel of `grid` at which that box begins.

    Raises
    ------
    BadDataError
        The mask is empty.

    Notes
    -----
    The mask is interpolated linearly and cut at 0.5 (ours), which follows its outline across thick slices.
    """
    if not mask.any():
        raise BadDataError("The segmentation holds no basal ganglia: nothing to count in.")
    to_grid = np.linalg.inv(grid.affine) @ np.linalg.inv(transform) @ affine
    ends = [(part.start - 1.0, float(part.stop)) for part in bounding_box(mask)]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    seen = apply_affine(to_grid, corners)
    pad = params.dilations + int(np.ceil(4 * params.sigma)) + 1
    low = np.floor(seen.min(axis=0)).astype(int) - pad
    size = np.ceil(seen.max(axis=0)).astype(int) + pad + 1 - low
    origin, shape = as_shape(low), as_shape(size)
    binary = resample_to_grid(mask, affine, transform, grid.crop(origin, shape), order=1) >= 0.5
    if params.dilations:
        binary = ndimage.binary_dilation(binary, iterations=params.dilations)
    smooth = ndimage.gaussian_filter(binary.astype(np.float32), params.sigma, mode="constant")
    return np.clip(smooth, 0.0, 1.0), origin


def region_of_scan(
    data: NDArray[np.float32],
    affine: Matrix,
    *,
    mask: NDArray[np.bool_],
    transform: Matrix,
    grid: Grid,
    params: RoiParameters,
) -> Roi:
    """
    Make the region straight from the scan, computing no voxel outside it.

    Gives what resampling to the whole grid and cropping give, in a fraction of time and memory.

    Parameters
    ----------
    data, affine
        The scan on its own grid, shape (X, Y, Z).
    mask
        Basal ganglia in the scan's space, binary, same shape.
    transform
        4 × 4, mm of the grid's space to mm of the scan's space.
    grid
        The 0.5 mm grid of the template (`template_grid`).
    params
        How the region is made.

    Returns
    -------
    roi
        Cropped about the smooth mask's centre of mass, zero where the crop leaves the field of view.
    """
    smooth, corner = smooth_mask(mask, affine, transform, grid, params)
    inner = _crop_origin(smooth, params.shape)
    box = grid.crop(as_shape(np.add(corner, inner)), params.shape)
    image = resample_to_grid(data, affine, transform, box)
    weights = _crop(smooth, inner, params.shape)
    region, scale = rescale_intensity(image, weights, params)
    return Roi(data=region, image=image, mask=weights, affine=box.affine, scale=scale)


def rescale_intensity(
    image: NDArray[np.float32], mask: NDArray[np.float32], params: RoiParameters
) -> tuple[NDArray[np.float32], float]:
    """
    Multiply a scan by its smooth mask and bring the product to [0, 1].

    Parameters
    ----------
    image, mask
        Scan (≥ 0) and smooth mask (in [0, 1]), one shape.
    params
        `intensity` says by what to divide.

    Returns
    -------
    region
        float32 in [0, 1].
    scale
        The divisor, in units of the scan.

    Raises
    ------
    BadDataError
        There is no signal inside the mask.
    """
    product = image * mask
    if params.intensity == "maximum":
        scale = float(product.max())
    else:
        inside = image[mask >= 0.5]
        scale = float(np.percentile(inside, _INTENSITY_PERCENTILE)) if inside.size else 0.0
    if not np.isfinite(scale) or scale <= 0:
        raise BadDataError(
            "There is no signal inside the basal ganglia: scan and segmentation do not lie together."
        )
    return np.clip(product / np.float32(scale), 0.0, 1.0, dtype=np.float32), scale


def _crop_origin(mask: NDArray[np.float32], shape: Shape) -> Shape:
    """Return the first voxel of the box of `shape` centred on the mask's centre of mass."""
    if not np.any(mask > 0):
        raise BadDataError("The mask of the basal ganglia is empty on the grid: nothing to count in.")
    centre = np.asarray(ndimage.center_of_mass(mask))
    return as_shape(np.rint(centre - (np.asarray(shape) - 1) / 2))


def _crop(data: NDArray[np.float32], origin: Shape, shape: Shape) -> NDArray[np.float32]:
    """Copy the box of `shape` at `origin`, zero where it leaves the array."""
    out = np.zeros(shape, dtype=np.float32)
    source, target = [], []
    for start, size, length in zip(origin, shape, data.shape, strict=True):
        first, last = max(start, 0), min(start + size, length)
        if last <= first:
            return out
        source.append(slice(first, last))
        target.append(slice(first - start, last - start))
    out[tuple(target)] = data[tuple(source)]
    return out
