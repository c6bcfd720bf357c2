"""Reading and writing of volumes, with a named error or warning for what can be wrong with a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import DTypeLike, NDArray

from epvs_bids.anatomy.image_files import MOST_VOXELS, open_image, write_image
from epvs_bids.errors import BadDataError

Matrix = NDArray[np.float64]

_SMALLEST_AXIS, _LARGEST_AXIS = 8, 2048
_THICK_SLICE = 2.0
_SHORT_FIELD_OF_VIEW = 100.0
_STRIPPED_ZERO_FRACTION, _STRIPPED_VOLUME = 0.4, 2.0e6


@dataclass(frozen=True)
class Volume:
    """
    A three-dimensional image and where it lies.

    Parameters
    ----------
    data
        float32, shape (X, Y, Z), in the orientation of the file.
    affine
        4 × 4, voxel index to RAS millimetres of the scanner.
    path
        The file.
    warnings
        What the reader of the results should know: thick slices, partial coverage, odd headers …
    brain_extracted
        Whether everything but the brain has been set to zero.
    """

    data: NDArray[np.float32]
    affine: Matrix
    path: Path
    warnings: tuple[str, ...] = field(default=())
    brain_extracted: bool = False

    @property
    def voxel_sizes(self) -> tuple[float, float, float]:
        """Edges of a voxel in mm, in the order of the axes of `data`."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)


def load_volume(path: Path, *, volume: int | None = None) -> Volume:
    """
    Read a scan and check it.

    The file is read once, to its end: a gzip stream's length and CRC are checked on the way.

    Parameters
    ----------
    path
        `.nii`, `.nii.gz`, `.mgh` or `.mgz`.
    volume
        Index along the fourth axis (`PDT2` holds two). `None`: it holds one volume, as `(x, y, z, 1)` does.

    Returns
    -------
    volume
        The scan, with warnings for the log and the report.

    Raises
    ------
    MissingInputError
        No such file, or a link (of git-annex, say) whose content is not here.
    BadDataError
        Empty, truncated, damaged, no image, too small or too large, 4D, in colour or complex, not a number,
        constant, or with a geometry that contradicts itself. Names the file and what to do.
    """
    image = open_image(path)
    _check_type(path, image)
    shape = _checked_shape(path, tuple(int(n) for n in image.shape), volume)
    affine, warnings = _checked_affine(path, image)
    data = _values(path, image, volume, np.float32)
    _check_values(path, data)
    warnings += _coverage_warnings(affine, shape)
    extracted = is_brain_extracted(data, affine)
    if extracted:
        warnings.append("the scan is brain-extracted: tissue at the edge of the brain may be missing")
    return Volume(data, affine, path, tuple(warnings), extracted)


def load_labels(path: Path) -> tuple[NDArray[np.int16] | NDArray[np.int32], Matrix]:
    """
    Read a label image.

    Parameters
    ----------
    path
        `.nii`, `.nii.gz`, `.mgh` or `.mgz`.

    Returns
    -------
    labels
        int16, int32 where there are larger ones; shape (X, Y, Z).
    affine
        4 × 4, voxel index to RAS millimetres.

    Raises
    ------
    MissingInputError, BadDataError
        As `load_volume`; an image without any label is refused too.
    """
    image = open_image(path)
    _check_type(path, image)
    _checked_shape(path, tuple(int(n) for n in image.shape), None)
    affine, _ = _checked_affine(path, image)
    values = _values(path, image, None, None if _holds_integers(image) else np.float32)
    low, high = _extremes(path, values)
    if low == high == 0:
        raise BadDataError(f"{path}: holds no labels. Remove the file or make the segmentation anew.")
    whole = values if values.dtype.kind in "iu" else np.rint(values)
    copy = not values.flags.writeable
    if np.iinfo(np.int16).min <= low and high <= np.iinfo(np.int16).max:
        return whole.astype(np.int16, copy=copy), affine
    return whole.astype(np.int32, copy=copy), affine


