"""What a network that learns positions is asked for: maps of 1 mm cells whose sum is the count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from epvs_bids.simulation import operators
from epvs_bids.simulation.acquisition import sampling
from epvs_bids.simulation.region import SimulatedRegion
from epvs_bids.simulation.tissues import TISSUES
from epvs_bids.simulation.tubes import Tube, volume_fraction

Array = NDArray[np.float32]

MASS = 8.0
"""Sum of the density map over one countable EPVS."""
FAINT, CLEAR = 0.8, 2.0
"""Contrast on the scan over its noise, below which an EPVS can't be counted, above which it can.

The contrast is relative to the putamen, the noise to white matter: where the putamen is brighter, the same
number stands for more. `CLEAR` is a contrast-to-noise ratio of 2.4 on T2w (median of what training draws, 2.8
where the putamen has no iron) and of 2.3 on PDw.
"""
LEAST_NOISE = 0.03
"""Noise, relative to white matter, that texture alone amounts to."""


def cells(volume: Array) -> Array:
    """Mean of each 2 × 2 × 2 voxels: (X, Y, Z) to (X // 2, Y // 2, Z // 2)."""
    x, y, z = (size // 2 for size in volume.shape)
    result: Array = volume[: 2 * x, : 2 * y, : 2 * z].reshape(x, 2, y, 2, z, 2).mean(axis=(1, 3, 5))
    return result


def visible_contrast(region: SimulatedRegion) -> list[float]:
    """Contrast of each EPVS on its own on the scan, relative to the putamen, after the scanner's blur.

    The scanner is linear but for the noise, so that the contrast of the fluid-filled tube itself is sampled.
    """
    box, protocol = region.anatomy.box, region.protocol
    matrices = [sampling(box, protocol, axis) for axis in range(3)]
    contrasts = []
    for lesion in region.lesions:
        if lesion.kind != "epvs":
            continue
        part, fraction = volume_fraction(lesion.tube, box.affine, box.shape)
        acquire = [pair[0][:, cut] for pair, cut in zip(matrices, part, strict=True)]
        restore = [pair[1][cut] for pair, cut in zip(matrices, part, strict=True)]
        seen = operators.apply(operators.apply(fraction, acquire), restore)
        contrasts.append(float(seen.max(initial=0)) * lesion.level * region.fluid_contrast)
    return contrasts


def target_maps(region: SimulatedRegion) -> Array:
    """Targets of one region.

    Returns
    -------
    maps
        float32 (3, 84, 64, 42) in [0, 1]: density (`MASS` for every EPVS that can be seen, spread along it),
        fraction of the cell filled by EPVS, and by fluid that is no EPVS (CSF, lacunes).
    """
    box = region.anatomy.box
    density = np.zeros([size // 2 for size in box.shape], np.float32)
    tubes = np.zeros(box.shape, np.float32)
    fluid = np.isin(region.anatomy.tissues, [TISSUES.index("csf"), TISSUES.index("ventricle")]).astype(
        np.float32
    )
    contrasts = iter(visible_contrast(region))
    noise = max(region.protocol.noise, LEAST_NOISE)
    for lesion in region.lesions:
        if lesion.kind == "lacune":
            part, fraction = volume_fraction(lesion.tube, box.affine, box.shape)
            fluid[part] = np.maximum(fluid[part], fraction)
        if lesion.kind == "epvs":
            part, fraction = volume_fraction(lesion.tube, box.affine, box.shape)
            tubes[part] = np.maximum(tubes[part], fraction)
            seen = np.clip((next(contrasts) / noise - FAINT) / (CLEAR - FAINT), 0, 1)
            _add_mass(density, lesion.tube, region, float(seen))
    return np.stack([np.minimum(density, 1), cells(tubes), cells(fluid)])


def _add_mass(density: Array, tube: Tube, region: SimulatedRegion, weight: float) -> None:
    """Spread `MASS` × weight over the cells within 0.5 mm of a tube."""
    affine = region.anatomy.box.affine.copy()
    size = affine[0, 0]
    affine[:3, :3] *= 2
    affine[:3, 3] += size / 2
    wide = replace(tube, radii=np.maximum(tube.radii, 0.5) + 0.5)
    part, fraction = volume_fraction(wide, affine, density.shape)
    if fraction.sum() > 0:
        density[part] += fraction * np.float32(weight * MASS / fraction.sum())
