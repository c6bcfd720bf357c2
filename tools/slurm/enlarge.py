#!/usr/bin/env python3
"""Cut each voxel of a scan into 6 × 6 × 6, so that reading it takes more memory than a job has."""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np

FACTOR = 6


def main() -> None:
    """Enlarge the scans of the participant whose number is given: enlarge.py BIDS_DIR NUMBER."""
    folder = sorted(Path(sys.argv[1]).glob("sub-*"))[int(sys.argv[2]) - 1]
    for path in folder.rglob("*.nii.gz"):
        image = nib.load(path)
        data = np.asarray(image.dataobj).astype(np.int16)
        for axis in range(3):
            data = np.repeat(data, FACTOR, axis=axis)
        affine = image.affine @ np.diag([1 / FACTOR, 1 / FACTOR, 1 / FACTOR, 1.0])
        nib.save(nib.Nifti1Image(data, affine), path)
        print(f"{path.name}: {data.shape}")


if __name__ == "__main__":
    main()
