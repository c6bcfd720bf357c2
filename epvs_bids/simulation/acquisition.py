"""From tissue to scan: texture, lesions, bias field, the scanner's voxels and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from epvs_bids.simulation import operators
from epvs_bids.simulation.anatomy import Anatomy, Box
from epvs_bids.simulation.lesions import Lesion
from epvs_bids.simulation.tissues import TISSUES
from epvs_bids.simulation.tubes import volume_fraction

Array = NDArray[np.float32]
_FLUIDS = ("csf", "ventricle")
_GRANULAR = 0.3


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a scan samples a person.

    Parameters
    ----------
    voxel_size
        mm along x, y, z.
    thick_axis
        Axis of the slices (0, 1, 2), or None for a three-dimensional acquisition.
    in_plane
        ``sinc`` rings at edges (no filter), ``gauss`` does not.
    blur
        Width of the point-spread function relative to the voxel.
    noise
        Standard deviation of each channel relative to white matter (1 / SNR).
    smoothing
        Standard deviation in voxels of a Gaussian filter after the noise, as resampling leaves it.
    sharpening
        How much of what a filter of 0.7 voxels removes is added, as scanners' edge enhancement does.
    zero_filling
        Along x, y, z: how much larger the voxels are that k-space holds; the scanner interpolates them to
        `voxel_size`, which leaves the noise correlated.
    regrid
        Edge in mm of isotropic voxels to which the scan was linearly resampled before it was shared, or 0.
    bias
        Standard deviation of the logarithm of the receive field.
    offset
        Shift of the voxel grid in voxels, along x, y, z.
    """

    voxel_size: tuple[float, float, float]
    thick_axis: int | None = None
    in_plane: Literal["sinc", "gauss"] = "gauss"
    blur: float = 1.0
    noise: float = 0.03
    smoothing: float = 0.0
    sharpening: float = 0.0
    zero_filling: tuple[float, float, float] = (1.0, 1.0, 1.0)
    regrid: float = 0.0
    bias: float = 0.05
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Texture:
    """Variation within a tissue, as standard deviations relative to its intensity.

    Parameters
    ----------
    fine, coarse
        At the size of `grain` and at 8 mm.
    grain
        mm.
    uneven
        Standard deviation, over places 5 mm wide, of the logarithm of how strong `fine` is; its mean square
        stays the same. Real tissue is smooth in one place and mottled in another (our choice).
    fluid
        Of CSF, whose flow makes it uneven, at 5 mm; outside the ventricles as much again at 1.5 mm.
    patchy
        Of the pallidum, whose iron and calcium are uneven, at 3 mm; in the putamen half as much.
    gradient
        Logarithm by which the putamen darkens from its middle to its posterolateral end and brightens to the
        anteromedial one, as its iron does (Steffens et al. 1996, Psychiatry Res 68:55); iron is granular, so
        that putamen and pallidum vary by `_GRANULAR` of it at 2.5 mm.
    lamina
        How much of white matter the medullary laminae have: one along the putamen, one within the pallidum.
    transition
        Standard deviation in mm of the gradual change from one tissue to the next at the pallidum; a third of
        it elsewhere (fluid keeps its borders).
    """

    fine: float = 0.02
    coarse: float = 0.03
    grain: float = 1.5
    uneven: float = 0.4
    fluid: float = 0.12
    patchy: float = 0.08
    gradient: float = 0.0
    lamina: float = 0.4
    transition: float = 0.8


def paint(rng: np.random.Generator, anatomy: Anatomy, intensities: Array, texture: Texture) -> Array:
    """Give every voxel its tissue's intensity and texture.

    Parameters
    ----------
    rng
        Source of randomness.
    anatomy
        Tissues.
    intensities
        float32, one per tissue.
    texture
        How much a tissue varies.

    Returns
    -------
    image
        float32 of the anatomy's shape.
    """
    shape, size = anatomy.tissues.shape, anatomy.box.voxel_size
    image: Array = np.asarray(intensities, dtype=np.float32)[anatomy.tissues]
    fine = operators.smooth_field(rng, shape, texture.grain / size)
    coarse = operators.smooth_field(rng, shape, 8 / size)
    flow = operators.smooth_field(rng, shape, 5 / size)
    is_fluid = np.isin(np.arange(len(TISSUES)), [TISSUES.index(name) for name in _FLUIDS])
    weight = np.where(is_fluid, texture.fluid, 0.0).astype(np.float32)[anatomy.tissues]
    share = np.zeros(len(TISSUES), np.float32)
    share[[TISSUES.index("pallidum"), TISSUES.index("putamen")]] = texture.patchy, texture.patchy / 2
    iron = share[anatomy.tissues] * operators.smooth_field(rng, shape, 3 / size)
    if texture.uneven:  # `flow` shows in fluid alone, so that tissue can use it for this
        fine *= np.exp(np.float32(texture.uneven) * flow - np.float32(texture.uneven**2))
    variation = texture.fine * fine + texture.coarse * coarse + iron
    if texture.gradient:
        rough = operators.smooth_field(rng, shape, 2.5 / size)
        variation += np.where(share > 0, np.float32(_GRANULAR * texture.gradient), 0)[anatomy.tissues] * rough
    rough_fluid = operators.smooth_field(rng, shape, 1.5 / size)
    flow = flow + np.where(anatomy.tissues == TISSUES.index("csf"), rough_fluid, 0)
    image *= np.maximum(1 + np.where(weight > 0, weight * flow, variation), 0.2)
    if texture.gradient:
        _darken_putamen(image, anatomy, texture.gradient)
    if texture.lamina:
        _add_laminae(image, anatomy, float(intensities[TISSUES.index("white")]), texture.lamina)
    if texture.transition:
        image = np.where(weight > 0, image, _soften(image, weight > 0, anatomy, texture.transition))
    return image


