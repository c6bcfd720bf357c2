"""The part of a scan that a rater sees: axial slices around the anterior commissure, eight bits a voxel."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from epvs_bids.errors import BadDataError

AC_LEVEL = -4.9
"""Height (mm, RAS) of the anterior commissure in MNI152NLin2009cAsym.

Mean of the placements published by the AFIDs project (Lau et al. 2019, Human Brain Mapping 40:4163,
doi:10.1002/hbm.24693; `tpl-MNI152NLin2009cAsym_afids.fcsv`): x −0.2, y 2.9, z −4.9. In MNI152NLin2009cSym
it is at z −4.8, the same slice of a 0.5 mm grid. The registration is rigid, so a person's own commissure may
lie a few millimetres off: the rater can count in another slice.
"""

HALF_HEIGHT = 30.0
"""Slices are shown up to this far (mm) above and below the commissure: all of the basal ganglia."""

WHITE_PERCENTILE = 99.9
"""Percentile of the positive intensities that becomes 255; the few voxels above it saturate."""

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
    """

    data: NDArray[np.uint8]
    origin: Point
    spacing: Point
    level: float

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


def to_bytes(data: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Scale intensities to 0–255: 0 stays 0, `WHITE_PERCENTILE` of the positive ones becomes 255.

    Raises
    ------
    BadDataError
        When no voxel is positive.
    """
    values = np.nan_to_num(data, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
    positive = values[values > 0]
    if positive.size == 0:
        raise BadDataError("it holds no positive intensity at the level of the anterior commissure")
    white = float(np.percentile(positive, WHITE_PERCENTILE))
    grey: NDArray[np.uint8] = np.rint(np.clip(values / white, 0, 1) * 255).astype(np.uint8)
    return grey


def load_slab(path: Path, *, level: float = AC_LEVEL, half_height: float = HALF_HEIGHT) -> Slab:
    """Read the axial slices around the anterior commissure.

    Parameters
    ----------
    path
        A scan on the template's grid: 3D, axes along right, anterior and superior.
    level
        Height (mm) of the commissure.
    half_height
        How far (mm) above and below it slices are read.

    Raises
    ------
    BadDataError
        When the file can't be read, has other axes, or does not reach the commissure.
    """
    remedy = "Run the participant level again for it."
    try:
        image: Any = nib.load(path)
        affine, shape = np.asarray(image.affine, np.float64), image.shape
        spacing = np.diag(affine)[:3]
        straight = np.allclose(affine[:3, :3], np.diag(spacing), atol=1e-4)
        if len(shape) != 3 or (spacing <= 0).any() or not straight:
            raise BadDataError("its axes are not those of the template")
        heights = affine[2, 3] + spacing[2] * np.arange(shape[2])
        chosen = np.flatnonzero(np.abs(heights - level) <= half_height)
        if not heights[0] - spacing[2] <= level <= heights[-1] + spacing[2]:
            raise BadDataError("it does not reach the anterior commissure")
        data = to_bytes(np.asarray(image.dataobj[:, :, chosen[0] : chosen[-1] + 1], np.float32))
    except BadDataError as error:
        raise BadDataError(f"{path} can't be shown: {error}. {remedy}") from error
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError) as error:
        raise BadDataError(f"{path} can't be read ({error}). {remedy}") from error
    origin = (float(affine[0, 3]), float(affine[1, 3]), float(heights[chosen[0]]))
    size = (float(spacing[0]), float(spacing[1]), float(spacing[2]))
    nearest = float(heights[np.argmin(np.abs(heights - level))])
    return Slab(np.ascontiguousarray(data.transpose(2, 1, 0)), origin, size, nearest)
