"""One function that gives a scan its labels, whichever program made them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epvs_bids.anatomy import freesurfer
from epvs_bids.anatomy.existing import Existing, find_existing
from epvs_bids.anatomy.grid import Grid, Matrix, as_shape, resample_to_grid
from epvs_bids.anatomy.images import Volume, load_labels, load_volume
from epvs_bids.anatomy.initialisation import LANDMARKS, centres_of, mirrored
from epvs_bids.anatomy.labels import basal_ganglia_mask, brain_mask, largest_components
from epvs_bids.anatomy.registration import MIRRORED, RigidTransform, register_rigid
from epvs_bids.anatomy.samseg import run_samseg
from epvs_bids.anatomy.synthseg import run_synthseg
from epvs_bids.errors import BadDataError, MissingInputError, TryAgainError, UsageError

_LOGGER = logging.getLogger(__name__)

_LEAST_INFORMATION = 0.2
"""Nats that two images of one person must share, registered; docs/segmentation.md has what was measured."""


@dataclass(frozen=True)
class Segmentation:
    """
    The labels of a scan.

    Parameters
    ----------
    labels
        Integers on the scan's own grid, FreeSurfer's numbering; the largest part of each structure of the
        basal ganglia.
    affine
        4 × 4, the scan's.
    source
        The program that made them.
    notes
        What was done and what was passed over, for the log, the sidecar and the report.
    """

    labels: NDArray[np.integer]
    affine: Matrix
    source: str
    notes: list[str] = field(default_factory=list)


def segment(
    scan: Volume,
    *,
    choice: str,
    t1w: Path | None,
    freesurfer_dirs: Sequence[Path],
    participant: str,
    session: str | None,
    work_dir: Path,
    threads: int,
    licence: Path | None,
    sloppy: bool,
) -> Segmentation:
    """
    Find or make the labels of a scan.

    Parameters
    ----------
    scan
        The PD- or T2-weighted scan, three-dimensional.
    choice
        `auto`: a finished result, else FreeSurfer where there are a T1w scan, its programs and a licence,
        else SAMSEG. `existing`, `freesurfer`, `synthseg`, `samseg`: that one or an error.
    t1w
        T1w scan of the same person, for FreeSurfer and for results in its space.
    freesurfer_dirs
        Folders in which results may be found, first come first.
    participant, session
        Labels, without `sub-` and `ses-`.
    work_dir
        Folder for what the programs write.
    threads
        Number of threads.
    licence
        FreeSurfer's licence; looked at only when FreeSurfer is about to run.
    sloppy
        Quick and rough, for trials.

    Returns
    -------
    segmentation
        Labels on the scan's grid.

    Raises
    ------
    MissingInputError, BadDataError, TryAgainError
        There is no result, a program is missing or failed, or the result is still being made; it can't be
        laid on the scan, or is a mirror image.
    UsageError
        Unknown choice.
    """
    notes: list[str] = []
    if choice in ("auto", "existing"):
        search = find_existing(freesurfer_dirs, participant=participant, session=session)
        notes += search.unfinished
        for passed_over in search.unfinished:
            _LOGGER.warning("%s: passed over, %s", scan.path.name, passed_over)
        if search.found is not None:
            return _finish(scan, search.found, t1w=t1w, notes=notes)
        if choice == "existing":
            _refuse(search.unfinished, running=search.running, participant=participant)
    made = _make(scan, choice, t1w=t1w, work_dir=work_dir, threads=threads, licence=licence, sloppy=sloppy)
    return _finish(scan, made, t1w=t1w, notes=notes)


def _refuse(unfinished: tuple[str, ...], *, running: bool, participant: str) -> None:
    """Say why there is no existing result."""
    told = f" {'; '.join(unfinished)}." if unfinished else ""
    if running:
        raise TryAgainError(f"The segmentation of sub-{participant} is not there yet.{told}")
    raise MissingInputError(
        f"No finished segmentation of sub-{participant} was found.{told} Name its folder with "
        "--fs-subjects-dir or --derivatives, or let the app make one (--segmentation samseg)."
    )


def _make(
    scan: Volume,
    choice: str,
    *,
    t1w: Path | None,
    work_dir: Path,
    threads: int,
    licence: Path | None,
    sloppy: bool,
) -> Existing:
    """Run the program chosen."""
    if choice == "auto":
        ready = t1w is not None and freesurfer.can_run() and freesurfer.find_licence(licence) is not None
        choice = "freesurfer" if ready and not sloppy else "samseg"
    if choice == "samseg":
        return Existing(run_samseg(scan, work_dir / "samseg", threads=threads, sloppy=sloppy), "SAMSEG")
    if choice == "synthseg":
        return Existing(run_synthseg(scan.path, work_dir, threads=threads, sloppy=sloppy), "SynthSeg")
    if choice != "freesurfer":
        raise UsageError(f"Unknown segmentation {choice!r}.")
    if t1w is None:
        raise MissingInputError("FreeSurfer needs a T1w scan, and there is none of this participant.")
    labels, reference = freesurfer.run_freesurfer(t1w, work_dir, licence=licence, threads=threads)
    return Existing(labels, "FreeSurfer", reference)


def _finish(scan: Volume, result: Existing, *, t1w: Path | None, notes: list[str]) -> Segmentation:
    """Bring labels to the scan's grid and keep the largest part of each structure."""
    labels, affine = load_labels(result.labels)
    reference = result.reference
    if reference is None and result.in_t1w and not _same_grid(labels, affine, scan):
        if t1w is None:
            raise MissingInputError(f"{result.labels} lies in the space of a T1w scan that is not there.")
        reference = t1w
    here = _bring_to_scan(result.labels, labels, affine, scan, reference=reference, notes=notes)
    here, dropped = largest_components(here)
    if dropped:
        told = ", ".join(f"{name} {count}" for name, count in dropped.items())
        notes.append(f"the largest part of each structure was kept; voxels dropped: {told}")
    if not basal_ganglia_mask(here).any():
        raise BadDataError(f"{result.labels}: no basal ganglia inside the scan {scan.path.name}.")
    if mirrored(centres_of(here, scan.affine, LANDMARKS)):
        raise BadDataError(f"{result.labels}, on {scan.path.name}: {MIRRORED}.")
    _LOGGER.info("Labels of %s from %s (%s)", scan.path.name, result.program, result.labels)
    return Segmentation(here, scan.affine, result.program, notes)


