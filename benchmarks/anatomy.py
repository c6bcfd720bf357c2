"""What is timed of the way from a scan to its region: ours, stock Elastix, scipy and nilearn."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from benchmarks.data import paper_scan
from benchmarks.harness import FOLDER
from epvs_bids.anatomy.grid import resample_to_grid, template_grid
from epvs_bids.anatomy.images import Volume, load_labels, load_volume
from epvs_bids.anatomy.initialisation import rotation_about
from epvs_bids.anatomy.labels import basal_ganglia_mask, brain_mask
from epvs_bids.anatomy.registration import register_rigid, register_to_template
from epvs_bids.anatomy.roi import RoiParameters, region_of_scan
from epvs_bids.anatomy.template import FALLBACK_TEMPLATE, get_template
from epvs_bids.network.memory import reuse_large_blocks

KNOWN = (((6.0, -4.0, 8.0), (5.0, -3.0, 4.0)), ((-8.0, 5.0, -3.0), (-6.0, 4.0, 7.0)))
"""Known transforms: degrees about x, y, z and mm along them."""


def scan_paths() -> tuple[Path, Path]:
    """Return the simulated scan of the paper's matrix and its labels."""
    root = paper_scan()
    labels = root / "derivatives" / "freesurfer" / "sub-01" / "mri" / "aseg.mgz"
    return root / "sub-01" / "anat" / "sub-01_PDw.nii.gz", labels


def register(method: str, threads: int) -> Callable[[], list[list[float]]]:
    """Lay the scan on the template of 1 mm; `method` is `ours` or `stock`."""
    path, labels_path = scan_paths()
    scan, (labels, _) = load_volume(path), load_labels(labels_path)
    template = get_template(FALLBACK_TEMPLATE)
    if method == "stock":
        run = _stock(template.image, scan, template.mask, threads)
        return lambda: _plain(run())
    import epvs_bids.anatomy.elastix  # noqa: F401 (loading itk is not what is timed)

    reuse_large_blocks()  # as every step of the participant level does
    return lambda: _plain(register_to_template(template.image, template.mask, scan, labels, seed=1).matrix)


def register_known(method: str, threads: int, number: int) -> Callable[[], float]:
    """Register the scan to itself, moved by a known transform; return the mean error in mm over the brain."""
    path, labels_path = scan_paths()
    fixed, (labels, _) = load_volume(path), load_labels(labels_path)
    mask = brain_mask(labels)
    moving, moving_mask, truth = moved(fixed, mask, number)
    if method == "stock":
        run = _stock(fixed, moving, mask, threads)
    else:
        masks = {"fixed_mask": mask, "moving_mask": moving_mask}
        run = lambda: register_rigid(fixed, moving, **masks, seed=1).matrix  # noqa: E731
    points = np.argwhere(mask)[::997] @ fixed.affine[:3, :3].T + fixed.affine[:3, 3]
    return lambda: _mean_error(run(), truth, points)


def moved(fixed: Volume, mask: np.ndarray, number: int) -> tuple[Volume, np.ndarray, np.ndarray]:
    """Move a scan: sampled anew on voxels of 0.8 mm, with new noise; mm of the scan to mm of the result."""
    angles, shift = KNOWN[number]
    truth = rotation_about(
        fixed.affine[:3, :3] @ (np.array(fixed.data.shape) / 2) + fixed.affine[:3, 3], angles
    )
    truth[:3, 3] += shift
    grid = template_grid(fixed.affine, fixed.data.shape, 0.8)
    to_fixed = np.linalg.inv(truth)
    data = resample_to_grid(fixed.data, fixed.affine, to_fixed, grid)
    data += np.random.default_rng(number).normal(0, 0.02 * float(data.max()), data.shape).astype(np.float32)
    inside = resample_to_grid(mask, fixed.affine, to_fixed, grid, order=0) > 0
    return Volume(np.maximum(data, 0), grid.affine, Path("moved.nii")), inside, truth


def _mean_error(found: np.ndarray, truth: np.ndarray, points: np.ndarray) -> float:
    apart = points @ (found - truth)[:3, :3].T + (found - truth)[:3, 3]
    return float(np.linalg.norm(apart, axis=1).mean())


def _plain(matrix: np.ndarray) -> list[list[float]]:
    values: list[list[float]] = matrix.tolist()
    return values


