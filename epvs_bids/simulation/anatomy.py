"""One simulated person's anatomy: the shipped label atlas, deformed, roughened and aged.

The atlas (`epvs_bids/data/anatomy/labels.nii.gz`, 1 mm, MNI152 2009a) is what `tools/make_anatomy_atlas.py`
makes of samseg's probabilistic atlas (Puonti, Iglesias and Van Leemput 2016, NeuroImage 143:235; MIT licence)
and nilearn's MNI152 tissue maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from epvs_bids.simulation import operators
from epvs_bids.simulation.tissues import ATLAS_LABELS, GANGLIA, TISSUES

Array = NDArray[np.float32]
Shape = tuple[int, int, int]

ATLAS = Path(str(files("epvs_bids") / "data" / "anatomy" / "labels.nii.gz"))
COMMISSURE = (0.0, 2.5, -4.5)
"""Anterior commissure in MNI millimetres."""
REGION_CENTRE = (0.0, 3.0, 1.0)
"""Centre of mass of the atlas' basal ganglia in MNI millimetres."""
SIZE = (0.88, 1.01, 0.94)
"""Mean size of a head along x, y, z relative to the MNI template, which most heads have to be enlarged to fit
(Buckner et al. 2004, NeuroImage 23:724), more so across than along: the masks of six real scans
(docs/simulation.md) are 65 mm wide and 48 mm long in the slice of the anterior commissure."""
_MARGIN = 14.0
_LATTICE = (20, 23, 20)
_SPACING = 12.0
"""Points and distance in mm of the lattice on which the smooth deformation is drawn."""
_OWN, _MIRRORED = 0.894, 0.447
"""Shares of a side's deformation that are its own and the other's: a correlation of 0.8 between the two."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A grid of isotropic voxels, parallel to the MNI axes, in which a person is drawn.

    Parameters
    ----------
    shape
        Voxels (X, Y, Z), RAS.
    voxel_size
        mm.
    centre
        RAS mm of the middle of the box.
    """

    shape: Shape
    voxel_size: float
    centre: tuple[float, float, float] = REGION_CENTRE

    @property
    def affine(self) -> NDArray[np.float64]:
        """4 × 4, voxel index to RAS mm."""
        affine = np.diag([self.voxel_size] * 3 + [1.0])
        affine[:3, 3] = np.array(self.centre) - self.voxel_size * (np.array(self.shape) - 1) / 2
        return affine


@dataclass(frozen=True, kw_only=True)
class Person:
    """What makes one anatomy differ from the next; drawn once a person, used for every scan.

    Parameters
    ----------
    seed
        Of the smooth deformation and of the roughness of the outlines.
    scale
        Size relative to the atlas along x, y, z.
    rotation
        Residual rotation in radians about x, y, z.
    shift
        Residual translation in mm.
    deformation
        Standard deviation in mm of the smooth deformation.
    ventricles, sulci
        Log-odds added to ventricles and to sulcal CSF: above 0 they are wider (atrophy).
    horns
        mm by which the frontal horns reach further down along the caudate than the atlas'.
    """

    seed: int
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deformation: float = 1.2
    ventricles: float = 0.0
    horns: float = 0.0
    sulci: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """Tissues of one person in one box.

    Parameters
    ----------
    box
        Where.
    tissues
        uint8 (X, Y, Z), index into `TISSUES`.
    left
        Boolean (X, Y, Z): the left hemisphere.
    commissure
        RAS mm of the anterior commissure.
    """

    box: Box
    tissues: NDArray[np.uint8]
    left: NDArray[np.bool_]
    commissure: tuple[float, float, float]

    @property
    def ganglia(self) -> NDArray[np.bool_]:
        """Boolean (X, Y, Z): caudate, putamen, pallidum, accumbens."""
        return np.isin(self.tissues, [TISSUES.index(name) for name in GANGLIA])


