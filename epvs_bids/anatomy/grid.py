"""Voxel grids, and the one resampling that brings an image to a grid.

Transforms are 4 × 4 matrices that map millimetres of the grid's space to millimetres of the image's space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from nibabel.affines import apply_affine
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Shape = tuple[int, int, int]

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From RAS, which nibabel uses, to LPS, which ITK uses, and back."""

_SPLINE_MARGIN = 12
"""Voxels of the image kept around a crop: the B-spline's coefficients decay by 0.27 a voxel, 1e-7 is left."""


@dataclass(frozen=True)
class Grid:
    """
    Where the voxels of an array lie.

    Parameters
    ----------
    shape
        Number of voxels along each axis.
    affine
        4 × 4, voxel index to RAS millimetres.
    """

    shape: Shape
    affine: Matrix

    def crop(self, origin: Shape, shape: Shape) -> Grid:
        """Return the grid of `shape` voxels that begins at voxel `origin`; may reach beyond this grid."""
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ np.asarray(origin, dtype=np.float64)
        return Grid(shape, affine)


def template_grid(affine: Matrix, shape: Shape, voxel_size: float = 0.5) -> Grid:
    """
    Make the RAS grid of isotropic voxels that covers the field of view of an image.

    Parameters
    ----------
    affine, shape
        Geometry of the template (or, without registration, of the scan itself).
    voxel_size
        Edge of a voxel in mm.

    Returns
    -------
    grid
        Parallel to the axes of the world, beginning at the lowest corner of the image's bounding box.
    """
    ends = [(-0.5, n - 0.5) for n in shape]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    world = apply_affine(affine, corners)
    low, high = world.min(axis=0), world.max(axis=0)
    counts = np.maximum(np.ceil((high - low) / voxel_size - 1e-6).astype(int), 1)
    grid_affine = np.diag([voxel_size] * 3 + [1.0])
    grid_affine[:3, 3] = low + voxel_size / 2
    return Grid((int(counts[0]), int(counts[1]), int(counts[2])), grid_affine)


def resample_to_grid(
    data: NDArray[Any],
    affine: Matrix,
    transform: Matrix,
    grid: Grid,
    *,
    order: Literal[0, 1, 3] = 3,
) -> NDArray[np.float32]:
    """
    Resample an image to a grid, in one interpolation.

    Only the part of the image that the grid can see is worked on. Directions may be oblique, flipped or
    sheared: the interpolation works in voxel indices.

    Parameters
    ----------
    data, affine
        The image, shape (X, Y, Z), and its geometry.
    transform
        4 × 4, mm of the grid's space to mm of the image's space.
    grid
        Where values are wanted.
    order
        3: cubic B-spline (Elastix' own default for the final image), clipped at 0 (ours), for scans.
        1: linear. 0: nearest neighbour, for labels.

    Returns
    -------
    values
        float32 of the grid's shape, in the order of a NIfTI file in memory (Fortran's); 0 outside the image.
    """
    to_index = np.linalg.inv(affine) @ transform @ grid.affine
    box = _visible_box(to_index, grid.shape, data.shape)
    if box is None:
        return np.zeros(grid.shape, dtype=np.float32)
    # Masks are worked on as bytes, which takes a quarter of the memory and gives the same values.
    part = np.ascontiguousarray(data[box].T, dtype=np.uint8 if data.dtype == np.bool_ else np.float32)
    offset = np.array([s.start for s in box], dtype=np.float64)
    mapping = sitk.AffineTransform(3)
    mapping.SetMatrix(to_index[:3, :3].ravel().tolist())
    mapping.SetTranslation((to_index[:3, 3] - offset).tolist())
    resampler = sitk.ResampleImageFilter()
    resampler.SetNumberOfThreads(1)
    resampler.SetSize(grid.shape)
    resampler.SetTransform(mapping)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    resampler.SetInterpolator({0: sitk.sitkNearestNeighbor, 1: sitk.sitkLinear, 3: sitk.sitkBSpline}[order])
    resampled = resampler.Execute(sitk.GetImageFromArray(part))
    # A view does not keep its image alive: `resampled` must outlive it.
    values = sitk.GetArrayViewFromImage(resampled).T
    positive: NDArray[np.float32] = np.maximum(values, 0.0, dtype=np.float32)
    return positive


def _visible_box(to_index: Matrix, grid_shape: Shape, shape: tuple[int, ...]) -> tuple[slice, ...] | None:
    """Return the box of the image that the grid covers, with the spline's margin; None if there is none."""
    ends = [(0.0, n - 1.0) for n in grid_shape]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    seen = apply_affine(to_index, corners)
    low = np.maximum(np.floor(seen.min(axis=0)).astype(int) - _SPLINE_MARGIN, 0)
    high = np.minimum(np.ceil(seen.max(axis=0)).astype(int) + _SPLINE_MARGIN + 1, shape)
    if np.any(high - low < 1):
        return None
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def as_shape(values: NDArray[Any]) -> Shape:
    """Return three plain integers of an array of three numbers."""
    x, y, z = (int(v) for v in values)
    return x, y, z
