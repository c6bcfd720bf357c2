"""Set simulated regions beside those of real scans: one figure, one table of histograms and power spectra.

Run as ``.venv/bin/python tools/compare_with_scans.py OUTPUT_DIR FIGURE`` after the participant level. Each
real region gets three simulated ones of its contrast, voxel size and noise; the same window for all.
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
from epvs_bids.simulation.region import REGION, TRAINING, RegionSettings, simulate_region

SIMULATED = 3
ORDINARY: dict[str, tuple[float, float]] = {
    "blur": (0.7, 1.4),
    "smoothing": (0.0, 0.0),
    "sharpening": (0.0, 0.0),
    "texture": (0.3, 2.0),
    "transition": (0.5, 1.2),
    "iron": (0.0, 0.15),
}
"""Looks without training's extremes."""
PERCENTILES = (5, 25, 75, 95)
BANDS = ((0.0, 1.0), (1.0, 2.0), (2.0, 4.0))
"""Pairs of Gaussian blurs in voxels of 0.5 mm between which the standard deviation is taken."""


def look(image: NDArray[np.float32], mask: NDArray[np.float32]) -> NDArray[np.float64]:
    """Percentiles and band-limited standard deviations inside the mask, relative to the median."""
    inside = mask > 0.95
    median = np.median(image[inside])
    blurred = {width: ndimage.gaussian_filter(image, width) for width in (0.0, 1.0, 2.0, 4.0)}
    bands = [np.std((blurred[fine] - blurred[coarse])[inside]) for fine, coarse in BANDS]
    return np.concatenate([np.percentile(image[inside], PERCENTILES), bands]) / median


def protocol_like(region: Region, grain: float) -> RegionSettings:
    """Make settings that simulate regions of ordinary look with the contrast, voxels and noise of a scan.

    Of the noise levels that training has, the one is taken with which a simulated region has the scan's
    standard deviation in the finest band; little rotation is left, as registration leaves it.
    """
    labels = next(region.image.parent.glob(f"{region.scan}_desc-aseg_dseg.nii.gz"))
    image = nib.as_closest_canonical(nib.load(labels))
    x, y, z = (float(size) for size in image.header.get_zooms()[:3])
    suffix = region.image.name.split(".")[0].rpartition("_")[2]
    contrast = "PDw" if suffix.startswith("PD") else "T2w"
    size = (x, y, z, int(np.argmax((x, y, z))) if max(x, y, z) > 1.5 * min(x, y, z) else -1)
    settings = replace(TRAINING, **ORDINARY, contrasts=(contrast,), voxel_sizes=(size,), pose=0.03)
    anatomy = draw_anatomy(draw_person(np.random.default_rng(1), pose=0.03), REGION)
    candidates = [replace(settings, noise=(level, level)) for level in np.geomspace(*TRAINING.noise, 8)]
    distances = []
    for candidate in candidates:
        made = [simulate_region(seed, candidate, anatomy=anatomy) for seed in range(6990, 6993)]
        distances.append(abs(np.mean([look(one.image, one.mask)[len(PERCENTILES)] for one in made]) - grain))
    return candidates[int(np.argmin(distances))]


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
    figure = Figure(figsize=(10, 2.2 * len(regions)), layout="constrained")
    panels = figure.subplots(len(regions), 1 + SIMULATED, squeeze=False)
    print("| | 5th, 25th, 75th, 95th percentile | bands |\n| --- | --- | --- |")
    for row, region in enumerate(regions):
        real = read_region(region)
        of_real = look(real.scan, real.mask)
        settings = protocol_like(region, grain=float(of_real[len(PERCENTILES)]))
        show(panels[row, 0], real.scan, real.mask, real.rated_slice, region.scan)
        looks = []
        for index in range(SIMULATED):
            made = simulate_region(7000 + SIMULATED * row + index, settings, count=(2, 8, 14)[index])
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
