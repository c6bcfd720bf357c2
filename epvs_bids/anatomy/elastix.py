"""The call of Elastix: the one place where itk is imported, because that takes seconds."""

from __future__ import annotations

import sys
from types import ModuleType

import itk
import itk.support.helpers
import numpy as np
import SimpleITK as sitk

from epvs_bids.anatomy.grid import LPS, Matrix
from epvs_bids.anatomy.initialisation import Thin
from epvs_bids.errors import BadDataError

# Else itk imports torch, where that is installed, to wrap filters for tensors: 2 s and 190 MB.
itk.support.helpers._HAVE_TORCH = False

_UNUSED = (
    "ITKIOImageBase",
    "ITKIOMeshBase",
    "ITKIOMeta",
    "ITKImageGrid",
    "ITKImageSources",
    "ITKMesh",
    "ITKRegistrationCommon",
    "ITKSmoothing",
)
"""Wrapped modules that Elastix' own names, but that a registration of images in memory never calls."""


def _load_quickly() -> None:
    """Load Elastix with empty modules in place of `_UNUSED`, which would take 9 of 10 s and 400 MB.

    They are taken away again, so that other code of this process can load the real ones.
    """
    names = [name for name in (f"itk.{module}Python" for module in _UNUSED) if name not in sys.modules]
    for name in names:
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name])["__templates_loaded"] = True  # itk's own mark of what needs no loading
    try:
        _ = itk.ElastixRegistrationMethod
    finally:
        for name in names:
            del sys.modules[name]


_load_quickly()

_THREADS = 2

PARAMETERS: dict[str, tuple[str, ...]] = {
    "FixedImagePyramid": ("FixedRecursiveImagePyramid",),
    "MovingImagePyramid": ("MovingRecursiveImagePyramid",),
    "NumberOfResolutions": ("3",),
    "NumberOfSpatialSamples": ("2048", "2048", "8192"),
    "MaximumStepLength": ("1.0", "1.0", "0.5"),
    "WriteResultImage": ("false",),
}
"""What differs from Elastix' default `rigid` parameter map; more than one value: one a resolution."""


def run_elastix(fixed: Thin, moving: Thin, *, seed: int) -> Matrix:
    """
    Register two images that lie about right already.

    Parameters
    ----------
    fixed, moving
        The images. Samples are drawn in the fixed mask; the moving mask is not used.
    seed
        Seed of the random samples.

    Returns
    -------
    transform
        4 × 4, RAS mm of fixed to RAS mm of moving.

    Raises
    ------
    BadDataError
        Elastix gave up, as it does when too few samples meet the moving image.

    Notes
    -----
    Elastix works on two threads, however many cores there are: what each adds up apart moves the result, by a
    tenth of a millimetre where the optimiser takes another way, and scores with it.
    """
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(_THREADS)
    parameters = itk.ParameterObject.New()
    rigid = parameters.GetDefaultParameterMap("rigid")
    for name, value in {**PARAMETERS, "RandomSeed": (str(seed),)}.items():
        rigid[name] = value
    parameters.AddParameterMap(rigid)
    moving_image, straighten = _to_itk(moving.data, moving.affine)
    fixed_image, bend = _to_itk(fixed.data, fixed.affine)
    mask_image, _ = _to_itk(fixed.mask.astype(np.uint8), fixed.affine)
    method = itk.ElastixRegistrationMethod.New(fixed_image, moving_image)
    method.SetFixedMask(mask_image)
    method.SetParameterObject(parameters)
    method.SetLogToConsole(False)
    method.SetNumberOfThreads(_THREADS)
    try:
        method.UpdateLargestPossibleRegion()
    except RuntimeError as error:
        raise BadDataError(f"Registration failed: {str(error).strip().splitlines()[-1]}") from error
    euler = method.GetTransformParameterObject().GetParameterMap(0)
    return straighten @ _euler_matrix(euler) @ np.linalg.inv(bend)


def _euler_matrix(parameters: dict[str, tuple[str, ...]]) -> Matrix:
    """Turn Elastix' Euler parameters into a 4 × 4 matrix in RAS mm."""
    transform = sitk.Euler3DTransform()
    transform.SetComputeZYX(parameters["ComputeZYX"][0] == "true")
    transform.SetCenter([float(v) for v in parameters["CenterOfRotationPoint"]])
    transform.SetParameters([float(v) for v in parameters["TransformParameters"]])
    matrix = np.eye(4)
    matrix[:3, :3] = np.asarray(transform.GetMatrix()).reshape(3, 3)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return LPS @ matrix @ LPS


def _to_itk(data: np.ndarray, affine: Matrix) -> tuple[itk.Image, Matrix]:
    """
    Make an ITK image, whose axes must be at right angles.

    Returns it with the 4 × 4 matrix from its RAS mm to those of `affine`: the identity but for shears.
    """
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(affine[:3, :3] / sizes)
    straight = affine.copy()
    straight[:3, :3] = left @ right * sizes
    image = itk.image_from_array(np.ascontiguousarray(data.T))
    lps = LPS @ straight
    image.SetSpacing([float(s) for s in sizes])
    image.SetOrigin([float(v) for v in lps[:3, 3]])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(lps[:3, :3] / sizes)))
    return image, affine @ np.linalg.inv(straight)
