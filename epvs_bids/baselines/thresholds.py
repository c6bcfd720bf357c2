"""Thresholds of methods (b), (c) and (e), chosen on the training scans only."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

N_LEVELS = 16
LOWEST_SHARE = 0.5
HIGHEST_SHARE = 0.9995


def threshold_levels(images: Iterable[NDArray[np.float32]], *, n: int = N_LEVELS) -> NDArray[np.float64]:
    """Candidate thresholds: quantiles of the positive voxels of the training scans, denser towards the top.

    The shares of voxels below go from 50 % to 99.95 % in equal steps of the logarithm of what is above
    (ours).

    Parameters
    ----------
    images
        Regions or vesselness maps of training scans, (X, Y, Z) each; every 7th positive voxel is used.
    n
        Number of thresholds.

    Returns
    -------
    Shape (n,), ascending, in the images' unit.

    Raises
    ------
    ValueError
        Where no voxel is positive.
    """
    pooled = np.concatenate([image[image > 0][::7] for image in images])
    if pooled.size == 0:
        raise ValueError("no training region has a voxel above zero")
    shares = 1 - np.geomspace(1 - LOWEST_SHARE, 1 - HIGHEST_SHARE, n)
    levels: NDArray[np.float64] = np.quantile(pooled, shares).astype(np.float64)
    return levels


def best_threshold(responses: ArrayLike, reference: ArrayLike) -> int:
    """Index of the threshold whose responses follow the visual counts best, by Pearson's correlation.

    The correlation does not depend on the line that rescales the response later, and its sign is kept: more
    hyperintense tissue has to mean more EPVS (ours; the paper only says that thresholds are optimised).

    Parameters
    ----------
    responses
        Shape (n, t): volumes or components of n training scans at t thresholds.
    reference
        Shape (n,), visual counts.

    Returns
    -------
    Index in [0, t); the lowest threshold where no response varies.
    """
    x, y = np.asarray(responses, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    x, y = x - x.mean(axis=0), y - y.mean()
    scale = np.sqrt((x**2).sum(axis=0) * (y**2).sum())
    correlation = np.where(scale > 0, (x * y[:, None]).sum(axis=0) / np.where(scale > 0, scale, 1), -np.inf)
    return int(np.argmax(correlation))
