from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from epvs_bids.errors import BadDataError
from epvs_bids.reports.rating.slab import load_slab, to_bytes

from .phantom import ORIGIN, SHAPE, SPOT, phantom


def save(tmp_path: Path, image: nib.Nifti1Image) -> Path:
    path = tmp_path / "scan.nii.gz"
    nib.save(image, path)
    return path


def test_slices_lie_where_the_affine_says(tmp_path: Path) -> None:
    slab = load_slab(save(tmp_path, phantom()), half_height=4, level=-4.9)
    assert slab.level == -5.0  # the slice of a 0.5 mm grid nearest to -4.9
    assert slab.origin == (ORIGIN[0], ORIGIN[1], -8.5)
    assert slab.heights()[-1] == -1.0
    assert slab.data.shape == (16, SHAPE[1], SHAPE[0])
    voxels = np.argwhere(slab.data > 150)[:, ::-1] * slab.spacing + slab.origin
    bright = voxels[voxels[:, 0] > 8].mean(axis=0)
    np.testing.assert_allclose(bright, SPOT, atol=1e-9)


def test_holds_is_the_voxels_extent(tmp_path: Path) -> None:
    slab = load_slab(save(tmp_path, phantom()), level=-4.9)
    assert slab.holds((-30.25, 0, -5))
    assert not slab.holds((-30.26, 0, -5))
    assert not slab.holds((0, 0, 8))
    assert not slab.holds((float("nan"), 0, -5))


def test_grey_levels_follow_the_region() -> None:
    region = np.linspace(100.0, 200.0, 1001)  # 2nd and 98th percentile: 102 and 198
    data = np.array([0.0, 54.0, 102.0, 198.0, 270.0, 9000.0, np.nan, np.inf, -5.0])
    grey, (dark, bright) = to_bytes(data, region)
    scale = 255 / (270 - 54)  # half a window below, three quarters above
    assert (dark, bright) == pytest.approx((48 * scale, 144 * scale))
    assert grey.tolist() == [0, 0, round(48 * scale), round(144 * scale), 255, 255, 0, 0, 0]


def flipped() -> nib.Nifti1Image:
    image = phantom()
    affine = image.affine.copy()
    affine[0, 0] = -0.5
    return nib.Nifti1Image(image.get_fdata(dtype=np.float32), affine)


def above() -> nib.Nifti1Image:
    image = phantom()
    affine = image.affine.copy()
    affine[2, 3] = 30
    return nib.Nifti1Image(image.get_fdata(dtype=np.float32), affine)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (flipped(), "axes"),
        (above(), "commissure"),
        (nib.Nifti1Image(np.zeros(SHAPE, np.float32), phantom().affine), "intensity"),
        (nib.Nifti1Image(np.ones((5, 5, 5, 2), np.float32), phantom().affine), "axes"),
    ],
)
def test_images_that_cannot_be_shown(tmp_path: Path, image: nib.Nifti1Image, reason: str) -> None:
    with pytest.raises(BadDataError, match=reason):
        load_slab(save(tmp_path, image), level=-4.9)


def test_truncated_file(tmp_path: Path) -> None:
    path = save(tmp_path, phantom())
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(BadDataError, match=r"scan\.nii\.gz"):
        load_slab(path, level=-4.9)
