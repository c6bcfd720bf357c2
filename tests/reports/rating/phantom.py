"""An output folder as the participant level writes it, with small phantoms."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

ORIGIN, SPACING = np.array([-30.0, -34.0, -13.0]), 0.5
SHAPE = (121, 129, 41)
SPOT = (12.5, 6.0, -5.0)
"""Centre (template mm, RAS) of the brightest spot of the phantom, on the slice of the commissure."""


def phantom() -> nib.Nifti1Image:
    """A grey ellipse with bright ventricles at the midline and one bright spot of 1.5 mm at the right."""
    x, y, z = (ORIGIN[axis] + SPACING * np.arange(size) for axis, size in enumerate(SHAPE))
    grid = np.meshgrid(x, y, z, indexing="ij")
    data = 300.0 * ((grid[0] / 28) ** 2 + (grid[1] / 32) ** 2 < 1)
    data += 20 * np.sin(grid[0]) * np.cos(grid[1] / 2) * (data > 0)
    data[(abs(grid[0]) < 4) & (abs(grid[1]) < 12)] = 1000
    near = sum((axis - centre) ** 2 for axis, centre in zip(grid, SPOT, strict=True)) < 0.75**2
    data[near] = 1000
    affine = np.diag([SPACING, SPACING, SPACING, 1.0])
    affine[:3, 3] = ORIGIN
    return nib.Nifti1Image(data.astype(np.float32), affine)


@cache
def phantom_file() -> bytes:
    """The phantom as a `.nii.gz`."""
    return gzip.compress(phantom().to_bytes(), compresslevel=1, mtime=0)


def write_scan(
    folder: Path, participant: str, session: str = "", *, suffix: str = "PDw", seed: int = 0
) -> Path:
    """Write one scan's image and its transform; return the image."""
    anat = folder / f"sub-{participant}" / (f"ses-{session}" if session else "") / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    stem = f"sub-{participant}" + (f"_ses-{session}" if session else "")
    space = "MNI152NLin2009cAsym"
    image = anat / f"{stem}_space-{space}_res-05_desc-preproc_{suffix}.nii.gz"
    image.write_bytes(phantom_file())
    rng = np.random.default_rng(seed)
    transform = sitk.Euler3DTransform(
        (1.0, -2.0, 3.0), *rng.uniform(-0.3, 0.3, 3), tuple(rng.uniform(-20, 20, 3))
    )
    sitk.WriteTransform(transform, str(anat / f"{stem}_from-{suffix}_to-{space}_mode-image_xfm.txt"))
    return image


def scanner_point(image: Path, point: tuple[float, float, float]) -> np.ndarray:
    """Where a template point lies in the scanner (mm, RAS), by ITK itself."""
    transform = sitk.ReadTransform(str(next(image.parent.glob("*_from-*_to-MNI152*_xfm.txt"))))
    x, y, z = transform.TransformPoint((-point[0], -point[1], point[2]))
    return np.array([-x, -y, z])
