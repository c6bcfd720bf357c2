"""Separable linear operators: interpolation and point-spread functions as one small matrix an axis.

A simulated region has 1.8 million voxels. Blurring, sampling to the scanner's voxels and interpolating back
are products of three dense matrices of at most a few hundred rows, tens of milliseconds instead of seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float32]


def apply(volume: Array, matrices: Sequence[Array]) -> Array:
    """Multiply a volume by one matrix along each axis.

    Parameters
    ----------
    volume
        float32, shape (X, Y, Z).
    matrices
        Three matrices of shapes (x, X), (y, Y), (z, Z).

    Returns
    -------
    product
        float32, shape (x, y, z).
    """
    along_x, along_y, along_z = matrices
    x, y, z = volume.shape
    first = (along_x @ volume.reshape(x, y * z)).reshape(-1, y, z)
    result: Array = np.matmul(along_y, first) @ along_z.T
    return result


@lru_cache(maxsize=32)
def _spline_coefficients(count: int) -> Array:
    """(count, count) matrix from samples to cubic B-spline coefficients, mirrored at the ends."""
    values = np.zeros((count, count))
    index = np.arange(count)
    values[index, index] = 4 / 6
    for step in (-1, 1):
        neighbour = np.abs(index + step)
        neighbour = np.where(neighbour >= count, 2 * (count - 1) - neighbour, neighbour)
        np.add.at(values, (index, np.clip(neighbour, 0, count - 1)), 1 / 6)
    return np.linalg.inv(values).astype(np.float32)


def spline(count: int, positions: NDArray[np.floating]) -> Array:
    """Matrix of cubic B-spline interpolation of `count` samples at `positions` (held at the ends)."""
    at = np.clip(positions, 0, count - 1)
    distance = np.abs(at[:, None] - np.arange(-1, count + 1)[None])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    basis = np.where(distance < 1, near, far)
    basis[:, 2] += basis[:, 0]
    basis[:, -3] += basis[:, -1]
    result: Array = basis[:, 1:-1].astype(np.float32) @ _spline_coefficients(count)
    return result


def linear(count: int, positions: NDArray[np.floating]) -> Array:
    """Matrix of linear interpolation of `count` samples at `positions` (held at the ends)."""
    at = np.clip(positions, 0, count - 1)
    distance = np.abs(at[:, None] - np.arange(count)[None])
    return np.asarray(np.clip(1 - distance, 0, None), dtype=np.float32)


def point_spread(
    count: int,
    step: float,
    positions: NDArray[np.floating],
    *,
    width: float,
    kind: Literal["box", "sinc", "gauss"],
) -> Array:
    """Matrix that samples `count` fine voxels with the scanner's point-spread function.

    Parameters
    ----------
    count, step
        Number of fine voxels and their size in mm.
    positions
        Centres of the samples, in mm from the centre of the first fine voxel.
    width
        Size in mm of the acquired voxel.
    kind
        ``box``: profile of a two-dimensional slice, with slightly soft edges. ``sinc``: truncated k-space,
        damped, which rings (Gibbs). ``gauss``: full width at half maximum of `width`, no ringing.

    Returns
    -------
    matrix
        (positions, count), rows that add up to 1.
    """
    distance = positions[:, None] - np.arange(count)[None] * step
    if kind == "box":
        weights = expit((width / 2 - np.abs(distance)) / (0.06 * width))
    elif kind == "sinc":
        weights = np.sinc(distance / width) * np.clip(np.cos(distance / width * np.pi / 8), 0, None)
        weights[np.abs(distance) > 4 * width] = 0
    else:
        weights = np.exp(-4 * np.log(2) * (distance / width) ** 2)
    weights += 1e-9
    total = weights.sum(axis=1, keepdims=True)
    result: Array = (weights / np.where(np.abs(total) < 1e-6, 1e-6, total)).astype(np.float32)
    return result


def smooth_field(rng: np.random.Generator, shape: Sequence[int], spacing: float | Sequence[float]) -> Array:
    """Draw a smooth random field of mean 0 and standard deviation 1.

    Parameters
    ----------
    rng
        Source of randomness.
    shape
        (X, Y, Z) of the result.
    spacing
        Distance in voxels between the independent normal values that a cubic B-spline connects; one for each
        axis where voxels are not isotropic.
    """
    spacings = np.broadcast_to(spacing, len(shape)).tolist()
    counts = [max(4, int(np.ceil(size / step)) + 3) for size, step in zip(shape, spacings, strict=True)]
    coarse = rng.standard_normal(counts, dtype=np.float32)
    matrices = []
    for size, count, step in zip(shape, counts, spacings, strict=True):
        start = float(rng.uniform(0.5, 1.5))
        positions = np.minimum(start + np.arange(size) / max(step, size / (count - 3)), count - 1.0)
        matrices.append(spline_noise(count, positions))
    return apply(coarse, matrices)


def spline_noise(count: int, positions: NDArray[np.floating]) -> Array:
    """Cubic B-spline of white noise at `positions`, scaled to keep a variance of 1 on average."""
    distance = np.abs(positions[:, None] - np.arange(count)[None])
    basis = np.where(
        distance < 1, 2 / 3 - distance**2 + distance**3 / 2, np.clip(2 - distance, 0, None) ** 3 / 6
    )
    result: Array = (basis / np.sqrt((basis**2).sum(axis=1, keepdims=True) + 1e-12)).astype(np.float32)
    return result