def _soften(image: Array, fluid: NDArray[np.bool_], anatomy: Anatomy, width: float) -> Array:
    """Blur borders by `width` mm at the pallidum, whose fibres fan out, by a third of it elsewhere."""
    size = anatomy.box.voxel_size
    tissue = np.where(fluid, np.float32(1), image)
    crisp = ndimage.gaussian_filter(tissue, width / 3 / size)
    inside = anatomy.tissues == TISSUES.index("pallidum")
    if not inside.any():
        return np.asarray(crisp)
    (box,) = ndimage.find_objects(inside.astype(np.uint8))
    part = tuple(slice(max(side.start - 8, 0), side.stop + 8) for side in box)
    share = np.minimum(ndimage.gaussian_filter(inside[part].astype(np.float32), 1.2 / size) * 2, 1)
    soft = ndimage.gaussian_filter(tissue[part], width / size)
    crisp[part] += share * (soft - crisp[part])
    return np.asarray(crisp)


def _darken_putamen(image: Array, anatomy: Anatomy, gradient: float) -> None:
    """Multiply the putamen, in place, by exp(−gradient × t), t from −1 to 1 (posterolateral end)."""
    inside = anatomy.tissues == TISSUES.index("putamen")
    x, y, _ = np.nonzero(inside)
    affine = anatomy.box.affine
    along = 0.5 * np.abs(affine[0, 0] * x + affine[0, 3]) - 0.87 * (affine[1, 1] * y + affine[1, 3])
    t = (along - along.mean()) / (2 * along.std())
    image[inside] *= np.exp(-gradient * np.clip(t, -1, 1)).astype(np.float32)


def _add_laminae(image: Array, anatomy: Anatomy, white: float, share: float) -> None:
    """Blend the medullary laminae, 0.7 mm wide, into the pallidum, in place.

    The lateral one lies along the putamen, the medial one at two thirds of the way to the inner border.
    """
    inside = anatomy.tissues == TISSUES.index("pallidum")
    if not inside.any():
        return
    size = anatomy.box.voxel_size
    (box,) = ndimage.find_objects(inside.astype(np.uint8))
    part = tuple(slice(max(side.start - 2, 0), side.stop + 2) for side in box)
    tissues, pallidum = anatomy.tissues[part], inside[part]
    to_putamen = ndimage.distance_transform_edt(tissues != TISSUES.index("putamen")) * size
    to_border = ndimage.distance_transform_edt(pallidum | (tissues == TISSUES.index("putamen"))) * size
    medial = 2 / 3 * (to_putamen + to_border)
    weight = np.maximum(np.exp(-((to_putamen / 0.7) ** 2)), np.exp(-(((to_putamen - medial) / 0.5) ** 2)))
    weight = np.where(pallidum, share * weight, 0).astype(np.float32)
    image[part] += weight * (np.float32(white) - image[part])


def add_lesions(image: Array, lesions: Sequence[Lesion], box: Box, *, fluid: float) -> NDArray[np.uint8]:
    """Put lesions into an image, in place.

    Parameters
    ----------
    image
        float32 (X, Y, Z).
    lesions
        EPVS and lacunes go towards `fluid`; everything else multiplies the tissue.
    box
        The image's grid.
    fluid
        Intensity of the fluid in perivascular spaces.

    Returns
    -------
    labels
        uint8: 1 + the index (among the EPVS, up to 255) of the EPVS that fills over 30 % of a voxel, else 0.
    """
    labels = np.zeros(image.shape, dtype=np.uint8)
    index = 0
    for lesion in lesions:
        part, fraction = volume_fraction(lesion.tube, box.affine, image.shape, soft=lesion.soft)
        if lesion.kind in ("epvs", "lacune", "thread"):
            image[part] += fraction * np.float32(lesion.level) * (np.float32(fluid) - image[part])
        else:
            image[part] *= 1 + fraction * np.float32(lesion.level - 1)
        if lesion.kind == "epvs":
            index += 1
            labels[part][fraction > 0.3] = min(index, 255)
    return labels