def _stock(fixed: Volume, moving: Volume, mask: np.ndarray, threads: int) -> Callable[[], np.ndarray]:
    """Prepare itk-elastix as it comes: default rigid parameters, started from the centres of gravity."""
    import itk

    _ = itk.ElastixRegistrationMethod  # loads it as it comes, before ours does

    from epvs_bids.anatomy.elastix import _euler_matrix, _to_itk

    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(threads)
    images = [_to_itk(volume.data, volume.affine)[0] for volume in (fixed, moving)]
    fixed_mask = _to_itk(mask.astype(np.uint8), fixed.affine)[0]
    parameters = itk.ParameterObject.New()
    rigid = parameters.GetDefaultParameterMap("rigid")
    rigid["AutomaticTransformInitializationMethod"] = ("CenterOfGravity",)
    parameters.AddParameterMap(rigid)

    def run() -> np.ndarray:
        _, result = itk.elastix_registration_method(
            *images, parameter_object=parameters, fixed_mask=fixed_mask, number_of_threads=threads
        )
        return _euler_matrix(result.GetParameterMap(0))

    return run


def prepared() -> Path:
    """Return a file with what making a region needs beside the scan, made once: mask and transform."""
    path = FOLDER / "data" / "paper-scan-prepared.npz"
    if not path.is_file():
        mask = basal_ganglia_mask(load_labels(scan_paths()[1])[0])
        np.savez(path, mask=np.packbits(mask), matrix=np.array(register("ours", 1)()))
    return path


def read_bytes(path: str) -> Callable[[], int]:
    """Decompress the scan and drop what comes out: one pass over the bytes."""

    def run() -> int:
        with gzip.open(path) as stream:
            return sum(len(block) for block in iter(lambda: stream.read(1 << 22), b""))

    return run


def make_region(method: str, given_in: str) -> Callable[[], float]:
    """Make the region from the scan's file; labels and transform are given. Returns the region's mean."""
    path, _ = scan_paths()
    shape = nib.load(path).shape
    with np.load(given_in) as stored:
        mask = np.unpackbits(stored["mask"], count=int(np.prod(shape))).reshape(shape).view(np.bool_)
        matrix = stored["matrix"]
    template = get_template(FALLBACK_TEMPLATE).image
    grid = template_grid(template.affine, template.data.shape)
    given: dict[str, Any] = {"mask": mask, "transform": matrix, "grid": grid, "params": RoiParameters()}
    if method == "ours":
        return lambda: _ours(path, given)
    return lambda: {"scipy": _scipy, "nilearn": _nilearn}[method](path, given)


def _ours(path: Path, given: dict[str, Any]) -> float:
    scan = load_volume(path)
    return float(region_of_scan(scan.data, scan.affine, **given).data.mean())


def _smooth(binary: np.ndarray, params: RoiParameters) -> np.ndarray:
    dilated = ndimage.binary_dilation(binary, iterations=params.dilations)
    return np.asarray(ndimage.gaussian_filter(dilated.astype(np.float32), params.sigma))


def _box(smooth: np.ndarray, params: RoiParameters) -> tuple[slice, ...]:
    centre = ndimage.center_of_mass(smooth)
    starts = [round(c - (n - 1) / 2) for c, n in zip(centre, params.shape, strict=True)]
    return tuple(slice(s, s + n) for s, n in zip(starts, params.shape, strict=True))


def _scipy(path: Path, given: dict[str, Any]) -> float:
    """Do the same with nibabel and scipy, on the whole 0.5 mm grid as the paper's text reads."""
    image = nib.load(path)
    grid, params = given["grid"], given["params"]
    to_index = np.linalg.inv(image.affine) @ given["transform"] @ grid.affine
    options: dict[str, Any] = {"matrix": to_index, "output_shape": grid.shape}
    scan = ndimage.affine_transform(image.get_fdata(dtype=np.float32), **options, order=3)
    inside = ndimage.affine_transform(given["mask"].astype(np.float32), **options, order=1) >= 0.5
    smooth = _smooth(inside, params)
    box = _box(smooth, params)
    product = np.maximum(scan[box], 0) * smooth[box]
    return float((product / product.max()).mean())


def _nilearn(path: Path, given: dict[str, Any]) -> float:
    """Do the same with nilearn, on the whole 0.5 mm grid; the transform goes into the affine."""
    from nilearn.image import resample_img

    image = nib.load(path)
    grid, params = given["grid"], given["params"]
    affine = np.linalg.inv(given["transform"]) @ image.affine
    where: dict[str, Any] = {"target_affine": grid.affine, "target_shape": grid.shape}
    scan = resample_img(nib.Nifti1Image(image.get_fdata(dtype=np.float32), affine), **where)
    mask = nib.Nifti1Image(given["mask"].astype(np.float32), affine)
    inside = resample_img(mask, **where, interpolation="linear").get_fdata(dtype=np.float32) >= 0.5
    smooth = _smooth(inside, params)
    box = _box(smooth, params)
    product = np.maximum(scan.get_fdata(dtype=np.float32)[box], 0) * smooth[box]
    return float((product / product.max()).mean())
