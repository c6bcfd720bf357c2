"""Plant a known number of EPVS into a real scan, at its own resolution and with its own noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from epvs_bids.anatomy.images import Volume
from epvs_bids.anatomy.labels import basal_ganglia_mask
from epvs_bids.errors import BadDataError
from epvs_bids.simulation.anatomy import REGION_CENTRE, Anatomy, Box
from epvs_bids.simulation.lesions import EpvsDistribution, Lesion, draw_epvs
from epvs_bids.simulation.tissues import ATLAS_LABELS, TISSUES
from epvs_bids.simulation.tubes import volume_fraction

Array = NDArray[np.float32]

COUNTABLE = EpvsDistribution(min_calibre=1.0)
"""Calibres of 1 to 3 mm: those that raters count (Adams et al. 2013)."""
LEAST_CONTRAST = 1.5
"""Fluid in EPVS is at least this much brighter than the putamen: a PD scan of short TR has dark CSF, but the
paper's PD, with a TR of 12.3 s, shows EPVS bright."""
_SUBSAMPLE = 0.5


def plant(
    scan: Volume,
    labels: NDArray[np.integer],
    n: int,
    seed: int,
    *,
    distribution: EpvsDistribution = COUNTABLE,
    visibility: tuple[float, float] = (0.8, 1.0),
) -> tuple[Volume, pd.DataFrame]:
    """Put `n` EPVS into the basal ganglia of a scan.

    Parameters
    ----------
    scan
        PDw or T2w, any orientation and voxel size.
    labels
        FreeSurfer's labels on the scan's grid, (X, Y, Z).
    n
        How many. With the same seed, those of a smaller `n` are among those of a larger.
    seed
        Of their places and shapes.
    distribution
        Of calibre, length and place.
    visibility
        Range of the fraction of fluid inside.

    Returns
    -------
    planted
        The scan with EPVS, each mixed into the voxels by the fraction that it fills.
    truth
        One row an EPVS: ``x y z`` (RAS mm of the scanner), ``calibre`` and ``length`` in mm, ``visibility``.

    Raises
    ------
    BadDataError
        The labels hold no basal ganglia, or have another shape than the scan.
    """
    if labels.shape != scan.data.shape:
        raise BadDataError(f"{scan.path}: scan {scan.data.shape} and labels {labels.shape} differ in shape.")
    ganglia = basal_ganglia_mask(labels)
    if not ganglia.any():
        raise BadDataError(f"{scan.path}: the labels hold no basal ganglia to plant EPVS in.")
    where = np.argwhere(ganglia).mean(axis=0)
    move = scan.affine[:3, :3] @ where + scan.affine[:3, 3] - np.array(REGION_CENTRE)
    anatomy = anatomy_of_labels(labels, scan.affine, move)
    lesions = draw_epvs(np.random.default_rng(seed), anatomy, n, distribution, visibility=visibility)
    fluid = fluid_of_scan(scan.data, labels)
    data = scan.data.copy()
    for lesion in lesions:
        mix(data, scan.affine, lesion, move, fluid)
    rows = [(*(x.tube.centre + move), x.tube.calibre, x.tube.length, x.level) for x in lesions]
    truth = pd.DataFrame(rows, columns=["x", "y", "z", "calibre", "length", "visibility"])
    return replace(scan, data=data), truth


