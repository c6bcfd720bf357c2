"""Curved, tapering tubes: the shape of perivascular spaces and of vessels, and how they fill voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Tube:
    """A curved, tapering tube.

    Parameters
    ----------
    points
        (P, 3) centre line in mm.
    radii
        (P,) in mm.
    """

    points: NDArray[np.float64]
    radii: NDArray[np.float64]

    @property
    def centre(self) -> NDArray[np.float64]:
        """Middle of the centre line, in mm."""
        return np.asarray(self.points[len(self.points) // 2])

    @property
    def calibre(self) -> float:
        """Largest diameter in mm."""
        return float(2 * self.radii.max())

    @property
    def length(self) -> float:
        """Length of the centre line with its rounded ends, in mm."""
        steps = np.linalg.norm(np.diff(self.points, axis=0), axis=1).sum()
        return float(steps + self.radii[0] + self.radii[-1])

    def crosses(self, height: float, half_width: float) -> bool:
        """Tell whether an axial slice around `height` (mm) of half thickness `half_width` cuts the tube."""
        low = (self.points[:, 2] - self.radii).min()
        high = (self.points[:, 2] + self.radii).max()
        return bool(low <= height + half_width and high >= height - half_width)


def draw_tube(
    rng: np.random.Generator,
    start: NDArray[np.float64],
    direction: NDArray[np.float64],
    *,
    calibre: float,
    length: float,
    curvature: float,
    taper: float,
) -> Tube:
    """Draw a tube that begins at a point.

    Parameters
    ----------
    rng
        Source of randomness.
    start
        mm.
    direction
        Unit vector of its beginning.
    calibre
        Largest diameter in mm.
    length
        mm, rounded ends included.
    curvature
        Standard deviation of the turn, in radians per 10 mm.
    taper
        Fraction of the calibre lost at the far end, 0 to 1.
    """
    span = max(length - calibre, 0.05)
    count = max(3, int(np.ceil(span / 0.4)) + 1)
    along = np.linspace(0, 1, count)
    turn = rng.normal(0, curvature, 3) * span / 10
    headings = direction + along[:, None] * turn
    headings /= np.linalg.norm(headings, axis=1, keepdims=True)
    steps = headings * span / (count - 1)
    points = start + np.vstack([np.zeros(3), np.cumsum(steps[:-1], axis=0)])
    swelling = 1 + 0.12 * np.sin(along * rng.uniform(2, 7) + rng.uniform(0, 2 * np.pi))
    profile = (1 - taper * along) * swelling
    radii = calibre / 2 * profile / profile.max()
    return Tube(points=points, radii=radii)


def volume_fraction(
    tube: Tube, affine: NDArray[np.float64], shape: Sequence[int], *, soft: float = 0.0
) -> tuple[tuple[slice, slice, slice], Array]:
    """Fraction of each voxel that a tube fills.

    It is taken from the distance of the voxel's centre to the tube's surface (exact for a plane), and scaled
    down where the tube is thinner than a voxel.

    Parameters
    ----------
    tube
        In the mm of `affine`.
    affine
        4 × 4, diagonal: voxel index to mm, isotropic voxels.
    shape
        (X, Y, Z) of the grid.
    soft
        Standard deviation in mm of a blur of the border.

    Returns
    -------
    box
        Slices of the part of the grid around the tube; empty where it lies outside.
    fraction
        float32 of that part's shape, in [0, 1].
    """
    size = float(affine[0, 0])
    points = (tube.points - affine[:3, 3]) / size
    radii = tube.radii / size
    pad = 1 + int(np.ceil(2.5 * soft / size))
    low = np.clip(np.floor((points - radii[:, None]).min(axis=0)).astype(int) - pad, 0, shape)
    high = np.clip(np.ceil((points + radii[:, None]).max(axis=0)).astype(int) + pad + 1, low, shape)
    axes = [np.arange(a, b, dtype=np.float32) for a, b in zip(low, high, strict=True)]
    best = np.zeros([len(axis) for axis in axes], np.float32)
    for point, radius in zip(points.astype(np.float32), radii.astype(np.float32), strict=True):
        squares = [(axis - p) ** 2 for axis, p in zip(axes, point, strict=True)]
        distance = np.sqrt(squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :])
        thin = min(1.0, float(np.pi * radius**2) + 0.05)
        np.maximum(best, np.minimum(radius - distance + 0.5, thin), out=best)
    if soft and best.size:
        best = ndimage.gaussian_filter(best, soft / size)
    box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    return box, best
