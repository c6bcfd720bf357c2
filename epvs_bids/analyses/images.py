"""Reads the images that the participant level wrote around a region."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epvs_bids.analyses.outputs import Region
from epvs_bids.anatomy.commissure import find_commissure
from epvs_bids.anatomy.images import load_volume
from epvs_bids.errors import BadDataError, MissingInputError


@dataclass(frozen=True)
class RegionImages:
    """A region with what it was made from, all float32 and of one shape (X, Y, Z).

    `roi`: scan × mask, in [0, 1]; `scan`: intensities as acquired; `mask`: in [0, 1]; `affine`: voxel to RAS
    mm.
    """

    roi: NDArray[np.float32]
    scan: NDArray[np.float32]
    mask: NDArray[np.float32]
    affine: NDArray[np.float64]

    @property
    def rated_slice(self) -> int:
        """Index along Z of the slice of the anterior commissure, or the middle one where it lies outside."""
        height = find_commissure(self.mask, self.affine)[2]
        index = round(float((height - self.affine[2, 3]) / self.affine[2, 2]))
        depth = self.roi.shape[2]
        return index if 0 <= index < depth else depth // 2


def companion(region: Region, kind: str) -> Path:
    """Path of the image beside a region: `scan` or `mask`."""
    prefix, _, suffix = region.image.name.partition("_label-BG_desc-roi_")
    name = (
        f"{prefix}_desc-preproc_{suffix}"
        if kind == "scan"
        else f"{prefix}_label-BG_desc-smooth_probseg.nii.gz"
    )
    return region.image.with_name(name)


def read_region(region: Region) -> RegionImages:
    """Read a region, the scan in its box and its mask.

    Raises
    ------
    MissingInputError
        Where scan or mask is not there.
    BadDataError
        Where one can't be read, or they differ in shape.
    """
    paths = [region.image, companion(region, "scan"), companion(region, "mask")]
    for path in paths:
        if not path.is_file():
            raise MissingInputError(f"{path} is not there; run the participant level again for it")
    roi, scan, mask = (load_volume(path) for path in paths)
    if not roi.data.shape == scan.data.shape == mask.data.shape:
        raise BadDataError(
            f"{region.image}: its scan or mask has another shape; run the participant level again"
        )
    return RegionImages(roi.data, scan.data, mask.data, np.asarray(roi.affine))