def _holds_integers(image: SpatialImage) -> bool:
    """Tell whether the values on disk are whole numbers that fit 32 bits and are not scaled."""
    slope, intercept = getattr(image.dataobj, "slope", 1.0), getattr(image.dataobj, "inter", 0.0)
    return image.get_data_dtype().str[1:] in ("u1", "i1", "i2", "u2", "i4") and (slope, intercept) == (1, 0)


def save_volume(path: Path, data: NDArray[Any], affine: Matrix, dtype: DTypeLike = np.float32) -> None:
    """
    Write a NIfTI file, whole or not at all.

    Parameters
    ----------
    path
        `.nii` or `.nii.gz`; its folder is made where missing.
    data, affine
        Values and 4 × 4 geometry, written to both sform and qform (code 1, scanner).
    dtype
        Type on disk.

    Raises
    ------
    CannotCreateError
        No permission or no space.
    """
    image = nib.Nifti1Image(np.asarray(data).astype(dtype, copy=False), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1, strip_shears=True)
    write_image(path, image)


def is_brain_extracted(data: NDArray[np.float32], affine: Matrix) -> bool:
    """
    Tell whether everything but the brain has been set to zero.

    Parameters
    ----------
    data, affine
        The scan and its geometry.

    Returns
    -------
    extracted
        True where over 40 % of the voxels are exactly zero and the others fill less than 2 litres (ours: a
        head with neck fills three and more, a brain 1.0 to 1.7).
    """
    filled = int(np.count_nonzero(data))
    volume = filled * abs(float(np.linalg.det(affine[:3, :3])))
    return filled < (1 - _STRIPPED_ZERO_FRACTION) * data.size and volume < _STRIPPED_VOLUME


def _checked_shape(path: Path, shape: tuple[int, ...], volume: int | None) -> tuple[int, ...]:
    """Return the three spatial dimensions, or refuse the image."""
    volumes = int(np.prod(shape[3:])) if len(shape) > 3 else 1
    if len(shape) < 3:
        raise BadDataError(f"{path}: has {len(shape)} dimensions; a scan has three.")
    if volume is None and volumes != 1:
        raise BadDataError(
            f"{path}: holds {volumes} volumes; one is expected. Split it, or name a PD/T2 pair `PDT2`."
        )
    if volume is not None and (len(shape) != 4 or not 0 <= volume < volumes):
        raise BadDataError(f"{path}: has no volume {volume + 1}; its shape is {shape}.")
    if min(shape[:3]) < _SMALLEST_AXIS or max(shape[:3]) > _LARGEST_AXIS or np.prod(shape[:3]) > MOST_VOXELS:
        raise BadDataError(f"{path}: a matrix of {shape[:3]} is not that of a brain scan.")
    return shape[:3]


def _values(path: Path, image: SpatialImage, volume: int | None, dtype: DTypeLike | None) -> NDArray[Any]:
    """Read the scaled values of one volume; without `dtype` as they are on disk."""
    try:
        proxy = image.dataobj
        if volume is not None:
            proxy = proxy[..., volume]
        elif len(image.shape) > 3:
            proxy = proxy[(..., *(0,) * (len(image.shape) - 3))]
        elif dtype is not None:
            return np.asarray(image.get_fdata(dtype=dtype, caching="unchanged"))
        return np.asarray(proxy, dtype=dtype)
    except (OSError, ValueError, EOFError) as error:
        raise BadDataError(
            f"{path}: ends before its last voxel ({error}). Copy or convert it again."
        ) from error


def _check_type(path: Path, image: SpatialImage) -> None:
    """Refuse voxels that are not one real number each."""
    kind = image.get_data_dtype().kind
    if kind not in "iuf":
        what = "complex values" if kind == "c" else "colours"
        raise BadDataError(
            f"{path}: holds {what} where one real number a voxel is expected. Convert it to a magnitude or "
            "grey-value image."
        )