def grid_positions(
    box: Box, size: float, offset: float, axis: int, *, span: float | None = None
) -> NDArray[np.float64]:
    """Centres of voxels of `size` mm along an axis, in mm from the centre of the box's first voxel.

    They cover `span` mm (the box by default), in its middle but for a shift of `offset` voxels.
    """
    count, step = box.shape[axis], box.voxel_size
    samples = max(4, int(np.ceil((span or count * step) / size)) + 1)
    return np.asarray((np.arange(samples) - (samples - 1) / 2 + offset) * size + (count - 1) * step / 2)


def sampling(box: Box, protocol: Protocol, axis: int, *, span: float | None = None) -> tuple[Array, Array]:
    """Matrices along one axis: fine voxels to the scanner's voxels, and those back to fine voxels.

    Parameters
    ----------
    box
        Fine grid.
    protocol
        Scanner's voxels.
    axis
        0, 1 or 2.
    span
        Length in mm that the scanner covers; the box by default.

    Returns
    -------
    acquire
        (scanner's voxels, fine voxels).
    restore
        (fine voxels, scanner's voxels): cubic B-spline, of the scan that was linearly resampled if it was.
    """
    count, step = box.shape[axis], box.voxel_size
    size = protocol.voxel_size[axis] * protocol.zero_filling[axis]
    positions = grid_positions(box, size, protocol.offset[axis], axis, span=span)
    samples = len(positions)
    kind: Literal["box", "sinc", "gauss"] = "box" if axis == protocol.thick_axis else protocol.in_plane
    width = size * (1.0 if kind == "box" else protocol.blur)
    acquire = operators.point_spread(count, step, positions, width=width, kind=kind)
    fine = (np.arange(count) * step - positions[0]) / size
    if not protocol.regrid:
        return acquire, operators.spline(samples, fine)
    factor = protocol.regrid / size
    kept = max(4, int((samples - 1) / factor) + 1)
    start = (samples - 1 - (kept - 1) * factor) / 2
    resample = operators.linear(samples, start + factor * np.arange(kept))
    return acquire, operators.spline(kept, (fine - start) / factor) @ resample


def bias_field(rng: np.random.Generator, box: Box, strength: float) -> Array:
    """Smooth receive field: exp(strength × a field of standard deviation 1 at 35 mm)."""
    field: Array = np.float32(strength) * operators.smooth_field(rng, box.shape, 35 / box.voxel_size)
    return np.asarray(np.exp(field))


def rician(rng: np.random.Generator, clean: Array, noise: float) -> Array:
    """Magnitude of a complex signal with normal noise of standard deviation `noise` in each channel."""
    shape = clean.shape
    real = clean + np.float32(noise) * rng.standard_normal(shape, dtype=np.float32)
    imaginary = np.float32(noise) * rng.standard_normal(shape, dtype=np.float32)
    return np.asarray(np.sqrt(real * real + imaginary * imaginary))


def filtered(image: Array, protocol: Protocol) -> Array:
    """Smooth and sharpen a scan on its own grid, as its protocol says."""
    if protocol.smoothing:
        image = ndimage.gaussian_filter(image, protocol.smoothing)
    if protocol.sharpening:
        image = image + np.float32(protocol.sharpening) * (image - ndimage.gaussian_filter(image, 0.7))
    return image


def scan(rng: np.random.Generator, image: Array, box: Box, protocol: Protocol) -> Array:
    """Sample an image with a scanner's voxels and noise, and bring it back to the fine grid.

    Parameters
    ----------
    rng
        Source of randomness.
    image
        float32 on the fine grid, white matter at about 1.
    box
        The fine grid.
    protocol
        How.

    Returns
    -------
    scan
        float32, shape of `image`, at least 0: what one cubic B-spline interpolation of the scan gives.
    """
    matrices = [sampling(box, protocol, axis) for axis in range(3)]
    clean = operators.apply(image * bias_field(rng, box, protocol.bias), [pair[0] for pair in matrices])
    noisy = filtered(rician(rng, clean, protocol.noise), protocol)
    return np.maximum(operators.apply(noisy, [pair[1] for pair in matrices]), 0)
