"""Measure SAMSEG, as the app calls it, against labels that people or FreeSurfer drew.

Run as ``.venv/bin/python tools/compare_segmentation.py FOLDER WORK_DIR``. FOLDER holds pairs
``NAME_T1w.nii.gz`` and ``NAME_dseg.nii.gz`` in the numbering of Neuromorphometrics (caudate 36/37, putamen
57/58, pallidum 55/56, accumbens 23/30). Prints a table row a pair: Dice of the union and of each structure,
volumes, processor time, peak memory of the largest process so far. Segmentations in WORK_DIR are used again.
"""

import argparse
import resource
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epvs_bids.anatomy.images import load_labels, load_volume
from epvs_bids.anatomy.labels import dice, largest_components
from epvs_bids.anatomy.samseg import run_samseg

STRUCTURES = {
    "caudate": ((11, 50), (36, 37)),
    "putamen": ((12, 51), (57, 58)),
    "pallidum": ((13, 52), (55, 56)),
    "accumbens": ((26, 58), (23, 30)),
}
"""FreeSurfer's labels, and those of Neuromorphometrics."""


def masks_of(labels: NDArray[np.integer], numbering: int) -> dict[str, NDArray[np.bool_]]:
    """One mask a structure, and their union, in one of the two numberings."""
    masks = {name: np.isin(labels, numbers[numbering]) for name, numbers in STRUCTURES.items()}
    return {"union": np.any(list(masks.values()), axis=0), **masks}


def main() -> None:
    """Segment what is not segmented yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("work_dir", type=Path)
    options = parser.parse_args()
    print("| scan | " + " | ".join(["union", *STRUCTURES]) + " | mL, SAMSEG | mL, by hand | s | GB |")
    for drawn_path in sorted(options.folder.glob("*_dseg.nii.gz")):
        name = drawn_path.name.removesuffix("_dseg.nii.gz")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        path = options.work_dir / name / "seg.mgz"
        if not path.exists():
            run_samseg(load_volume(options.folder / f"{name}_T1w.nii.gz"), path.parent)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        labels, _ = largest_components(load_labels(path)[0])
        drawn, affine = load_labels(drawn_path)
        found, truth = masks_of(labels, 0), masks_of(drawn, 1)
        voxel = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
        overlaps = " | ".join(f"{dice(found[key], truth[key]):.3f}" for key in truth)
        volumes = f"{found['union'].sum() * voxel:.1f} | {truth['union'].sum() * voxel:.1f}"
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"| {name} | {overlaps} | {volumes} | {spent:.0f} | {after.ru_maxrss / 2**20:.1f} |", flush=True
        )


if __name__ == "__main__":
    main()