def draw_person(rng: np.random.Generator, *, age: float | None = None, pose: float = 0.05) -> Person:
    """Draw a person.

    Parameters
    ----------
    rng
        Source of randomness.
    age
        Years; ventricles and sulci widen with it. None for a random width.
    pose
        Standard deviation in radians of the rotation that is left after a rigid registration.
    """
    width = rng.normal(0.0, 0.5) if age is None else (age - 65) / 15 * 0.4 + rng.normal(0, 0.3)
    common = rng.normal(1.0, 0.04)
    scale = common * np.array(SIZE) * rng.normal(1.0, 0.025, 3)
    rotation, shift = rng.normal(0, pose, 3), rng.normal(0, 20 * pose, 3)
    return Person(
        seed=int(rng.integers(2**32)),
        scale=(float(scale[0]), float(scale[1]), float(scale[2])),
        rotation=(float(rotation[0]), float(rotation[1]), float(rotation[2])),
        shift=(float(shift[0]), float(shift[1]), float(shift[2])),
        deformation=float(rng.uniform(0.5, 1.5)),
        ventricles=float(width + rng.normal(0, 0.3)),
        horns=float(np.clip(3 + 2 * width + rng.normal(0, 1.5), 0, 7)),
        sulci=float(width + rng.normal(0, 0.3)),
    )


