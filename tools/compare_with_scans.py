"""Set simulated regions beside those of real scans: one figure, one table of histograms and power spectra.

Run as ``.venv/bin/python tools/compare_with_scans.py OUTPUT_DIR FIGURE`` after the participant level. Each
real region gets three simulated ones of its contrast and voxel size: of the looks that training draws (noise,
filters, iron, texture), those that come nearest to its histogram and bands; the same window for all.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

from epvs_bids.analyses.images import read_region
from epvs_bids.analyses.outputs import Region, find_regions
from epvs_bids.simulation.anatomy import draw_anatomy, draw_person
from epvs_bids.simulation.region import REGION, TRAINING, RegionSettings, log_uniform, simulate_region

SIMULATED = 3
CANDIDATES = 120
"""Looks that are tried for each scan."""
PERCENTILES = (5, 25, 75, 95)
BANDS = ((0.0, 1.0), (1.0, 2.0), (2.0, 4.0))
"""Pairs of Gaussian blurs in voxels of 0.5 mm between which the spread is taken."""


def look(image: NDArray[np.float32], mask: NDArray[np.float32]) -> NDArray[np.float64]:
    """Percentiles and the spread within bands inside the mask, relative to the median.

    The spread is 1.48 × the median of absolute values: a standard deviation without borders and lesions.
    """
    inside = mask > 0.95
    median = np.median(image[inside])
    blurred = {width: ndimage.gaussian_filter(image, width) for width in (0.0, 1.0, 2.0, 4.0)}
    bands = [1.4826 * np.median(np.abs((blurred[fine] - blurred[coarse])[inside])) for fine, coarse in BANDS]
    return np.concatenate([np.percentile(image[inside], PERCENTILES), bands]) / median


def draw_look(rng: np.random.Generator, region: Region) -> RegionSettings:
    """Draw settings of one look, within training's ranges, with the contrast and the voxels of a scan.

    A scan of isotropic voxels may have been resampled to them from any voxels of training's. Little rotation
    is left, as registration leaves it.
    """
    labels = next(region.image.parent.glob(f"{region.scan}_desc-aseg_dseg.nii.gz"))
    x, y, z = (float(size) for size in nib.as_closest_canonical(nib.load(labels)).header.get_zooms()[:3])
    thick = max(x, y, z) > 1.5 * min(x, y, z)
    size = (x, y, z, int(np.argmax((x, y, z))) if thick else -1)
    regridded = not thick and rng.random() < 0.7
    if regridded:
        size = TRAINING.voxel_sizes[int(rng.integers(len(TRAINING.voxel_sizes)))]

    filtered = int(rng.integers(3))
    drawn = {name: log_uniform(rng, getattr(TRAINING, name)) for name in ("noise", "texture", "transition")}
    for name in ("blur", "smoothing", "sharpening", "grain", "iron", "putamen_iron"):
        drawn[name] = float(rng.uniform(*getattr(TRAINING, name)))
    drawn["smoothing"] *= filtered == 1
    drawn["sharpening"] *= filtered == 2
    settings = replace(
        TRAINING,
        contrasts=("PDw",) if "_PD" in region.image.name else ("T2w",),
        voxel_sizes=(size,),
        regridded=float(regridded),
        grid=(x, x),
        pose=0.03,
    )
    return replace(settings, **{name: (value, value) for name, value in drawn.items()})


def nearest_looks(
    region: Region, of_real: NDArray[np.float64], first_seed: int
) -> list[tuple[int, RegionSettings]]:
    """Choose seeds and looks whose simulated regions have a scan's percentiles and bands most nearly."""
    rng = np.random.default_rng(first_seed)
    anatomy = draw_anatomy(draw_person(np.random.default_rng(1), pose=0.03), REGION)
    candidates = list(enumerate((draw_look(rng, region) for _ in range(CANDIDATES)), start=first_seed))
    distances = []
    for seed, candidate in candidates:
        made = simulate_region(seed, candidate, anatomy=anatomy)
        distances.append(np.abs(np.log(look(made.image, made.mask) / of_real)).sum())
    return [candidates[index] for index in np.argsort(distances)[:SIMULATED]]


def show(axes: Axes, image: NDArray[np.float32], mask: NDArray[np.float32], level: int, title: str) -> None:
    """Draw one axial slice, black to 2.2 times the tissue's median."""
    plane = (image * mask)[:, :, level]
    top = 2.2 * np.median(image[mask > 0.95])
    axes.imshow(plane.T, origin="lower", cmap="gray", vmin=0.2 * top / 2.2, vmax=top)
    axes.set_title(title, fontsize=8)
    axes.axis("off")


def main() -> None:
    """Write the figure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("figure", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    regions = find_regions(options.output_dir)
    if not regions:
        parser.error(f"{options.output_dir} has no regions: run the participant level on it first.")
    figure = Figure(figsize=(10, 2.2 * len(regions)), layout="constrained")
    panels = figure.subplots(len(regions), 1 + SIMULATED, squeeze=False)
    print("| | 5th, 25th, 75th, 95th percentile | bands |\n| --- | --- | --- |")
    for row, region in enumerate(regions):
        real = read_region(region)
        of_real = look(real.scan, real.mask)
        show(panels[row, 0], real.scan, real.mask, real.rated_slice, region.scan)
        looks = []
        for index, (seed, settings) in enumerate(nearest_looks(region, of_real, 1000 * (row + 6))):
            made = simulate_region(seed, settings, count=(2, 8, 14)[index])
            affine = made.anatomy.box.affine
            level = round((made.anatomy.commissure[2] - affine[2, 3]) / affine[2, 2])
            show(panels[row, 1 + index], made.image, made.mask, level, f"simulated {settings.contrasts[0]}")
            looks.append(look(made.image, made.mask))
        for name, values in (
            (region.scan, of_real),
            ("simulated", np.mean(looks, axis=0)),
        ):
            shares, bands = (
                " ".join(f"{v:.{d}f}" for v in values[cut]) for cut, d in ((slice(4), 2), (slice(4, 7), 3))
            )
            print(f"| {name} | {shares} | {bands} |", flush=True)
    figure.savefig(options.figure, dpi=80)


if __name__ == "__main__":
    main()
