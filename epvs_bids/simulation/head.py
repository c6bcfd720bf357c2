"""Whole scans: a coarse head around a fine basal ganglia box, sampled by a scanner in its own pose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from epvs_bids.simulation import operators
from epvs_bids.simulation.acquisition import Texture, add_lesions, paint, rician
from epvs_bids.simulation.anatomy import Anatomy, Box, Person, draw_anatomy
from epvs_bids.simulation.contrast import Contrast, Sequence, draw_intensities, iron_gradient
from epvs_bids.simulation.lesions import Lesion
from epvs_bids.simulation.region import REGION, fluid_level
from epvs_bids.simulation.tissues import TISSUES, freesurfer_labels

Array = NDArray[np.float32]
Matrix = NDArray[np.float64]

HEAD = Box(shape=(112, 132, 112), voxel_size=1.6, centre=(0.0, -18.0, 6.0))
"""The whole head; its details outside the basal ganglia do not matter to the count."""
_BLEND = 5.0


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A person with everything that does not change between scans.

    Parameters
    ----------
    head, region
        Their anatomy, coarse and whole, fine and around the basal ganglia.
    lesions
        EPVS and mimics.
    relaxation
        (tissues, 3) relaxation times.
    iron
        Fraction by which iron has shortened T2 of the putamen in them.
    """

    head: Anatomy
    region: Anatomy
    lesions: tuple[Lesion, ...]
    relaxation: Matrix
    iron: float

    @property
    def epvs(self) -> list[Lesion]:
        """The EPVS alone."""
        return [lesion for lesion in self.lesions if lesion.kind == "epvs"]


@dataclass(frozen=True, kw_only=True)
class ScanGeometry:
    """Where a scanner's voxels lie.

    Parameters
    ----------
    shape
        (X, Y, Z).
    affine
        4 × 4, voxel index to RAS mm of the scanner.
    pose
        4 × 4, mm of the scanner to mm of the person (rigid).
    """

    shape: tuple[int, int, int]
    affine: Matrix
    pose: Matrix

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Edges in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)


def anatomies(person: Person) -> tuple[Anatomy, Anatomy]:
    """Draw a person's whole head and their basal ganglia region."""
    return draw_anatomy(person, HEAD), draw_anatomy(person, REGION)


def geometry(
    rng: np.random.Generator,
    voxel_size: tuple[float, float, float],
    *,
    field_of_view: tuple[float, float, float] = (164, 196, 168),
) -> ScanGeometry:
    """Draw a head position: rotations of 3°, shifts of 3 mm, and where the slices fall.

    Parameters
    ----------
    rng
        Source of randomness.
    voxel_size
        mm.
    field_of_view
        mm, about the head's centre.
    """
    shape = [round(length / size) for length, size in zip(field_of_view, voxel_size, strict=True)]
    angles = rng.normal(0, np.deg2rad(3), 3)
    pose = np.eye(4)
    for axis, angle in enumerate(angles):
        turn = np.eye(4)
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[j, i], turn[i, j] = np.sin(angle), -np.sin(angle)
        pose = turn @ pose
    pose[:3, 3] = np.array(HEAD.centre) + rng.normal(0, 3, 3)
    affine = np.diag([*voxel_size, 1.0])
    affine[:3, 3] = -np.array(voxel_size) * (np.array(shape) - 1) / 2 + rng.uniform(-0.5, 0.5, 3) * voxel_size
    return ScanGeometry(shape=(shape[0], shape[1], shape[2]), affine=affine, pose=pose)


def sample(volume: Array, box: Box, where: ScanGeometry, *, nearest: bool = False) -> Array:
    """Value of a volume at each of a scanner's voxels; 0 outside the box."""
    to_box = np.linalg.inv(box.affine) @ where.pose @ where.affine
    scale = 2.0 / (np.array(box.shape) - 1)
    theta = to_box[:3] * scale[:, None]
    theta[:, 3] -= 1
    axes = [torch.arange(size, dtype=torch.float32) for size in where.shape]
    grid = torch.empty(*where.shape, 3)
    for row in range(3):
        coefficient = [float(v) for v in theta[row]]
        grid[..., 2 - row] = (
            coefficient[0] * axes[0][:, None, None]
            + coefficient[1] * axes[1][None, :, None]
            + coefficient[2] * axes[2][None, None, :]
            + coefficient[3]
        )
    source = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None, None]
    mode = "nearest" if nearest else "bilinear"
    moved = torch.nn.functional.grid_sample(source, grid[None], mode=mode, align_corners=True)
    result: Array = moved[0, 0].numpy()
    return result


def _spread(image: Array, box: Box, voxel_size: tuple[float, float, float]) -> Array:
    """Blur by the scanner's point spread: slice profile along a thick axis, Gaussian of a voxel elsewhere."""
    matrices = []
    for axis, size in enumerate(voxel_size):
        positions = np.arange(box.shape[axis]) * box.voxel_size
        thick = size > 1.8 * min(voxel_size)
        kind: Literal["box", "gauss"] = "box" if thick else "gauss"
        width = size if thick else max(size, box.voxel_size)
        matrices.append(
            operators.point_spread(box.shape[axis], box.voxel_size, positions, width=width, kind=kind)
        )
    return operators.apply(image, matrices)


