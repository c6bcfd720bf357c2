"""Rigid registration by mutual information, and the check whether its result may be trusted.

The paper uses Elastix' default rigid registration; `elastix.PARAMETERS` names what differs here.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage

from epvs_bids.anatomy.grid import LPS, Matrix, as_shape, resample_to_grid, template_grid
from epvs_bids.anatomy.images import Volume
from epvs_bids.anatomy.initialisation import (
    LANDMARKS,
    Thin,
    centres_of,
    coarse_search,
    landmark_transform,
    mirrored,
    mutual_information,
    thin_out,
    turned_information,
)
from epvs_bids.anatomy.labels import bounding_box, brain_mask, dice
from epvs_bids.errors import BadDataError
from epvs_bids.files import atomic_write

_CHECK_VOXEL = 2.0
_RIM = 3.0
"""Millimetres around the brain in which the edge of a brain-extracted image guides the registration too."""
_LEAST_DICE = 0.6
_LEAST_INFORMATION = 0.05
_LARGEST_OFFSET = 15.0
_MOST_TURNED = 0.85
MIRRORED = (
    "the labels are a mirror image of a brain's; the orientation in the header of the scan or of the labels "
    "is wrong"
)


@dataclass(frozen=True)
class RigidTransform:
    """
    Where a point of the fixed image lies in the moving one.

    Parameters
    ----------
    matrix
        4 × 4, RAS millimetres of the fixed image to RAS millimetres of the moving image.
    metric
        Mutual information in nats at this position, in the fixed mask; larger is better.
    turned
        Mutual information after a half turn about an axis, relative to that at this position, both on the
        whole scan; not a number where it was not looked at, or the scan holds less than half of the brain.
    """

    matrix: Matrix
    metric: float = float("nan")
    turned: float = float("nan")

    def inverse(self) -> RigidTransform:
        """Return the transform from the moving image to the fixed one."""
        return replace(self, matrix=np.asarray(np.linalg.inv(self.matrix)))


@dataclass(frozen=True)
class RegistrationCheck:
    """
    Whether a registration may be trusted.

    Parameters
    ----------
    passed
        False where the brain is misplaced: that scan gets an error, not a score.
    reason
        Why it failed, in words; empty where it passed.
    dice
        Overlap of the brain masks in the part that the scan covers, 0 to 1.
    metric
        The transform's mutual information in nats.
    """

    passed: bool
    reason: str
    dice: float
    metric: float


def register_rigid(
    fixed: Volume,
    moving: Volume,
    *,
    fixed_mask: NDArray[np.bool_] | None = None,
    moving_mask: NDArray[np.bool_] | None = None,
    initial: Matrix | None = None,
    seed: int = 0,
) -> RigidTransform:
    """
    Find the rigid transform that lays a moving image on a fixed one.

    Parameters
    ----------
    fixed, moving
        The images; contrasts may differ.
    fixed_mask, moving_mask
        Brain masks on the images' own grids. With both, only the brains and their edges are compared, so that
        one of the images may be brain-extracted. With `fixed_mask` alone, samples are drawn inside it.
    initial
        4 × 4 start, RAS mm of fixed to RAS mm of moving. By default the best of a coarse search around the
        scanner's own coordinates and the centres of gravity.
    seed
        Seed of Elastix' random samples.

    Returns
    -------
    transform
        The same for the same input and seed, whatever the number of threads and processes.

    Raises
    ------
    BadDataError
        Elastix found too little overlap to go on.
    """
    from epvs_bids.anatomy.elastix import run_elastix

    both = fixed_mask is not None and moving_mask is not None
    fixed_thin = _prepare(fixed, fixed_mask, blank=both, sampled=True)
    moving_thin = _prepare(moving, moving_mask, blank=both, sampled=not both)
    if initial is None:
        initial = coarse_search(fixed_thin, moving_thin)
    shifted = Thin(moving_thin.data, moving_thin.mask, np.linalg.inv(initial) @ moving_thin.affine)
    matrix = initial @ run_elastix(fixed_thin, shifted, seed=seed)
    return RigidTransform(matrix, mutual_information(fixed_thin, moving_thin, matrix))


def _prepare(image: Volume, mask: NDArray[np.bool_] | None, *, blank: bool, sampled: bool) -> Thin:
    """Blank an image outside the brain where wanted, and cut it to what the registration needs.

    Only the image that is sampled needs a mask beyond its box: Elastix takes none of the moving one.
    """
    if mask is None:
        return thin_out(image.data, image.affine, None)
    reach = tuple(max(round(_RIM / size), 1) for size in image.voxel_sizes)
    box = bounding_box(mask, margin=reach)  # nothing outside it is looked at
    data = np.where(mask[box], image.data[box], np.float32(0)) if blank else image.data[box]
    rim = ndimage.maximum_filter(mask[box], size=tuple(2 * r + 1 for r in reach)) if sampled else None
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [part.start for part in box]
    return thin_out(data, affine, rim)


def save_itk(path: Path, matrix: Matrix) -> None:
    """
    Write a transform as ITK (ANTs, Elastix, SimpleITK, 3D Slicer) reads it.

    Parameters
    ----------
    path
        `.txt` or `.tfm`.
    matrix
        4 × 4, RAS mm of the fixed image to RAS mm of the moving image; written in LPS, as ITK has it.
    """
    lps = LPS @ matrix @ LPS
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    with atomic_write(path) as temporary:
        sitk.WriteTransform(transform, str(temporary))


def load_itk(path: Path) -> Matrix:
    """
    Read a linear transform that ITK, ANTs or `save_itk` wrote.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    matrix
        4 × 4 in RAS mm.

    Raises
    ------
    BadDataError
        No transform, or none that a matrix can hold.
    """
    try:
        transform = sitk.ReadTransform(str(path)).Downcast()
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(transform.GetMatrix()).reshape(3, 3)
        matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    except (RuntimeError, AttributeError) as error:
        raise BadDataError(
            f"{path}: not a linear transform in ITK's format. Remove it to have it made anew."
        ) from error
    return np.asarray(LPS @ matrix @ LPS)


def register_to_template(
    template: Volume,
    template_mask: NDArray[np.bool_],
    scan: Volume,
    labels: NDArray[np.integer],
    *,
    brain: NDArray[np.bool_] | None = None,
    seed: int = 0,
) -> RigidTransform:
    """
    Bring a scan that has labels to MNI space.

    The registration starts from the structures' centres, so it does not matter how the head lies in the
    scanner or how much of it was scanned.

    Parameters
    ----------
    template, template_mask
        The template and its brain mask.
    scan, labels
        The scan, and its label image on the same grid.
    brain
        `brain_mask(labels)`, where it is known.
    seed
        As in `register_rigid`.

    Returns
    -------
    transform
        From MNI mm to scan mm.
    """
    with ThreadPoolExecutor(1) as pool:
        centres = pool.submit(centres_of, labels, scan.affine, LANDMARKS)
        brain = brain_mask(labels) if brain is None else brain
        start = landmark_transform(centres.result())
    found = register_rigid(
        template,
        scan,
        fixed_mask=template_mask,
        moving_mask=brain,
        initial=None if start is None else start[0],
        seed=seed,
    )
    fixed = Thin(template.data, template_mask, template.affine)
    here, turned = turned_information(fixed, scan, found.matrix)
    return replace(found, turned=turned / here if here > 0 else float("nan"))


def check_registration(
    transform: RigidTransform,
    *,
    template_mask: NDArray[np.bool_],
    template_affine: Matrix,
    labels: NDArray[np.integer],
    affine: Matrix,
    brain: NDArray[np.bool_] | None = None,
) -> RegistrationCheck:
    """
    Decide whether a registration to MNI space may be trusted.

    Parameters
    ----------
    transform
        From MNI mm to scan mm.
    template_mask, template_affine
        Brain mask of the template.
    labels, affine
        Labels of the scan on its grid.
    brain
        `brain_mask(labels)`, where it is known.

    Returns
    -------
    check
        Failed where the brain masks overlap by a Dice below 0.6 in the part that the scan covers, where the
        structures lie more than 15 mm (root mean square) from where MNI space has them, or where mutual
        information is below 0.05 nats; also where the labels are a mirror image, or where a half turn leaves
        more than 0.85 of the mutual information: labels that are flipped agree with themselves. All
        thresholds are ours; docs/segmentation.md has what was measured.
    """
    if not np.isfinite(transform.matrix).all():
        return RegistrationCheck(
            False, "the brain is misplaced: no transform was found", 0.0, transform.metric
        )
    grid = template_grid(template_affine, as_shape(np.array(template_mask.shape)), _CHECK_VOXEL)
    expected = resample_to_grid(template_mask, template_affine, np.eye(4), grid, order=1) >= 0.5
    brain = brain_mask(labels) if brain is None else brain
    found = resample_to_grid(brain, affine, transform.matrix, grid, order=1) >= 0.5
    covered = resample_to_grid(np.ones(labels.shape, np.bool_), affine, transform.matrix, grid, order=0) > 0
    overlap = dice(expected & covered, found & covered)
    centres = centres_of(labels, affine, LANDMARKS)
    offset = _landmark_offset(transform, centres)
    reason = ""
    if mirrored(centres):
        reason = MIRRORED
    elif overlap < _LEAST_DICE:
        reason = (
            f"the brain is misplaced: its overlap with the template is {overlap:.2f}, below {_LEAST_DICE}"
        )
    elif offset > _LARGEST_OFFSET:
        reason = f"the structures lie {offset:.0f} mm from where MNI space has them"
    elif transform.turned > _MOST_TURNED:
        reason = "the scan fits the template as well after a half turn: its labels lie the wrong way round"
    elif transform.metric < _LEAST_INFORMATION:
        reason = f"scan and template share too little information ({transform.metric:.3f} nats)"
    return RegistrationCheck(passed=not reason, reason=reason, dice=overlap, metric=transform.metric)


def _landmark_offset(transform: RigidTransform, centres: Mapping[int, NDArray[np.float64]]) -> float:
    """Return the root mean square distance of the structures from their places in MNI space, in mm."""
    to_template = np.linalg.inv(transform.matrix)
    if not centres:
        return float("inf")
    apart = [apply_affine(to_template, c) - np.array(LANDMARKS[k]) for k, c in centres.items()]
    return float(np.sqrt(np.mean(np.sum(np.square(apart), axis=1))))