def _same_grid(labels: NDArray[np.integer], affine: Matrix, scan: Volume) -> bool:
    """Tell whether labels lie on the scan's own grid, voxel on voxel."""
    return labels.shape == scan.data.shape and np.allclose(affine, scan.affine, atol=1e-3)


def _bring_to_scan(
    path: Path,
    labels: NDArray[np.integer],
    affine: Matrix,
    scan: Volume,
    *,
    reference: Path | None,
    notes: list[str],
) -> NDArray[np.integer]:
    """Resample labels to the scan's grid, through a rigid registration where another image was segmented."""
    if _same_grid(labels, affine, scan):
        return labels
    transform: Matrix = np.eye(4)
    if reference is not None:
        found = _register(path, brain_mask(labels), affine, scan, reference)
        transform = found.inverse().matrix
        notes.append(
            f"labels were brought from {reference.name} to the scan by rigid registration "
            f"(mutual information {found.metric:.2f} nats)"
        )
    grid = Grid(as_shape(np.array(scan.data.shape)), scan.affine)
    here = resample_to_grid(labels, affine, transform, grid, order=0)
    return np.rint(here).astype(labels.dtype)


def _register(
    path: Path, brain: NDArray[np.bool_], affine: Matrix, scan: Volume, reference: Path
) -> RigidTransform:
    """Lay the image that was segmented on the scan; refuse a pair that does not belong together."""
    image = load_volume(reference)
    grid = Grid(as_shape(np.array(image.data.shape)), image.affine)
    mask = resample_to_grid(brain, affine, np.eye(4), grid, order=0) > 0
    if not mask.any():
        raise BadDataError(
            f"{path}: its labels lie outside {reference}, which is taken for the image that was segmented. "
            "Remove one of them, or make the segmentation anew."
        )
    found = register_rigid(image, scan, fixed_mask=mask)
    if found.metric < _LEAST_INFORMATION:
        raise BadDataError(
            f"{path}: its image {reference} could not be laid on the scan {scan.path.name}: they share too "
            f"little information ({found.metric:.3f} nats). See whether both show the same person, and "
            "correct the orientation in their headers."
        )
    return found