def anatomy_of_labels(
    labels: NDArray[np.integer], affine: NDArray[np.float64], move: NDArray[np.float64]
) -> Anatomy:
    """Turn a label image into an anatomy of 1 mm voxels around the basal ganglia.

    Parameters
    ----------
    labels, affine
        FreeSurfer's labels and their geometry.
    move
        mm from the anatomy's space (centred on `REGION_CENTRE`) to the scanner's.
    """
    box = Box(shape=(96, 80, 64), voxel_size=1.0)
    table = np.zeros(int(max(labels.max(), 260)) + 1, dtype=np.uint8)
    for name, members in ATLAS_LABELS.items():
        table[list(members)] = TISSUES.index(name)
    to_index = np.linalg.inv(affine)
    voxels = np.indices(box.shape).reshape(3, -1)
    mm = box.affine[:3, :3] @ voxels + (box.affine[:3, 3] + move)[:, None]
    index = np.rint(to_index[:3, :3] @ mm + to_index[:3, 3:]).astype(int)
    inside = ((index >= 0) & (index < np.array(labels.shape)[:, None])).all(axis=0)
    tissues = np.zeros(box.shape, dtype=np.uint8)
    tissues.reshape(-1)[inside] = table[labels[tuple(index[:, inside])]]
    left = np.broadcast_to((np.arange(box.shape[0]) < box.shape[0] / 2)[:, None, None], box.shape)
    return Anatomy(box=box, tissues=tissues, left=left, commissure=(0.0, 2.5, -4.5))


def fluid_of_scan(data: Array, labels: NDArray[np.integer]) -> float:
    """Intensity of fluid: the upper tenth of the ventricles, at least `LEAST_CONTRAST` × the putamen."""
    tissue = float(np.median(data[np.isin(labels, (12, 51))])) if np.isin(labels, (12, 51)).any() else 0.0
    ventricles = data[np.isin(labels, (4, 43))]
    bright = float(np.percentile(ventricles, 90)) if ventricles.size else 0.0
    return max(bright, LEAST_CONTRAST * tissue)


def mix(
    data: Array, affine: NDArray[np.float64], lesion: Lesion, move: NDArray[np.float64], fluid: float
) -> None:
    """Mix one EPVS into a scan, in place, by the part of each voxel that it fills.

    Parameters
    ----------
    data, affine
        The scan.
    lesion
        In the space of the anatomy.
    move
        mm from that space to the scanner's.
    fluid
        Intensity of fluid on the scan.
    """
    fine = Box(shape=(64, 64, 64), voxel_size=0.4, centre=_as_triple(lesion.tube.centre))
    _, fraction = _whole_box(lesion, fine)
    to_fine = np.linalg.inv(fine.affine) @ _translation(-move) @ affine
    corners = np.array(list(product(*[(0.0, size - 1.0) for size in fine.shape])))
    back = np.linalg.inv(to_fine)
    seen = corners @ back[:3, :3].T + back[:3, 3]
    low = np.clip(np.floor(seen.min(axis=0)).astype(int), 0, data.shape)
    high = np.clip(np.ceil(seen.max(axis=0)).astype(int) + 1, low, data.shape)
    part = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    share = _voxel_means(fraction, to_fine, low, high - low)
    data[part] += share * np.float32(lesion.level) * np.maximum(np.float32(fluid) - data[part], 0)


def _whole_box(lesion: Lesion, box: Box) -> tuple[Box, Array]:
    """Volume fractions of a lesion on a whole box."""
    fraction = np.zeros(box.shape, np.float32)
    part, values = volume_fraction(lesion.tube, box.affine, box.shape)
    fraction[part] = values
    return box, fraction


def _voxel_means(
    fraction: Array, to_fine: NDArray[np.float64], low: NDArray[np.int_], shape: NDArray[np.int_]
) -> Array:
    """Mean of the fine fractions over each voxel of a part of the scan."""
    steps = np.linalg.norm(to_fine[:3, :3], axis=0)
    counts = [max(1, int(np.ceil(step * _SUBSAMPLE))) for step in steps]
    offsets = [(np.arange(count) + 0.5) / count - 0.5 for count in counts]
    total = np.zeros(shape, np.float32)
    voxels = np.indices(tuple(shape)).reshape(3, -1) + low[:, None]
    for offset in product(*offsets):
        at = to_fine[:3, :3] @ (voxels + np.array(offset)[:, None]) + to_fine[:3, 3:]
        total += ndimage.map_coordinates(fraction, at, order=1).reshape(total.shape)
    return total / np.float32(np.prod(counts))


def _translation(move: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, 3] = move
    return matrix


def _as_triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z
