"""Fitting a counting network's last line to a lab's own scores, its detection maps as they are.

The score is linear in sums of the detection maps: the EPVS map at several heights of the region, the other
maps as a whole. Least squares finds the line from the plain sum; how far the other weights may leave it is a
ridge penalty, chosen by the error in leaving one participant out. A few dozen scans are enough, without a
GPU.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from epvs_bids.errors import BadDataError
from epvs_bids.files import atomic_write
from epvs_bids.network.architecture import RegressionNetwork
from epvs_bids.network.data import RegionStore
from epvs_bids.network.heads import SumHead, hat_basis
from epvs_bids.network.inference import prepare

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]

PENALTIES = (*np.logspace(1.5, 4, 11).tolist(), np.inf)
"""Ridge penalties tried, relative to standardised sums; the last leaves the plain sum alone. Smaller ones let
the line follow chance in 40 scans, and gain nothing with 200 (docs/training.md)."""


def column_sums(network: RegressionNetwork, store: RegionStore, *, device: torch.device) -> Floats:
    """Add up the detection maps of every region over each axial layer of cells.

    Kept in a file beside the store: a learning curve needs them many times.

    Parameters
    ----------
    network : RegressionNetwork
        With a sum head.
    store : RegionStore
        n regions.
    device : torch.device
        Where the network runs.

    Returns
    -------
    ndarray
        (n, maps, z) sums of probabilities.
    """
    path = store.path.with_name(f"{store.path.stem}_sums-{_fingerprint(network, store)}.npy")
    if path.is_file():
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
    fast = prepare(network).to(device)
    layers = store.shape[2] // network.architecture.stride
    # Allocated at once: small arrays left between large freed ones would spoil those for the next region.
    result = np.empty((len(store), network.architecture.maps, layers))
    with torch.inference_mode():
        for index in range(len(store)):
            detections = fast.detection_map(store.region(index).to(device).float())
            result[index] = detections.sum(dim=(2, 3))[0].cpu().numpy()
            if (index + 1) % 50 == 0:
                logger.info("Detection maps of %d of %d regions are there.", index + 1, len(store))
    with atomic_write(path) as temporary:
        np.save(temporary, result)
    return result


def _fingerprint(network: RegressionNetwork, store: RegionStore) -> str:
    """Tell networks (without their readout) and stores apart."""
    digest = hashlib.sha256(f"{store.sha256} {network.architecture}".encode())
    for name, tensor in network.state_dict().items():
        if not name.startswith("head.readout"):
            digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Readout:
    """A fitted line.

    Parameters
    ----------
    weights : ndarray
        (maps, knots) EPVS a unit of sum.
    bias : float
        EPVS.
    penalty : float
        The ridge penalty chosen; infinite for the plain sum.
    left_out : ndarray
        (n,) prediction for each scan by the line fitted without its participant.
    """

    weights: Floats
    bias: float
    penalty: float
    left_out: Floats


def fit_readout(
    sums: Floats, scores: Floats, *, knots: int, participants: Sequence[str] | None = None
) -> Readout:
    """Fit scores to sums.

    Parameters
    ----------
    sums : ndarray
        (n, maps, z) of `column_sums`.
    scores : ndarray
        (n,) visual scores, n ≥ 3.
    knots : int
        Heights with a weight of their own.
    participants : sequence of str, optional
        (n,) whose scan each is; all of one are left out together. None: every scan is another one's.

    Raises
    ------
    BadDataError
        No EPVS is detected anywhere, so that there is nothing to fit.
    """
    count, maps, layers = sums.shape
    heights = sums[:, 0] @ hat_basis(layers, knots).double().numpy()
    plain = np.column_stack([np.ones(count), sums[:, 0].sum(axis=1)])
    if np.ptp(plain[:, 1]) <= 1e-9:
        raise BadDataError("The model detects the same in every scan; it does not fit these regions.")
    extra = np.column_stack([heights if knots > 1 else np.empty((count, 0)), sums[:, 1:].sum(axis=2)])
    scale = np.where(extra.std(axis=0) > 0, extra.std(axis=0), 1.0)
    people = np.arange(count) if participants is None else np.asarray(participants)
    fits = [_ridge(plain, extra / scale, scores, penalty, people) for penalty in PENALTIES]
    best = int(np.argmin([np.mean((fit[2] - scores) ** 2) for fit in fits]))
    line, others, left_out = fits[best]
    others = others / scale
    weights = np.zeros((maps, knots))
    weights[0] = line[1] + (others[:knots] if knots > 1 else 0.0)
    weights[1:] = others[-(maps - 1) :, None] if maps > 1 else 0.0
    return Readout(weights, float(line[0]), float(PENALTIES[best]), left_out)


def _ridge(
    plain: Floats, extra: Floats, y: Floats, penalty: float, people: NDArray[Any]
) -> tuple[Floats, Floats, Floats]:
    """Least squares with a penalty on the weights of `extra` only.

    Returns
    -------
    line, others, left_out
        Weights of `plain` and of `extra`, and the predictions of each y by a fit without its person's.
    """
    if np.isinf(penalty):
        extra = np.zeros_like(extra)
        penalty = 1.0
    design = np.column_stack([plain, extra])
    punish = np.diag([0.0] * plain.shape[1] + [penalty] * extra.shape[1])
    inverse = np.linalg.pinv(design.T @ design + punish)
    weights = inverse @ design.T @ y
    residuals, left_out = y - design @ weights, np.empty_like(y)
    for person in np.unique(people):
        own = np.flatnonzero(people == person)
        # Cook & Weisberg 1982, section 2.2: as if refitted without these rows. The 1e-9 is for a lever of 1.
        others = (1 + 1e-9) * np.eye(len(own)) - design[own] @ inverse @ design[own].T
        left_out[own] = y[own] - np.linalg.solve(others, residuals[own])
    return weights[: plain.shape[1]], weights[plain.shape[1] :], left_out


def install_readout(network: RegressionNetwork, readout: Readout) -> None:
    """Put a fitted line into a network's head, in place."""
    if not isinstance(network.head, SumHead):
        raise BadDataError("Only a network that counts by a detection map has a readout to fit.")
    with torch.no_grad():
        network.head.readout.weight.copy_(torch.from_numpy(readout.weights).reshape(1, -1))
        network.head.readout.bias.fill_(readout.bias)


def apply_readout(sums: Floats, readout: Readout) -> Floats:
    """Scores (n,) of column sums (n, maps, z)."""
    basis = hat_basis(sums.shape[2], readout.weights.shape[1]).double().numpy()
    scores: Floats = np.einsum("nkz,zp,kp->n", sums, basis, readout.weights) + readout.bias
    return scores
