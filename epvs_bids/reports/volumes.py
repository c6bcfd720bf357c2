"""Planes and small volumes cut from images, by their position in millimetres.

Everything here takes arrays and affines, so that scan, mask, saliency map and template may lie on different
grids: a plane is sampled from each at the same points of space.
"""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage

from epvs_bids.anatomy.image_files import open_derivative

Matrix = NDArray[np.float64]
Point = tuple[float, float, float]
Limits = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

SAGITTAL, CORONAL, AXIAL = 0, 1, 2


@dataclass(frozen=True)
class Image:
    """An image in memory: `data` (X, Y, Z) float32 and its 4 × 4 `affine` (voxel to RAS mm)."""

    data: NDArray[np.float32]
    affine: Matrix

    @property
    def limits(self) -> Limits:
        """Smallest and largest x, y and z in mm that its voxels' centres reach."""
        ends = [(0.0, size - 1.0) for size in self.data.shape]
        corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
        world = apply_affine(self.affine, corners)
        (x0, y0, z0), (x1, y1, z1) = world.min(axis=0).tolist(), world.max(axis=0).tolist()
        return ((x0, x1), (y0, y1), (z0, z1))


def read_image(path: Path) -> Image:
    """Read a NIfTI file that this app wrote; raises `BadDataError` where it can't be read."""
    image = open_derivative(path)
    data = np.asarray(image.dataobj, dtype=np.float32)
    return Image(np.nan_to_num(data), np.asarray(image.affine, dtype=np.float64))


def plane(image: Image, axis: int, position: float, *, limits: Limits, spacing: float) -> NDArray[np.float32]:
    """Sample a plane across `axis` by linear interpolation.

    Parameters
    ----------
    image
        Where from; zero outside it.
    axis
        0 sagittal, 1 coronal, 2 axial.
    position
        Where on that axis, in mm.
    limits
        Extent of the plane in mm, three axes of which `axis` is ignored.
    spacing
        Distance of the samples in mm.

    Returns
    -------
    pixels
        float32, first row at the top (superior, or anterior in axial planes), left of the person at the left
        of the picture (neurological convention); sagittal planes have posterior at the left.
    """
    across, up = [other for other in range(3) if other != axis]
    first = np.arange(limits[across][0], limits[across][1] + spacing / 2, spacing)
    second = np.arange(limits[up][0], limits[up][1] + spacing / 2, spacing)
    points = np.empty((3, len(second), len(first)))
    points[axis] = position
    points[across], points[up] = first[None, :], second[::-1, None]
    inverse = np.linalg.inv(image.affine)
    voxels = np.tensordot(inverse[:3, :3], points, axes=1) + inverse[:3, 3, None, None]
    sampled: NDArray[np.float32] = ndimage.map_coordinates(image.data, voxels, order=1, output=np.float32)
    return sampled


def centre(mask: Image) -> Point:
    """Centre of mass in mm; the middle of the image where it is empty."""
    if mask.data.any():
        voxel = np.asarray(ndimage.center_of_mass(mask.data))
    else:
        voxel = (np.asarray(mask.data.shape) - 1) / 2
    x, y, z = apply_affine(mask.affine, voxel).tolist()
    return (x, y, z)


def window(pixels: NDArray[np.float32], *, percentile: float = 99.5) -> tuple[float, float]:
    """Grey-scale window (black, white) for a scan: from 0 to a percentile of what is not background."""
    signal = pixels[pixels > 0]
    return 0.0, float(np.percentile(signal, percentile)) if signal.size else 1.0


def inner_window(image: Image, mask: Image) -> tuple[float, float]:
    """Grey-scale window (black, white) for what lies inside a mask on the same grid.

    White is the 99.9th percentile inside. Black is 0, or higher where tissue differs so little, as it does in
    proton density, that it would fill less than half of the greys: as far below the first percentile as white
    lies above it.
    """
    inside = image.data[mask.data > 0.9]
    if not inside.size:
        return window(image.data)
    low, high = (float(value) for value in np.percentile(inside, [1, 99.9]))
    return max(0.0, 2 * low - high), high if high > 0 else 1.0


def crop_like(image: Image, shape: tuple[int, int, int], affine: Matrix) -> Image:
    """Resample `image` to another grid by linear interpolation (a plain crop where the grids coincide)."""
    matrix = np.linalg.inv(image.affine) @ affine
    data = ndimage.affine_transform(
        image.data, matrix[:3, :3], matrix[:3, 3], output_shape=shape, order=1, output=np.float32
    )
    return Image(data, affine)


def small_nifti(image: Image, *, low: float, high: float) -> str:
    """Pack a volume for a page: uint8 NIfTI, gzipped, as base64 text.

    Parameters
    ----------
    image
        What to show.
    low, high
        Values shown as 0 and as 255; what lies beyond is clipped.
    """
    scaled = np.clip((image.data - low) / max(high - low, 1e-12), 0, 1) * 255
    packed = nib.Nifti1Image(np.rint(scaled).astype(np.uint8), image.affine)
    packed.header.set_xyzt_units("mm")
    return base64.b64encode(gzip.compress(packed.to_bytes(), 6, mtime=0)).decode("ascii")
