"""Image files: what is written is read by other programs, and a damaged output names its remedy."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from epvs_bids.anatomy.image_files import open_derivative, open_image, write_image
from epvs_bids.errors import BadDataError


def _image() -> nib.Nifti1Image:
    values = np.random.default_rng(0).normal(size=(20, 22, 24)).astype(np.float32)
    return nib.Nifti1Image(values, np.diag([1.0, 2.0, 3.0, 1.0]))


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz", "image.mgz"])
def test_other_readers_see_what_was_written(tmp_path: Path, name: str) -> None:
    image = _image()
    given = nib.MGHImage(image.dataobj, image.affine) if name.endswith("mgz") else image
    write_image(tmp_path / name, given)
    for read in (nib.load(tmp_path / name), open_image(tmp_path / name)):
        np.testing.assert_array_equal(np.asarray(read.dataobj), image.dataobj)
        np.testing.assert_allclose(read.affine, image.affine)


def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first.nii.gz", "second.nii.gz"):
        write_image(tmp_path / name, _image())
    content = (tmp_path / "first.nii.gz").read_bytes()
    assert content == (tmp_path / "second.nii.gz").read_bytes()
    assert gzip.decompress(content) == _image().to_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["first.nii.gz", "second.nii.gz"]


def test_members_of_one_file_are_joined(tmp_path: Path) -> None:
    content = _image().to_bytes()
    path = tmp_path / "parts.nii.gz"
    path.write_bytes(
        b"".join(gzip.compress(part) for part in (content[:9000], content[9000:9001], content[9001:]))
    )
    np.testing.assert_array_equal(np.asarray(open_image(path).dataobj), _image().dataobj)


def test_a_damaged_output_is_named_with_its_remedy(tmp_path: Path) -> None:
    path = tmp_path / "sub-1_desc-preproc_T2w.nii.gz"
    write_image(path, _image())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadDataError, match=r"T2w\.nii\.gz can't be read \(.*\)\. Remove it and run the part"):
        open_derivative(path)