def _window(box: Box) -> Array:
    """1 in the middle of a box, 0 at its border, linear over `_BLEND` mm."""
    ramps = []
    for size in box.shape:
        distance = np.minimum(np.arange(size), np.arange(size)[::-1]) * box.voxel_size
        ramps.append(np.clip(distance / _BLEND, 0, 1))
    return np.asarray(ramps[0][:, None, None] * ramps[1][:, None] * ramps[2], dtype=np.float32)


def acquire(
    rng: np.random.Generator,
    subject: Subject,
    contrast: Contrast,
    where: ScanGeometry,
    *,
    look: np.random.Generator,
    noise: float = 0.03,
    bias: float = 0.06,
    texture: Texture | None = None,
) -> tuple[Array, Sequence]:
    """Scan a subject.

    Parameters
    ----------
    rng
        Source of randomness of this scan alone: receive field and noise.
    subject
        Who.
    contrast
        BIDS suffix.
    where
        Voxels and pose.
    look
        Source of what scans of one person with one protocol share: timing, intensities and texture.
    noise
        1 / SNR in white matter.
    bias
        Logarithmic standard deviation of the receive field.
    texture
        Variation within tissues; the default amount if not given. The putamen's gradient follows the iron.

    Returns
    -------
    scan
        float32 of the geometry's shape, white matter at about 1.
    sequence
        The timing drawn for it.
    """
    intensities, sequence = draw_intensities(look, contrast, subject.relaxation, jitter=0.02)
    gradient = iron_gradient(sequence, subject.relaxation, subject.iron)
    kind = replace(texture or Texture(), gradient=gradient)
    head = _spread(paint(look, subject.head, intensities, kind), HEAD, where.voxel_size)
    fine = paint(look, subject.region, intensities, kind)
    if contrast == "T1w":
        fluid, lesions = float(intensities[TISSUES.index("csf")]), [_on_t1w(x) for x in subject.lesions]
    else:
        fluid, lesions = fluid_level(intensities, 1.4), list(subject.lesions)
    add_lesions(fine, lesions, REGION, fluid=fluid)
    fine = _spread(fine, REGION, where.voxel_size)
    weight = sample(_window(REGION), REGION, where)
    clean = sample(head, HEAD, where) * (1 - weight) + sample(fine, REGION, where) * weight
    clean *= np.exp(np.float32(bias) * operators.smooth_field(rng, where.shape, 40 / min(where.voxel_size)))
    return rician(rng, clean, noise), sequence


def _on_t1w(lesion: Lesion) -> Lesion:
    """Darken what is brighter than white matter on PDw and T2w because its T1 and T2 are longer."""
    if lesion.kind in ("hyperintensity", "bridge"):
        return replace(lesion, level=1 / lesion.level)
    return lesion


def segmentation(subject: Subject, where: ScanGeometry) -> NDArray[np.int16]:
    """FreeSurfer-like labels of a subject on a scanner's grid."""
    result = np.zeros(where.shape, dtype=np.int16)
    inside = sample(np.ones(REGION.shape, np.float32), REGION, where) > 0.999
    for anatomy in (subject.head, subject.region):
        soft = anatomy.tissues.astype(np.float32)
        left = sample(anatomy.left.astype(np.float32), anatomy.box, where) > 0.5
        tissues = np.rint(sample(soft, anatomy.box, where, nearest=True)).astype(np.uint8)
        labels = freesurfer_labels(tissues, left)
        result = np.where(inside, labels, result) if anatomy is subject.region else labels
    return result


def in_scanner(where: ScanGeometry, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) mm of the person to mm of the scanner."""
    back = np.linalg.inv(where.pose)
    return np.asarray(points @ back[:3, :3].T + back[:3, 3])


def epvs_labels(subject: Subject, where: ScanGeometry) -> NDArray[np.uint8]:
    """Label image: 1 + index of the EPVS that fills a voxel; every EPVS (of at most 255) has one or more."""
    canvas = np.ones(REGION.shape, np.float32)
    labels = add_lesions(canvas, subject.epvs, REGION, fluid=2.0)
    grown = ndimage.grey_dilation(labels, size=3) if max(where.voxel_size) > 1.5 else labels
    sampled = sample(grown.astype(np.float32), REGION, where, nearest=True).astype(np.uint8)
    _label_the_missed(sampled, subject, where)
    return sampled


def _label_the_missed(labels: NDArray[np.uint8], subject: Subject, where: ScanGeometry) -> None:
    """Give each EPVS that no voxel's centre meets the nearest voxel that others can spare, in place."""
    sizes = np.bincount(labels.ravel(), minlength=len(subject.epvs) + 1)
    to_voxel = np.linalg.inv(where.affine)
    around = np.indices((7, 7, 7)).reshape(3, -1).T - 3
    for index in np.flatnonzero(sizes[1:] == 0):
        centre = in_scanner(where, subject.epvs[index].tube.centre[None])[0]
        centre = to_voxel[:3, :3] @ centre + to_voxel[:3, 3]
        near = np.rint(centre).astype(int) + around
        near = near[((near >= 0) & (near < labels.shape)).all(axis=1)]
        near = near[sizes[labels[tuple(near.T)]] > 1]
        voxel = tuple(near[np.linalg.norm((near - centre) * where.voxel_size, axis=1).argmin()])
        sizes[labels[voxel]] -= 1
        sizes[index + 1] = 1
        labels[voxel] = index + 1
