"""Draw the pictures of `docs/simulation.md`: simulated regions at the height of the anterior commissure."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from epvs_bids.simulation.region import TRAINING, simulate_region

LOOKS = (
    ("PDw", (0.49, 0.49, 0.8, -1), 10),
    ("PDw", (0.86, 0.86, 2.4, 2), 0),
    ("T2w", (0.6, 0.6, 3.3, 2), 12),
    ("T2w", (1.0, 1.0, 1.0, -1), 6),
    ("T2w", (0.7, 0.7, 0.7, -1), 16),
    ("T2w", (0.6, 0.6, 3.3, 2), 2),
)


def main() -> None:
    """Write docs/images/simulated-regions.png."""
    torch.set_num_threads(1)
    figure = Figure(figsize=(9, 4.9), layout="constrained")
    for index, (contrast, size, count) in enumerate(LOOKS):
        settings = replace(TRAINING, contrasts=(contrast,), voxel_sizes=(size,), noise=(0.03, 0.06))
        region = simulate_region(40 + index, settings, count=count)
        affine = region.anatomy.box.affine
        heights = region.epvs["z"] if count else [region.anatomy.commissure[2]]
        height = round((float(np.median(heights)) - affine[2, 3]) / affine[2, 2])
        plane = region.image[:, :, height]
        axes = figure.add_subplot(2, 3, index + 1)
        axes.imshow(plane.T, origin="lower", cmap="gray", vmin=0, vmax=2.0 * np.median(plane))
        axes.set_title(f"{contrast}, {'×'.join(f'{v:g}' for v in size[:3])} mm, {count} EPVS", fontsize=8)
        axes.axis("off")
    figure.savefig(Path("docs/images/simulated-regions.png"), dpi=75)


if __name__ == "__main__":
    main()
