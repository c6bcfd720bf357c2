"""Planes lie where their millimetres say, whatever the grid."""

from __future__ import annotations

import base64
import gzip

import nibabel as nib
import numpy as np
import pytest

from epvs_bids.reports.volumes import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    Image,
    centre,
    crop_like,
    inner_window,
    plane,
    small_nifti,
    window,
)

LIMITS = ((-10.0, 10.0), (-20.0, 20.0), (-8.0, 8.0))


def _coordinates(affine: np.ndarray, shape: tuple[int, int, int], axis: int) -> Image:
    """An image whose value is its position along an axis, in mm, plus 100."""
    index = np.stack(np.meshgrid(*[np.arange(size) for size in shape], indexing="ij"), -1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    return Image((world[..., axis] + 100).astype(np.float32), affine)


FLIPPED = np.array([[-2.0, 0, 0, 40], [0, 0, 2, -50], [0, 2, 0, -50], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("axis", "rows", "columns"),
    [(AXIAL, 1, 0), (CORONAL, 2, 0), (SAGITTAL, 2, 1)],
)
def test_rows_run_down_and_columns_from_left_or_back(axis: int, rows: int, columns: int) -> None:
    for affine in (np.diag([1.0, 1, 1, 1]) + np.array([[0, 0, 0, -30]] * 3 + [[0] * 4]), FLIPPED):
        up = plane(_coordinates(affine, (60, 60, 60), rows), axis, 3.0, limits=LIMITS, spacing=1.0)
        across = plane(_coordinates(affine, (60, 60, 60), columns), axis, 3.0, limits=LIMITS, spacing=1.0)
        through = plane(_coordinates(affine, (60, 60, 60), axis), axis, 3.0, limits=LIMITS, spacing=1.0)
        low, high = LIMITS[rows]
        np.testing.assert_allclose(up[:, 0], np.arange(high, low - 0.5, -1) + 100, atol=1e-4)
        low, high = LIMITS[columns]
        np.testing.assert_allclose(across[0], np.arange(low, high + 0.5) + 100, atol=1e-4)
        np.testing.assert_allclose(through, 103, atol=1e-4)


def test_outside_of_an_image_is_zero() -> None:
    image = Image(np.ones((4, 4, 4), np.float32), np.eye(4))
    assert not plane(image, AXIAL, 50.0, limits=LIMITS, spacing=1.0).any()


def test_limits_and_centre_in_millimetres() -> None:
    image = _coordinates(FLIPPED, (10, 20, 30), 0)
    assert image.limits == ((22.0, 40.0), (-50.0, 8.0), (-50.0, -12.0))
    dot = np.zeros((10, 20, 30), np.float32)
    dot[1, 2, 3] = 5
    assert centre(Image(dot, FLIPPED)) == pytest.approx((38, -44, -46))
    assert centre(Image(np.zeros((3, 3, 3), np.float32), np.eye(4))) == pytest.approx((1, 1, 1))


def test_crop_like_follows_the_affine() -> None:
    image = _coordinates(np.diag([1.0, 1, 1, 1]), (30, 30, 30), 2)
    fine = np.array([[0.5, 0, 0, 5], [0, 0.5, 0, 6], [0, 0, 0.5, 7], [0, 0, 0, 1]])
    cropped = crop_like(image, (4, 4, 4), fine)
    np.testing.assert_allclose(cropped.data[0, 0], 107 + np.arange(4) / 2, atol=1e-4)


def test_small_nifti_can_be_read_back() -> None:
    image = Image(np.linspace(-1, 3, 24, dtype=np.float32).reshape(2, 3, 4), FLIPPED)
    packed = gzip.decompress(base64.b64decode(small_nifti(image, low=0, high=2)))
    read = nib.Nifti1Image.from_bytes(packed)
    np.testing.assert_array_equal(read.affine, FLIPPED)
    assert read.get_data_dtype() == np.uint8
    np.testing.assert_allclose(np.asarray(read.dataobj) / 127.5, np.clip(image.data, 0, 2), atol=0.005)


def test_window_ignores_background_and_hot_voxels() -> None:
    pixels = np.zeros((100, 100), np.float32)
    pixels[:50] = 200
    pixels[0, 0] = 1e6
    assert window(pixels) == (0.0, 200.0)
    assert window(np.zeros((2, 2), np.float32)) == (0.0, 1.0)


def test_tissue_that_differs_little_fills_half_of_the_greys() -> None:
    mask = Image(np.ones((10, 10, 10), np.float32), np.eye(4))
    flat = np.linspace(0.8, 1.0, 1000, dtype=np.float32).reshape(10, 10, 10)
    black, white = inner_window(Image(flat, np.eye(4)), mask)
    assert (white - 0.8) / (white - black) == pytest.approx(0.5, abs=0.01)
    varied = np.linspace(0.1, 1.0, 1000, dtype=np.float32).reshape(10, 10, 10)
    assert inner_window(Image(varied, np.eye(4)), mask) == pytest.approx((0.0, 1.0), abs=0.01)
    assert inner_window(Image(flat, np.eye(4)), Image(0 * flat, np.eye(4)))[0] == 0.0
