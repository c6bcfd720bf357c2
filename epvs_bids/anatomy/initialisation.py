"""Where a rigid registration starts: landmarks where both images have labels, else a coarse search.

A registration by mutual information finds its way from some 15° and 20 mm away; this leads there.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage

from epvs_bids.anatomy.grid import Matrix
from epvs_bids.anatomy.images import Volume
from epvs_bids.anatomy.labels import bounding_box, structure_boxes

_BINS = 32
_FEWEST_LANDMARKS = 4
_SEARCH_ANGLES = (-30.0, -15.0, 0.0, 15.0, 30.0)
_SEARCH_VOXEL = 4.0
_LEAST_OVERLAP = 0.2
"""Share of the fixed brain that must meet the moving image. Below a quarter Elastix gives up, so whatever it
finds is judged. What chance adds to the information of n samples, 31² / 2n nats, is 0.01 on a template."""
_LEAST_TO_TURN = 0.5
"""The same for half turns, whose limit was measured on whole scans and on slabs of 70 mm."""
_TURN_STEPS = (-15.0, 0.0, 15.0)
"""Degrees of pitch and millimetres of shift that are tried beside each half turn."""

LANDMARKS: dict[int, tuple[float, float, float]] = {
    11: (-14.0, 10.8, 7.5),
    50: (14.0, 10.8, 7.5),
    12: (-25.0, 2.0, -0.8),
    51: (25.0, 2.0, -0.8),
    13: (-18.0, -2.3, -1.2),
    52: (18.0, -2.3, -1.2),
    10: (-10.4, -17.6, 4.8),
    49: (10.4, -17.6, 4.8),
    17: (-23.9, -22.0, -12.6),
    53: (23.9, -22.0, -12.6),
    8: (-20.9, -60.3, -33.0),
    47: (20.9, -60.3, -33.0),
    16: (0.0, -30.4, -29.3),
}
"""Centres of structures in MNI space, RAS mm, by label: caudate, putamen, pallidum, thalamus, hippocampus,
cerebellar cortex of both sides and the brain stem. Measured on a scan registered to the template and made
symmetrical; other heads differ by some millimetres, which is near enough for a start."""


@dataclass(frozen=True)
class Thin:
    """
    An image cut down to what a registration needs.

    Parameters
    ----------
    data
        float32, shape (X, Y, Z).
    mask
        Boolean, same shape: where samples may be drawn.
    affine
        4 × 4, voxel index to RAS millimetres.
    """

    data: NDArray[np.float32]
    mask: NDArray[np.bool_]
    affine: Matrix


def thin_out(
    data: NDArray[np.float32], affine: Matrix, mask: NDArray[np.bool_] | None, *, voxel_size: float = 1.0
) -> Thin:
    """
    Cut an image to the box around a mask and average blocks of voxels.

    Parameters
    ----------
    data, affine
        The image, shape (X, Y, Z), and its geometry.
    mask
        Where samples may be drawn; same shape, not empty. None: everywhere.
    voxel_size
        Blocks stay within this many mm along each axis; longer voxels are left as they are.

    Returns
    -------
    thin
        The cut image.
    """
    box = tuple(slice(0, size) for size in data.shape) if mask is None else bounding_box(mask)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    factors = np.maximum(np.floor(voxel_size / sizes + 1e-3).astype(int), 1)
    start = np.array([s.start for s in box])
    blocks = np.maximum(np.array([s.stop for s in box]) - start, factors) // factors
    cut = tuple(slice(int(a), int(a + n * f)) for a, n, f in zip(start, blocks, factors, strict=True))
    split = [int(v) for pair in zip(blocks, factors, strict=True) for v in pair]
    small = data[cut].reshape(split).mean(axis=(1, 3, 5), dtype=np.float32)
    inside = np.ones(small.shape, np.bool_) if mask is None else mask[cut].reshape(split).any(axis=(1, 3, 5))
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ (start + (factors - 1) / 2)
    moved[:3, :3] = affine[:3, :3] * factors
    return Thin(np.ascontiguousarray(small), np.ascontiguousarray(inside), moved)


def mutual_information(fixed: Thin, moving: Thin, transform: Matrix) -> float:
    """
    Mutual information of two images at a given position (Maes et al. 1997).

    Parameters
    ----------
    fixed, moving
        The images; every eighth voxel of the fixed mask is looked at.
    transform
        4 × 4, RAS mm of fixed to RAS mm of moving.

    Returns
    -------
    information
        In nats, from a joint histogram of 32 × 32 bins; 0 where less than a fifth of the mask meets the
        moving image.
    """
    every = (slice(None, None, 2),) * 3
    inside = fixed.mask[every]
    points = apply_affine(fixed.affine, 2 * np.argwhere(inside))
    return _information(_binned(fixed.data[every][inside]), points, moving, transform)


def coarse_search(fixed: Thin, moving: Thin) -> Matrix:
    """
    Try turns of up to 30° about each axis and two shifts, and return the best.

    Parameters
    ----------
    fixed, moving
        The images.

    Returns
    -------
    transform
        4 × 4, RAS mm of fixed to RAS mm of moving; the identity where the images meet nowhere. The shifts
        tried are the scanner's own coordinates, and centre of gravity on centre of gravity.
    """
    fixed, moving = (thin_out(i.data, i.affine, i.mask, voxel_size=_SEARCH_VOXEL) for i in (fixed, moving))
    points = apply_affine(fixed.affine, np.argwhere(fixed.mask))
    values = _binned(fixed.data[fixed.mask])
    centre = _centre_of_gravity(fixed)
    best, best_information = np.eye(4), 0.0
    for shift in (np.zeros(3), _centre_of_gravity(moving) - centre):
        for angles in itertools.product(_SEARCH_ANGLES, repeat=3):
            candidate = rotation_about(centre, angles)
            candidate[:3, 3] += shift
            information = _information(values, points, moving, candidate)
            if information > best_information:
                best, best_information = candidate, information
    return best


def turned_information(fixed: Thin, moving: Volume, transform: Matrix) -> tuple[float, float]:
    """
    Compare a position with those that a half turn leads to, as labels that lie upside down do.

    Parameters
    ----------
    fixed, moving
        The images; the moving one whole, not only what labels call the brain.
    transform
        4 × 4, RAS mm of fixed to RAS mm of moving.

    Returns
    -------
    here, turned
        Mutual information in nats at this position, and the largest of those after a half turn about one of
        the axes, each tried with some pitch and shifts, since the turn's centre is not known. 0 where less
        than half of the fixed mask meets the moving image.
    """
    fixed = thin_out(fixed.data, fixed.affine, fixed.mask, voxel_size=_SEARCH_VOXEL)
    whole = thin_out(moving.data, moving.affine, None, voxel_size=_SEARCH_VOXEL)
    points = apply_affine(fixed.affine, np.argwhere(fixed.mask))
    values = _binned(fixed.data[fixed.mask])
    centre = _centre_of_gravity(fixed)
    candidates = [transform]
    for turn in ((180.0, 0.0, 0.0), (0.0, 180.0, 0.0), (0.0, 0.0, 180.0)):
        for pitch, y, z in itertools.product(_TURN_STEPS, repeat=3):
            nearby = rotation_about(centre, (pitch, 0.0, 0.0))
            nearby[:3, 3] += (0.0, y, z)
            candidates.append(transform @ rotation_about(centre, turn) @ nearby)
    with ThreadPoolExecutor(2) as pool:  # as many as Elastix has
        compare = partial(_information, values, points, whole, least=_LEAST_TO_TURN)
        here, *turned = pool.map(compare, candidates)
    return here, max(turned)


def rotation_about(centre: NDArray[np.float64], angles: tuple[float, ...]) -> Matrix:
    """
    Make the rotation about a point.

    Parameters
    ----------
    centre
        Point that stays, in mm.
    angles
        Degrees about x, y and z, applied in this order.

    Returns
    -------
    matrix
        4 × 4.
    """
    matrix = np.eye(4)
    for axis, angle in enumerate(np.deg2rad(angles)):
        turn = np.eye(4)
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[j, i], turn[i, j] = np.sin(angle), -np.sin(angle)
        matrix = turn @ matrix
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre
    return matrix


def centres_of(
    labels: NDArray[np.integer], affine: Matrix, structures: Collection[int]
) -> dict[int, NDArray[np.float64]]:
    """
    Return the centre of mass of each structure that is there.

    Parameters
    ----------
    labels, affine
        Label image and its geometry.
    structures
        Labels wanted.

    Returns
    -------
    centres
        RAS mm by label.
    """
    centres = {}
    for label, box in structure_boxes(labels, structures).items():
        corner = np.array([s.start for s in box])
        middle = corner + np.argwhere(labels[box] == label).mean(axis=0)
        centres[label] = apply_affine(affine, middle)
    return centres


def mirrored(centres: Mapping[int, NDArray[np.float64]]) -> bool:
    """
    Tell whether structures lie as in a mirror: their labels, or the scan too, are flipped along an axis.

    Parameters
    ----------
    centres
        Centres in the scan, RAS mm by label, from `centres_of(labels, affine, LANDMARKS)`.

    Returns
    -------
    mirrored
        Whether a reflection lays MNI space's structures on them at less than half the distance that
        rotations leave. With thirteen structures rotations leave 0.4 to 3.4 mm on real scans, reflections
        11 mm; with the basal ganglia alone, which nearly lie in one plane, they can be 3.2 and 3.6 mm.
    """
    fits = _kabsch(centres)
    return fits is not None and fits[-1][1] < 0.5 * fits[1][1]


def landmark_transform(centres: Mapping[int, NDArray[np.float64]]) -> tuple[Matrix, float] | None:
    """
    Lay the structures of MNI space on those of a scan: least squares over their centres (Kabsch 1976).

    Parameters
    ----------
    centres
        Centres in the scan, RAS mm by label, from `centres_of(labels, affine, LANDMARKS)`.

    Returns
    -------
    transform, residual
        4 × 4, MNI mm to scan mm, and the root mean square distance that is left in mm. `None` with fewer than
        four structures in common.
    """
    fits = _kabsch(centres)
    return None if fits is None else fits[1]


def _kabsch(centres: Mapping[int, NDArray[np.float64]]) -> dict[int, tuple[Matrix, float]] | None:
    """Fit MNI space's structures to a scan's: best transform and residual, by hand: 1, or -1 in a mirror."""
    common = [label for label in LANDMARKS if label in centres]
    if len(common) < _FEWEST_LANDMARKS:
        return None
    source = np.array([LANDMARKS[label] for label in common])
    target = np.array([centres[label] for label in common])
    middle, aim = source.mean(axis=0), target.mean(axis=0)
    u, _, vt = np.linalg.svd((source - middle).T @ (target - aim))
    fits = {}
    for hand in (1, -1):
        matrix = np.eye(4)
        matrix[:3, :3] = vt.T @ np.diag([1.0, 1.0, hand * np.sign(np.linalg.det(u @ vt))]) @ u.T
        matrix[:3, 3] = aim - matrix[:3, :3] @ middle
        left = apply_affine(matrix, source) - target
        fits[hand] = matrix, float(np.sqrt((left**2).sum(axis=1).mean()))
    return fits


def _centre_of_gravity(image: Thin) -> NDArray[np.float64]:
    """Return the centre of the mask, weighted by intensities above 0, in RAS mm."""
    weights = np.where(image.mask, np.maximum(image.data, 0), 0).astype(np.float64)
    middle = np.asarray(ndimage.center_of_mass(weights))
    return np.asarray(apply_affine(image.affine, middle))


def _binned(values: NDArray[np.float32]) -> NDArray[np.intp]:
    """Sort intensities into bins between their 0.5th and 99.5th percentile."""
    low, high = np.percentile(values, (0.5, 99.5))
    scaled = (values - low) * (_BINS / max(float(high - low), 1e-6))
    return np.asarray(np.clip(scaled, 0, _BINS - 1).astype(np.intp))


def _information(
    bins: NDArray[np.intp],
    points: NDArray[np.float64],
    moving: Thin,
    transform: Matrix,
    *,
    least: float = _LEAST_OVERLAP,
) -> float:
    """Return the mutual information of binned fixed values at `points` and the moving image under them."""
    to_index = np.linalg.inv(moving.affine) @ transform
    index = apply_affine(to_index, points)
    met = np.all((index >= 0) & (index <= np.array(moving.data.shape) - 1), axis=1)
    if np.count_nonzero(met) < least * len(points):
        return 0.0
    under = ndimage.map_coordinates(moving.data, index[met].T, order=1, mode="nearest")
    joint = np.bincount(bins[met] * _BINS + _binned(under), minlength=_BINS**2).reshape(_BINS, _BINS)
    joint = joint / joint.sum()
    expected = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    some = joint > 0
    return float(np.sum(joint[some] * np.log(joint[some] / expected[some])))
