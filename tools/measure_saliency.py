"""Measure how much of the default model's saliency lies at true EPVS, on simulated regions it never saw.

    python tools/measure_saliency.py [--regions 20] [--model DIR] [--methods gradient smoothgrad]

Prints, for each method, the share of the 1 % most salient voxels of the mask that lie within 1 mm of a
true EPVS, the share that chance gives (all voxels of the mask), and their ratio: medians over regions with at
least one EPVS, and quartiles. Regions are those of `HELD_OUT`: another calibre, noise and resolution than in
training.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from epvs_bids.network.checkpoint import DEFAULT_MODEL, load_models
from epvs_bids.network.inference import prepare
from epvs_bids.network.saliency import saliency
from epvs_bids.simulation.region import HELD_OUT, simulate_region

FIRST_SEED = 900_000
"""Seeds from here on are used by nothing else."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--regions", type=int, default=20)
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--methods", nargs="+", default=["gradient", "smoothgrad"])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    networks = [prepare(model.network) for model in load_models(arguments.model)]
    found: dict[str, list[tuple[float, float, float]]] = {method: [] for method in arguments.methods}
    seed = FIRST_SEED
    while len(found[arguments.methods[0]]) < arguments.regions:
        simulated = simulate_region(seed, HELD_OUT)
        seed += 1
        if not simulated.total_count:
            continue
        for method in arguments.methods:
            start = time.perf_counter()
            values = saliency(networks, simulated.region, method, mask=simulated.mask)
            took = time.perf_counter() - start
            share, chance = share_near(values, simulated.labels > 0, simulated.mask > 0.5)
            found[method].append((share, chance, took))
            print(f"seed {seed - 1}, {simulated.contrast}, {simulated.total_count} EPVS, {method}: "
                  f"{share:.3f} against {chance:.3f}, {took:.1f} s", flush=True)  # fmt: skip
    for method, values in found.items():
        shares, chances, times = np.array(values).T
        low, middle, high = np.percentile(shares, [25, 50, 75])
        print(f"{method}: median {middle:.3f} (quartiles {low:.3f} to {high:.3f}), n = {len(shares)}")
        print(f"  chance {np.median(chances):.3f}, median ratio {np.median(shares / chances):.1f}")
        print(f"  {np.median(times):.1f} s a region on {arguments.threads} thread(s)")


def share_near(
    saliency_map: NDArray[np.float32],
    epvs: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    *,
    voxel_size: float = 0.5,
    fraction: float = 0.01,
    distance: float = 1.0,
) -> tuple[float, float]:
    """Share of the most salient voxels that lie at a true EPVS, and the share that chance gives.

    Parameters
    ----------
    saliency_map
        (X, Y, Z); its absolute value is ranked.
    epvs
        Voxels of true EPVS, same shape.
    inside
        Voxels that count, same shape: the mask of the region.
    voxel_size
        Edge of a voxel in mm.
    fraction
        Share of the voxels inside that are called most salient, in (0, 1].
    distance
        Voxels up to this many mm from an EPVS are at it.

    Returns
    -------
    share, chance
        In [0, 1]. `chance` is the share of all voxels inside that are at an EPVS. Both nan without an EPVS.
    """
    if not epvs.any() or not inside.any():
        return float("nan"), float("nan")
    near = ndimage.distance_transform_edt(~epvs, sampling=voxel_size)[inside] <= distance
    strength = np.abs(saliency_map[inside])
    count = max(1, round(fraction * strength.size))
    top = np.argpartition(strength, -count)[-count:]
    return float(near[top].mean()), float(near.mean())


if __name__ == "__main__":
    main()
