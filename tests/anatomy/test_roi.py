"""The smooth region, against the steps of the method page worked out with scipy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage

from epvs_bids.anatomy.grid import Grid, resample_to_grid, template_grid
from epvs_bids.anatomy.initialisation import rotation_about
from epvs_bids.anatomy.roi import RoiParameters, region_of_scan, rescale_intensity, smooth_mask
from epvs_bids.errors import BadDataError

PARAMS = RoiParameters(voxel_size=1.0, shape=(30, 28, 20), dilations=2, sigma=1.0)


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Make a scan, its affine, a mask and a transform."""
    rng = np.random.default_rng(0)
    data = ndimage.gaussian_filter(rng.uniform(0, 100, (48, 50, 30)), 1).astype(np.float32)
    affine = np.diag([-1.2, 1.1, 2.0, 1])
    affine[:3, 3] = (28, -27, -30)
    mask = np.zeros(data.shape, bool)
    mask[15:22, 20:30, 12:17] = mask[26:33, 20:30, 12:17] = True
    transform = rotation_about(np.zeros(3), (5.0, -4.0, 6.0))
    transform[:3, 3] += (2, 3, -1)
    return data, affine, mask, transform


def test_defaults_are_the_papers() -> None:
    params = RoiParameters()
    assert (params.voxel_size, params.shape, params.dilations, params.sigma) == (0.5, (168, 128, 84), 4, 2.0)
    assert params.intensity == "maximum"


def test_parameters_survive_json() -> None:
    params = RoiParameters(intensity="percentile", registration=False, shape=(10, 12, 14))
    assert RoiParameters.from_dict(json.loads(json.dumps(params.to_dict()))) == params
    with pytest.raises(BadDataError, match="colour"):
        RoiParameters.from_dict({"colour": 1})
    with pytest.raises(BadDataError, match="median"):
        RoiParameters.from_dict({"intensity": "median"})


def test_mask_is_dilated_and_smoothed_as_written() -> None:
    mask = np.zeros((40, 40, 40), bool)
    mask[15:25, 18:22, 20] = True
    grid = Grid(mask.shape, np.eye(4))
    smooth, origin = smooth_mask(mask, np.eye(4), np.eye(4), grid, RoiParameters(dilations=4, sigma=2.0))
    cross = ndimage.generate_binary_structure(3, 1)
    dilated = ndimage.binary_dilation(mask, cross, iterations=4)
    expected = ndimage.gaussian_filter(dilated.astype(float), 2.0, mode="constant")
    pasted = np.zeros(mask.shape)
    low = np.maximum(origin, 0)
    high = np.minimum(np.add(origin, smooth.shape), mask.shape)
    inside = tuple(slice(a - o, b - o) for a, b, o in zip(low, high, origin, strict=True))
    pasted[tuple(map(slice, low, high))] = smooth[inside]
    np.testing.assert_allclose(pasted, expected, atol=1e-5)


def test_the_short_way_gives_what_the_long_way_gives() -> None:
    data, affine, mask, transform = scene()
    grid = template_grid(np.diag([1.0, 1, 1, 1]) + _shift(-35), (70, 70, 70), 1.0)
    short = region_of_scan(data, affine, mask=mask, transform=transform, grid=grid, params=PARAMS)
    smooth, origin = smooth_mask(mask, affine, transform, grid, PARAMS)
    whole = np.zeros(grid.shape, np.float32)
    whole[tuple(slice(o, o + n) for o, n in zip(origin, smooth.shape, strict=True))] = smooth
    image = resample_to_grid(data, affine, transform, grid)
    centre = np.array(ndimage.center_of_mass(whole))
    first = np.rint(centre - (np.array(PARAMS.shape) - 1) / 2).astype(int)
    box = tuple(slice(o, o + n) for o, n in zip(first, PARAMS.shape, strict=True))
    long, scale = rescale_intensity(image[box], whole[box], PARAMS)
    assert short.data.shape == PARAMS.shape
    np.testing.assert_allclose(short.data, long, atol=1e-5)
    np.testing.assert_allclose(short.affine[:3, 3], (grid.affine @ [*first, 1])[:3])
    assert short.scale == pytest.approx(scale)


def test_region_is_centred_and_rescaled() -> None:
    data, affine, mask, transform = scene()
    grid = template_grid(np.diag([1.0, 1, 1, 1]) + _shift(-35), (70, 70, 70), 1.0)
    roi = region_of_scan(data, affine, mask=mask, transform=transform, grid=grid, params=PARAMS)
    centre = np.array(ndimage.center_of_mass(roi.mask))
    assert np.abs(centre - (np.array(PARAMS.shape) - 1) / 2).max() <= 0.51
    assert roi.data.dtype == np.float32
    assert roi.data.min() == 0
    assert roi.data.max() == 1
    np.testing.assert_allclose(roi.data * roi.scale, roi.image * roi.mask, atol=1e-3)
    middle = roi.affine @ [*centre, 1]
    expected = affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]
    np.testing.assert_allclose((transform @ middle)[:3], expected, atol=0.6)


def test_padding_where_the_crop_leaves_the_field_of_view() -> None:
    image, mask = np.ones((20, 20, 20), np.float32), np.zeros((20, 20, 20), bool)
    mask[:4, :4, :4] = True
    params = RoiParameters(shape=(10, 10, 10), dilations=0, sigma=0)
    grid = Grid(image.shape, np.eye(4))
    roi = region_of_scan(image, np.eye(4), mask=mask, transform=np.eye(4), grid=grid, params=params)
    assert not roi.data[:3].any()
    assert roi.data[3:7, 3:7, 3:7].all()
    np.testing.assert_allclose(roi.affine[:3, 3], -3)


def test_intensity_rescaling() -> None:
    image = np.linspace(0, 1, 1000, dtype=np.float32).reshape(10, 10, 10) * 50
    image[0, 0, 0] = 500
    mask = np.ones_like(image)
    region, scale = rescale_intensity(image, mask, RoiParameters())
    assert scale == 500
    assert region[-1, -1, -1] == pytest.approx(0.1)
    region, scale = rescale_intensity(image, mask, RoiParameters(intensity="percentile"))
    assert scale == pytest.approx(np.percentile(image, 99.5))
    assert region.max() == 1
    with pytest.raises(BadDataError, match="no signal"):
        rescale_intensity(np.zeros_like(image), mask, RoiParameters())


def test_empty_mask() -> None:
    with pytest.raises(BadDataError, match="no basal ganglia"):
        smooth_mask(np.zeros((9, 9, 9), bool), np.eye(4), np.eye(4), Grid((9, 9, 9), np.eye(4)), PARAMS)


def _shift(offset: float) -> np.ndarray:
    shift = np.zeros((4, 4))
    shift[:3, 3] = offset
    return shift