def _extremes(path: Path, data: NDArray[Any]) -> tuple[float, float]:
    """Return the smallest and the largest value; refuse images with voxels that are not a number."""
    low, high = float(data.min()), float(data.max())
    if not np.isfinite(low) or not np.isfinite(high):
        bad = int(np.count_nonzero(~np.isfinite(data)))
        raise BadDataError(f"{path}: {bad} voxels are not a number. Set them to 0 if they are background.")
    return low, high


def _check_values(path: Path, data: NDArray[np.float32]) -> None:
    """Refuse images that hold no signal."""
    low, high = _extremes(path, data)
    if low == high:
        raise BadDataError(f"{path}: every voxel is {low:g}: an empty image. Convert the scan again.")


def _checked_affine(path: Path, image: SpatialImage) -> tuple[Matrix, list[str]]:
    """Choose between sform and qform and say what is odd about them."""
    if isinstance(image, nib.MGHImage):
        return _require_geometry(path, np.asarray(image.affine, dtype=np.float64)), []
    header: Any = image.header
    sform = _usable(lambda: header.get_sform(coded=True))
    qform = _usable(lambda: header.get_qform(coded=True))
    warnings: list[str] = []
    for name, code, form in (("sform", "sform_code", sform), ("qform", "qform_code", qform)):
        if int(header[code]) > 0 and form is None:
            warnings.append(f"the {name} of the header is unusable (zero or singular) and was ignored")
    if sform is not None and qform is not None:
        warnings += _compare_forms(path, sform, qform)
    affine = sform if sform is not None else qform
    if affine is None:
        warnings.append("neither qform nor sform is set: position and left and right are assumed")
        affine = np.asarray(header.get_base_affine(), dtype=np.float64)
    return _require_geometry(path, affine), warnings


def _usable(read: Callable[[], tuple[Matrix | None, int]]) -> Matrix | None:
    """Return a form if it is coded, finite and not singular."""
    try:
        form, _ = read()
    except (nib.spatialimages.HeaderDataError, ValueError, np.linalg.LinAlgError):
        return None
    if form is None or not np.isfinite(form).all() or abs(np.linalg.det(form[:3, :3])) < 1e-6:
        return None
    return np.asarray(form, dtype=np.float64)


def _compare_forms(path: Path, sform: Matrix, qform: Matrix) -> list[str]:
    """Refuse forms that differ in voxel size or handedness, warn where they differ in position."""
    sizes = np.linalg.norm(sform[:3, :3], axis=0) / np.linalg.norm(qform[:3, :3], axis=0)
    mirrored = np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0
    if mirrored or np.any(np.abs(sizes - 1) > 0.1):
        what = "which side is left" if mirrored else "the size of a voxel"
        raise BadDataError(
            f"{path}: sform and qform contradict each other about {what}. Correct the header (convert "
            "the scan again, or copy the right one over the other, for instance with `fslorient`)."
        )
    if not np.allclose(sform, qform, atol=1.0, rtol=0) or np.abs(sform - qform)[:3, :3].max() > 0.02:
        return ["sform and qform differ in position; the sform is used"]
    return []


def _require_geometry(path: Path, affine: Matrix) -> Matrix:
    """Refuse a geometry that no scan has."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    singular = abs(np.linalg.det(affine[:3, :3])) < 1e-3 * float(np.prod(sizes))
    if not np.isfinite(affine).all() or singular or sizes.min() < 0.05 or sizes.max() > 20:
        raise BadDataError(
            f"{path}: the header gives voxels of {sizes.round(3).tolist()} mm. Correct the header."
        )
    return affine


def _coverage_warnings(affine: Matrix, shape: tuple[int, ...]) -> list[str]:
    """Say whether slices are thick or the head is partly covered."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    extents = sizes * np.asarray(shape)
    warnings = []
    if sizes.max() > _THICK_SLICE:
        warnings.append(f"thick slices ({sizes.max():.2g} mm): EPVS may be missed or run together")
    if extents.min() < _SHORT_FIELD_OF_VIEW:
        warnings.append(
            f"partial coverage: the field of view is {extents.min():.0f} mm along its shortest side"
        )
    return warnings
