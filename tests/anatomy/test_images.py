"""Reading of scans: what is wrong with a file is named."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from epvs_bids.anatomy.images import load_labels, load_volume, save_volume
from epvs_bids.errors import BadDataError, MissingInputError

SHAPE = (20, 24, 18)


def noise(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).uniform(1, 100, shape).astype(np.float32)


def write(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.Nifti1Image(data, np.diag([8.0, 8, 8, 1]) if affine is None else affine).to_filename(path)
    return path


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    affine = np.array([[0, -1.5, 0, 3], [0.9, 0, 0.1, -4], [0, 0, 5, 7], [0, 0, 0, 1.0]])
    save_volume(tmp_path / "a" / "scan.nii.gz", noise(), affine)
    volume = load_volume(tmp_path / "a" / "scan.nii.gz")
    np.testing.assert_array_equal(volume.data, noise())
    np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
    assert volume.data.dtype == np.float32
    assert list((tmp_path / "a").iterdir()) == [tmp_path / "a" / "scan.nii.gz"]


def test_scaled_integers_are_read_as_their_values(tmp_path: Path) -> None:
    image = nib.Nifti1Image(noise(), np.diag([8.0, 8, 8, 1]))
    image.header.set_data_dtype(np.int16)
    image.to_filename(tmp_path / "scan.nii.gz")
    stored = nib.load(tmp_path / "scan.nii.gz")
    assert stored.dataobj.slope != 1
    np.testing.assert_allclose(load_volume(tmp_path / "scan.nii.gz").data, noise(), atol=2e-3)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mgz"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    kind = nib.MGHImage if suffix == ".mgz" else nib.Nifti1Image
    kind(noise(), np.diag([8.0, 8, 8, 1])).to_filename(tmp_path / f"scan{suffix}")
    np.testing.assert_allclose(load_volume(tmp_path / f"scan{suffix}").data, noise())


def test_truncated_gzip(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.nii.gz", noise())
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BadDataError, match=r"scan\.nii\.gz: truncated"):
        load_volume(path)


def test_bad_crc(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.nii.gz", noise())
    content = bytearray(path.read_bytes())
    content[-8] ^= 0xFF
    path.write_bytes(bytes(content))
    assert nib.load(path).get_fdata().shape == SHAPE  # nibabel is content with it
    with pytest.raises(BadDataError, match="damaged"):
        load_volume(path)


def test_gzip_of_several_members_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.nii", noise())
    content = path.read_bytes()
    members = gzip.compress(content[:5000]) + gzip.compress(content[5000:])
    (tmp_path / "two.nii.gz").write_bytes(members)
    np.testing.assert_array_equal(load_volume(tmp_path / "two.nii.gz").data, noise())


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.nii.gz", b"", "empty"),
        ("a.nii.gz", b"not compressed at all", "not compressed"),
        ("a.nii.gz", gzip.compress(b"no image" * 100, mtime=0), "damaged"),
        ("a.nii", b"no image" * 100, "damaged"),
        ("a.txt", b"text", "not an image"),
    ],
)
def test_no_image(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadDataError, match=words):
        load_volume(tmp_path / name)


def test_image_that_ends_early(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.nii", noise())
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(BadDataError, match="ends before its last voxel"):
        load_volume(path)


def test_dangling_link_and_missing_file(tmp_path: Path) -> None:
    (tmp_path / "scan.nii.gz").symlink_to(tmp_path / ".git" / "annex" / "content")
    with pytest.raises(MissingInputError, match="datalad get"):
        load_volume(tmp_path / "scan.nii.gz")
    with pytest.raises(MissingInputError, match="no such file"):
        load_volume(tmp_path / "other.nii.gz")


def test_fourth_dimension(tmp_path: Path) -> None:
    one = write(tmp_path / "one.nii.gz", noise((*SHAPE, 1)))
    assert load_volume(one).data.shape == SHAPE
    two = write(tmp_path / "two.nii.gz", noise((*SHAPE, 2)))
    np.testing.assert_array_equal(load_volume(two, volume=1).data, noise((*SHAPE, 2))[..., 1])
    with pytest.raises(BadDataError, match="holds 2 volumes"):
        load_volume(two)
    with pytest.raises(BadDataError, match="no volume 3"):
        load_volume(two, volume=2)


@pytest.mark.parametrize(("value", "words"), [(np.nan, "not a number"), (np.inf, "not a number")])
def test_not_a_number(tmp_path: Path, value: float, words: str) -> None:
    data = noise()
    data[3, 4, 5] = value
    with pytest.raises(BadDataError, match=f"1 voxels are {words}"):
        load_volume(write(tmp_path / "scan.nii.gz", data))


@pytest.mark.parametrize("load", [load_volume, load_labels])
@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        (np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]), r"scan\.nii\.gz: holds colours"),
        (np.dtype(np.complex64), r"scan\.nii\.gz: holds complex values"),
    ],
)
def test_voxels_of_more_than_one_number(
    tmp_path: Path, load: Callable[[Path], object], dtype: np.dtype, words: str
) -> None:
    with pytest.raises(BadDataError, match=words):
        load(write(tmp_path / "scan.nii.gz", np.ones(SHAPE, dtype)))


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_constant(tmp_path: Path, value: float) -> None:
    with pytest.raises(BadDataError, match="every voxel is"):
        load_volume(write(tmp_path / "scan.nii.gz", np.full(SHAPE, value, np.float32)))


def test_matrix_of_no_brain(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match="matrix"):
        load_volume(write(tmp_path / "scan.nii.gz", noise((20, 24, 3))))


def coded(path: Path, sform: tuple[np.ndarray, int], qform: tuple[np.ndarray, int]) -> Path:
    image = nib.Nifti1Image(noise(), None)
    image.header.set_zooms((8, 8, 8))
    image.header.set_qform(qform[0], code=qform[1])
    image.header.set_sform(sform[0], code=sform[1])
    image.to_filename(path)
    return path


GOOD = np.diag([8.0, 8, 8, 1])


def test_qform_alone(tmp_path: Path) -> None:
    volume = load_volume(coded(tmp_path / "scan.nii.gz", (GOOD, 0), (GOOD, 1)))
    np.testing.assert_allclose(volume.affine, GOOD)
    assert volume.warnings == ("thick slices (8 mm): EPVS may be missed or run together",)


def test_zero_sform_is_ignored(tmp_path: Path) -> None:
    volume = load_volume(coded(tmp_path / "scan.nii.gz", (np.diag([0.0, 0, 0, 1]), 1), (GOOD, 1)))
    np.testing.assert_allclose(volume.affine, GOOD)
    assert any("sform" in warning and "ignored" in warning for warning in volume.warnings)


def test_no_form_is_warned_about(tmp_path: Path) -> None:
    volume = load_volume(coded(tmp_path / "scan.nii.gz", (GOOD, 0), (GOOD, 0)))
    assert any("neither qform nor sform" in warning for warning in volume.warnings)


def test_forms_that_differ(tmp_path: Path) -> None:
    shifted = GOOD.copy()
    shifted[:3, 3] = 30
    volume = load_volume(coded(tmp_path / "scan.nii.gz", (shifted, 1), (GOOD, 1)))
    np.testing.assert_allclose(volume.affine, shifted)
    assert any("differ in position" in warning for warning in volume.warnings)
    with pytest.raises(BadDataError, match="size of a voxel"):
        load_volume(coded(tmp_path / "scan.nii.gz", (np.diag([4.0, 8, 8, 1]), 1), (GOOD, 1)))
    with pytest.raises(BadDataError, match="which side is left"):
        load_volume(coded(tmp_path / "scan.nii.gz", (np.diag([-8.0, 8, 8, 1]), 1), (GOOD, 1)))


def test_partial_coverage_is_warned_about(tmp_path: Path) -> None:
    volume = load_volume(write(tmp_path / "scan.nii.gz", noise(), np.diag([8.0, 8, 1.5, 1])))
    assert any("partial coverage: the field of view is 27 mm" in warning for warning in volume.warnings)


def test_labels(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.int32)
    labels[5, 5, 5] = 12175
    nib.MGHImage(labels, GOOD).to_filename(tmp_path / "seg.mgz")
    read, affine = load_labels(tmp_path / "seg.mgz")
    np.testing.assert_array_equal(read, labels)
    np.testing.assert_allclose(affine, GOOD)
    write(tmp_path / "none.nii.gz", np.zeros(SHAPE, np.int16))
    with pytest.raises(BadDataError, match="holds no labels"):
        load_labels(tmp_path / "none.nii.gz")
    holes = np.where(labels == 0, np.nan, labels).astype(np.float32)
    with pytest.raises(BadDataError, match=rf"holes.nii.gz: {labels.size - 1} voxels are not a number"):
        load_labels(write(tmp_path / "holes.nii.gz", holes))


@pytest.mark.real
def test_brain_extraction_is_noticed_in_real_scans(real_data: Path) -> None:
    scans = {path: load_volume(path) for path in (real_data / "real-bids").glob("**/*_T2w.nii.gz")}
    assert len(scans) == 5
    for path, scan in scans.items():
        assert scan.brain_extracted == path.name.startswith(("sub-04", "sub-05")), path
