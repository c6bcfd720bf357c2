"""Measure how the default model agrees with the truth on sets of held-out regions, several at a time.

Run as ``.venv/bin/python tools/measure_agreement.py`` (a quarter of an hour on two cores). Prints a line for
each set of seeds, for all of them, and for the isotropic voxels among them: ICC(2,1) with the true total
count and its 95 % interval, Pearson, bias, slope of score on count, mean score of regions without EPVS, and
the ICC of score and of true total count with the slice's count, each on its best line.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from evaluate_default_model import rate, rescaled_icc
from numpy.typing import NDArray

from epvs_bids.network.checkpoint import DEFAULT_MODEL, LoadedModel, load_models
from epvs_bids.simulation.region import HELD_OUT, simulate_region
from epvs_bids.statistics.icc import intraclass_correlations

FIRST_SEEDS = tuple(range(4_500_000_000, 5_500_000_001, 200_000_000))


@cache
def models_of(folder: Path) -> list[LoadedModel]:
    """Load the models of a folder, once in each process."""
    torch.set_num_threads(1)
    return load_models(folder)


def measure(folder: Path, seed: int) -> tuple[float, float, float, float]:
    """Total count, slice's count and score of one region, and whether its voxels are isotropic."""
    region = simulate_region(seed, HELD_OUT)
    isotropic = np.ptp(region.protocol.voxel_size) < 0.1
    return region.total_count, region.slice_count, rate(models_of(folder), region), float(isotropic)


def describe(name: str, rows: NDArray[np.float64]) -> str:
    """Put the measures of a set into words."""
    total, shown, scores = rows[:, :3].T
    icc = intraclass_correlations(np.column_stack([scores, total])).icc21
    return (
        f"{name}: {len(rows)} regions, ICC {icc.value:.3f} ({icc.low:.3f} to {icc.high:.3f}), "
        f"Pearson {np.corrcoef(scores, total)[0, 1]:.3f}, bias {np.mean(scores - total):.2f}, "
        f"slope {np.polyfit(total, scores, 1)[0]:.2f}, without EPVS {scores[total == 0].mean():.2f}, "
        f"slice {rescaled_icc(scores, shown):.3f} of {rescaled_icc(total, shown):.3f}"
    )


def main() -> None:
    """Simulate, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--regions", type=int, default=140, help="of each set")
    parser.add_argument("--first-seeds", type=int, nargs="+", default=FIRST_SEEDS)
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    if options.regions < 20:
        parser.error("--regions: an ICC and its interval need 20 and more.")
    load_models(options.model)  # what is wrong with it is said here, not by every process
    sets = []
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        for first in options.first_seeds:
            seeds = range(first, first + options.regions)
            sets.append(np.array(list(pool.map(partial(measure, options.model), seeds, chunksize=4))))
            print(describe(f"seeds from {first:,}", sets[-1]), flush=True)
    rows = np.concatenate(sets)
    print(describe("all", rows))
    for name, kind in (("isotropic voxels", 1), ("other voxels", 0)):
        print(describe(name, rows[rows[:, 3] == kind]))


if __name__ == "__main__":
    main()
