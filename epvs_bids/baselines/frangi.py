"""Method (e), beyond the paper's table: Frangi's vesselness, thresholded and counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SCALES = (1.0, 2.0)
"""Standard deviations of the Gaussians, in voxels: 0.5 and 1 mm, the radii of EPVS."""

ALPHA = 0.5
BETA = 0.5

Floats = NDArray[np.float64]


def vesselness(region: NDArray[np.floating[Any]], *, scales: Sequence[float] = SCALES) -> NDArray[np.float32]:
    """Frangi's vesselness of bright tubes, the largest over the scales, in [0, 1].

    From the eigenvalues |λ₁| ≤ |λ₂| ≤ |λ₃| of the Hessian of S smoothed with a Gaussian of σ (times σ²):
    V = (1 − exp(−R_A²/2α²)) exp(−R_B²/2β²) (1 − exp(−N²/2c²)) where λ₂, λ₃ < 0, else 0, with
    R_A = |λ₂|/|λ₃|, R_B = |λ₁|/√|λ₂λ₃|, N² = Σ λ², α = β = 0.5 and c half the largest N.

    Parameters
    ----------
    region
        S, (X, Y, Z); vesselness is computed where it is positive, and 0 elsewhere.
    scales
        σ in voxels.

    References
    ----------
    Frangi et al. (1998), MICCAI, LNCS 1496:130–137; for EPVS: Ballerini et al. (2016), MICCAI-MLMI,
    LNCS 10081:61–69 (there in the centrum semiovale, with parameters from an ordered logit model).
    """
    inside = region > 0
    result = np.zeros(region.shape, dtype=np.float32)
    for scale in scales:
        response = _one_scale(region.astype(np.float32), inside, scale)
        result[inside] = np.maximum(result[inside], response)
    return result


def _one_scale(region: NDArray[np.float32], inside: NDArray[np.bool_], scale: float) -> NDArray[np.float32]:
    """Vesselness at one scale for the voxels inside, shape (n_inside,)."""
    orders = ((2, 0, 0), (1, 1, 0), (1, 0, 1), (0, 2, 0), (0, 1, 1), (0, 0, 2))
    hessian = [
        scale**2 * ndimage.gaussian_filter(region, scale, order=order)[inside].astype(np.float64)
        for order in orders
    ]
    small, middle, large = symmetric_eigenvalues(hessian)
    norm = small**2 + middle**2 + large**2
    if norm.size == 0 or norm.max() == 0:
        return np.zeros(norm.size, dtype=np.float32)
    tiny = np.finfo(np.float64).tiny
    plate = (middle / np.where(large == 0, 1, large)) ** 2
    blob = small**2 / np.maximum(np.abs(middle * large), tiny)
    value = (1 - np.exp(-plate / (2 * ALPHA**2))) * np.exp(-blob / (2 * BETA**2))
    value *= 1 - np.exp(-norm / (2 * norm.max() / 4))
    return np.where((middle < 0) & (large < 0), value, 0).astype(np.float32)


def symmetric_eigenvalues(elements: Sequence[Floats]) -> tuple[Floats, Floats, Floats]:
    """Eigenvalues of n symmetric 3 × 3 matrices in closed form, ordered by magnitude.

    `elements`: xx, xy, xz, yy, yz, zz, each of shape (n,). Trigonometric solution of the characteristic
    cubic (Smith 1961, Communications of the ACM 4:168).
    """
    xx, xy, xz, yy, yz, zz = elements
    mean = (xx + yy + zz) / 3
    a, b, c = xx - mean, yy - mean, zz - mean
    p = np.sqrt(
        np.maximum((a**2 + b**2 + c**2 + 2 * (xy**2 + xz**2 + yz**2)) / 6, 1e-30)
    )  # not so small that p³ vanishes
    half_determinant = (a * (b * c - yz**2) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz)) / (2 * p**3)
    angle = np.arccos(np.clip(half_determinant, -1, 1)) / 3
    first, last = mean + 2 * p * np.cos(angle), mean + 2 * p * np.cos(angle + 2 * np.pi / 3)
    values = np.stack([first, 3 * mean - first - last, last])
    order = np.argsort(np.abs(values), axis=0)
    small, middle, large = np.take_along_axis(values, order, axis=0)
    return small, middle, large