@lru_cache(maxsize=4)
def _atlas(box: Box) -> tuple[torch.Tensor, NDArray[np.float64], tuple[int, ...]]:
    """Soft tissue maps of the atlas around a box (1, C, X, Y, Z), their affine, each channel's tissue.

    The maps are the mean of the atlas and its mirror image: its one brain's asymmetry is not everybody's.
    """
    image: Any = nib.load(ATLAS)
    labels, affine = np.asarray(image.dataobj), np.asarray(image.affine)
    half = np.array(box.shape) * box.voxel_size / 2 + _MARGIN
    centre = np.array(box.centre) - affine[:3, 3]
    low = np.maximum(np.floor(centre - half).astype(int), 0)
    high = np.minimum(np.ceil(centre + half).astype(int) + 1, labels.shape)
    crop = labels[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    maps, tissues = [], []
    for index, name in enumerate(TISSUES):
        member = np.isin(crop, ATLAS_LABELS[name]) if name in ATLAS_LABELS else crop == 0
        if member.any():
            sigma = 0.55 if name in ("claustrum", "csf", "choroid") else 0.9
            maps.append(ndimage.gaussian_filter(member.astype(np.float32), sigma))
            tissues.append(index)
    moved = affine.copy()
    moved[:3, 3] += low
    both = np.stack(maps)
    opposite = np.rint(-2 * moved[0, 3] - np.arange(both.shape[1])).astype(int)
    both = (both + both[:, np.clip(opposite, 0, both.shape[1] - 1)]) / 2
    return torch.from_numpy(both)[None], moved, tuple(tissues)


@lru_cache(maxsize=4)
def _beside_caudate(box: Box) -> torch.Tensor:
    """Where frontal horns may reach down, 0 to 1, on the atlas maps' grid: near the caudate, no thalamus."""
    maps, _, tissues = _atlas(box)
    caudate, thalamus = (maps[0, tissues.index(TISSUES.index(name))] for name in ("caudate", "thalamus"))
    near = torch.from_numpy(ndimage.gaussian_filter(caudate.numpy(), 2.5))
    return near.mul(6).clamp(max=1) * (1 - thalamus)


def _lower_horns(box: Box, depth: float) -> torch.Tensor:
    """Copy of the atlas maps, 1 mm, with the ventricle moved down by `depth` mm beside the caudate."""
    maps, _, tissues = _atlas(box)
    lowered, whole = maps.clone(), int(depth)
    ventricle = lowered[0, tissues.index(TISSUES.index("ventricle"))]
    below = [ventricle.roll(-step, dims=2) for step in (whole, whole + 1)]
    moved = torch.lerp(below[0], below[1], depth - whole) * _beside_caudate(box)
    torch.maximum(ventricle, moved, out=ventricle)
    return lowered


def _rotation(angles: tuple[float, float, float]) -> NDArray[np.float64]:
    """3 × 3 matrix of rotations about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def _template_positions(person: Person, box: Box, affine: NDArray[np.float64]) -> list[Array]:
    """Where each voxel of the box lies in the atlas crop, in its voxels: three float32 (X, Y, Z).

    The smooth deformation is drawn on a 12 mm lattice fixed to the atlas' origin, so that a person looks the
    same in boxes of any size.
    """
    centre = np.array(REGION_CENTRE)
    turn = np.diag(1 / np.array(person.scale)) @ _rotation(person.rotation).T
    linear = turn @ box.affine[:3, :3]
    offset = turn @ (box.affine[:3, 3] - np.array(person.shift) - centre) + centre - affine[:3, 3]
    axes = [np.arange(size, dtype=np.float32) for size in box.shape]
    rng = np.random.default_rng(person.seed)
    lattice = _alike(rng.standard_normal((3, *_LATTICE), dtype=np.float32)) * person.deformation
    positions = []
    for row in range(3):
        grid = np.float32(offset[row]) + np.zeros(box.shape, np.float32)
        for axis, index in enumerate(axes):
            grid += np.float32(linear[row, axis]) * np.expand_dims(index, [a for a in range(3) if a != axis])
        positions.append(grid + operators.apply(lattice[row], _lattice_matrices(box)))
    return positions


def _alike(lattice: Array) -> Array:
    """Make the deformations of left and right alike: (3, X, Y, Z), points x and X − x are mirror images."""
    mirrored = np.roll(lattice[:, ::-1], 1, axis=1)
    mirrored[0] *= -1
    return np.asarray(_OWN * lattice + _MIRRORED * mirrored, dtype=np.float32)


def _lattice_matrices(box: Box) -> list[Array]:
    """Matrices from the lattice to the box."""
    matrices = []
    for axis, count in enumerate(_LATTICE):
        mm = box.affine[axis, 3] + np.arange(box.shape[axis]) * box.voxel_size
        matrices.append(operators.spline_noise(count, mm / _SPACING + count / 2 + (0, 1.5, 0)[axis]))
    return matrices


def draw_anatomy(person: Person, box: Box) -> Anatomy:
    """Draw a person's tissues.

    Parameters
    ----------
    person
        Who.
    box
        Where; MNI millimetres.

    Returns
    -------
    anatomy
        The most probable tissue of each voxel, after deformation, with rough outlines.
    """
    maps, affine, tissues = _atlas(box)
    rng = np.random.default_rng(person.seed + 1)
    spans = maps.shape[2:]
    noisy = _lower_horns(box, person.horns)
    for channel, tissue in enumerate(tissues):
        rough = 0.10 if TISSUES[tissue] in GANGLIA else 0.22
        field = rough * operators.smooth_field(rng, spans, 3.0)
        noisy[0, channel] += noisy[0, channel].clamp(max=0.3) * torch.from_numpy(field)
        extra = {"ventricle": person.ventricles, "csf": person.sulci}.get(TISSUES[tissue], 0.0)
        noisy[0, channel] *= float(np.exp(extra))
    positions = _template_positions(person, box, affine)
    grid = [torch.from_numpy(p * (2 / (n - 1)) - 1) for p, n in zip(positions, spans, strict=True)]
    warped = torch.nn.functional.grid_sample(
        noisy, torch.stack(grid[::-1], dim=-1)[None], align_corners=True, padding_mode="border"
    )
    return Anatomy(
        box=box,
        tissues=_most_probable(warped[0].numpy(), tissues),
        left=positions[0] + np.float32(affine[0, 3]) < 0,
        commissure=_commissure(positions, affine, box),
    )


def _most_probable(maps: Array, tissues: tuple[int, ...]) -> NDArray[np.uint8]:
    """Tissue of the highest of (C, X, Y, Z) maps (quicker than argmax along the first axis)."""
    best = maps[0].copy()
    winner = np.full(best.shape, tissues[0], dtype=np.uint8)
    for channel, tissue in zip(maps[1:], tissues[1:], strict=True):
        winner[channel > best] = tissue
        np.maximum(best, channel, out=best)
    return winner


def _commissure(positions: list[Array], affine: NDArray[np.float64], box: Box) -> tuple[float, float, float]:
    """RAS mm of the voxel that maps nearest to the atlas' anterior commissure."""
    target = np.array(COMMISSURE) - affine[:3, 3]
    step = 4
    coarse = [p[::step, ::step, ::step] for p in positions]
    distance = sum((p - np.float32(t)) ** 2 for p, t in zip(coarse, target, strict=True))
    nearest = np.array(np.unravel_index(int(np.argmin(distance)), coarse[0].shape)) * step
    residual = target - np.array([p[tuple(nearest)] for p in positions])
    x, y, z = box.affine[:3, :3] @ nearest + box.affine[:3, 3] + residual
    return float(x), float(y), float(z)
