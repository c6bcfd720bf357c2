"""Scans, labels and choices that are odd but usable: they are dealt with, and what is odd is said."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to
from numpy.typing import NDArray
from running import Head

from epvs_bids.anatomy.grid import Grid
from epvs_bids.anatomy.images import load_volume
from epvs_bids.anatomy.labels import basal_ganglia_mask
from epvs_bids.anatomy.quality import coverage_remarks
from epvs_bids.anatomy.roi import RoiParameters, region_of_scan
from epvs_bids.anatomy.segmentation import segment
from epvs_bids.bids.filters import read_filters
from epvs_bids.bids.query import Selection, find_scans
from epvs_bids.bids.scan import Scan

Find = Callable[..., Path]
Image = nib.Nifti1Image
SOUND = "sub-01/anat/sub-01_PDw.nii.gz"
SAME = "the score of the plain scan"
WARNED = "the score, with a warning in its `qc_reason`"
TURN = np.array([[1, 0, 0, 0], [0, 0.94, -0.342, 0], [0, 0.342, 0.94, 0], [0, 0, 0, 1.0]])
"""20 degrees about the left–right axis, as slices laid along the line between the commissures are."""


FIELD = Grid(
    (400, 400, 400), np.array([[0.5, 0, 0, -100], [0, 0.5, 0, -100], [0, 0, 0.5, -80], [0, 0, 0, 1]])
)
"""Half-millimetre voxels about the head."""


def turned(image: Image, axes: str) -> Image:
    """Store an image with other axes; it lies where it was."""
    there = nib.orientations.axcodes2ornt(axes)
    here = nib.orientations.io_orientation(image.affine)
    return image.as_reoriented(nib.orientations.ornt_transform(here, there))


def oblique(image: Image) -> Image:
    """Resample to slices that are tilted."""
    middle = image.affine @ [*(np.array(image.shape) / 2), 1]
    affine = image.affine.copy()
    affine[:3, :3] = TURN[:3, :3] @ affine[:3, :3]
    affine[:3, 3] = middle[:3] - affine[:3, :3] @ (np.array(image.shape) / 2)
    return resample_from_to(image, (image.shape, affine), order=1)


def thick(image: Image) -> Image:
    """Average pairs of slices."""
    data = np.asarray(image.dataobj, dtype=np.float32)
    data = data[:, :, : data.shape[2] // 2 * 2]
    affine = image.affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0.5], [0, 0, 0, 1.0]])
    return Image((data[:, :, ::2] + data[:, :, 1::2]) / 2, affine)


def scaled(image: Image) -> Image:
    """Store integers with a slope and an intercept that have to be applied."""
    stored = Image(np.asarray(image.dataobj, dtype=np.float32) / 7 + 3, image.affine)
    stored.set_data_dtype(np.int16)
    return stored


def with_axes(*axes: int) -> Callable[[Image], Image]:
    return lambda image: Image(np.asarray(image.dataobj).reshape(*image.shape, *axes), image.affine)


def make_region(scan: Scan, derivatives: Path, work: Path) -> tuple[NDArray[np.float32], list[str]]:
    """Go the way from a scan to its region, and return what was found odd."""
    volume = load_volume(scan.path, volume=scan.volume)
    found = segment(
        volume, choice="existing", t1w=None, freesurfer_dirs=[derivatives], participant="01", session=None,
        work_dir=work, threads=1, licence=None, sloppy=False,
    )  # fmt: skip
    mask = basal_ganglia_mask(found.labels)
    roi = region_of_scan(
        volume.data, volume.affine, mask=mask, transform=np.eye(4), grid=FIELD, params=RoiParameters()
    )
    cut = coverage_remarks(roi.mask, roi.affine, np.eye(4), volume.affine, volume.data.shape)
    return roi.data, [*volume.warnings, *cut]


@pytest.fixture
def region(
    head: Head, describe_dataset: Callable[[Path], Path], add_scan: Callable[..., Path], tmp_path: Path
) -> Callable[..., tuple[NDArray[np.float32], list[str]]]:
    """The region of the head after a change to the scan that is stored; the labels stay as they are."""

    def make(change: Callable[[Image], Image] = lambda image: image, suffix: str = "PDw") -> object:
        bids = describe_dataset(tmp_path / "bids")
        add_scan(bids, f"sub-01_{suffix}", (change(head[0]), head[1]))
        (scan,) = find_scans(bids).scans
        return make_region(scan, bids / "derivatives", tmp_path)

    return make


@pytest.fixture(scope="module")
def plain(head: Head, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    """The region of the head as it is."""
    folder = tmp_path_factory.mktemp("plain")
    nib.save(head[0], folder / "sub-01_PDw.nii.gz")
    labels = folder / "samseg/sub-01/seg.mgz"
    labels.parent.mkdir(parents=True)
    nib.save(nib.MGHImage(np.asarray(head[1].dataobj).astype(np.int32), head[1].affine), labels)
    return make_region(Scan("01", None, folder / "sub-01_PDw.nii.gz"), folder, folder)[0]


def names(found: Selection) -> list[str]:
    return [scan.name for scan in found.scans]


def likeness(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


Region = Callable[..., tuple[NDArray[np.float32], list[str]]]


@pytest.mark.fault("A scan stored as LAS, PSR, or in any other order of axes", says="", code=0, keeps=SAME)
@pytest.mark.parametrize("axes", ["LAS", "PSR", "LPI", "SAL"])
def test_flipped(axes: str, region: Region, plain: NDArray[np.float32]) -> None:
    found, odd = region(lambda image: turned(image, axes))
    assert likeness(found, plain) > 0.999
    assert not any("mirror" in words for words in odd)


@pytest.mark.fault("A scan of oblique slices", says="", code=0, keeps="the score of the untilted scan")
def test_oblique(region: Region, plain: NDArray[np.float32]) -> None:
    found, odd = region(oblique)
    assert likeness(found, plain) > 0.95
    assert not any("differ" in words for words in odd)


@pytest.mark.fault("Thick slices", says="thick slices (6 mm)", code=0, keeps=WARNED)
def test_thick(region: Region, plain: NDArray[np.float32], mark: pytest.Mark) -> None:
    found, odd = region(thick)
    assert any(mark.kwargs["says"] in words for words in odd)
    assert likeness(found, plain) > 0.9


@pytest.mark.fault(
    "A scan that covers only a slab about the basal ganglia", says="partial coverage", code=0, keeps=WARNED
)
def test_partly_covered(region: Region, plain: NDArray[np.float32], mark: pytest.Mark) -> None:
    found, odd = region(lambda image: image.slicer[:, :, 14:44])
    assert any(mark.kwargs["says"] in words for words in odd)
    assert not any("misses" in words for words in odd)
    assert likeness(found, plain) > 0.999


@pytest.mark.fault(
    "A scan that ends inside the basal ganglia",
    says="of the region",
    code=0,
    keeps="the score, with `qc_pass` false and the share that is missing",
)
def test_cut_region(region: Region, mark: pytest.Mark) -> None:
    _, odd = region(lambda image: image.slicer[:, :, 26:])
    assert any("the scan misses" in words and mark.kwargs["says"] in words for words in odd)


@pytest.mark.fault("Integers with a slope and an intercept", says="", code=0, keeps="the true intensities")
def test_slope(region: Region, head: Head, tmp_path: Path) -> None:
    region(scaled)
    path = tmp_path / "bids/sub-01/anat/sub-01_PDw.nii.gz"
    assert nib.load(path).dataobj.slope != 1
    assert nib.load(path).get_data_dtype() == np.int16
    expected = np.asarray(head[0].dataobj, dtype=np.float32) / 7 + 3
    np.testing.assert_allclose(load_volume(path).data, expected, atol=np.ptp(expected) / 2**15)


@pytest.mark.fault("A trailing fourth (and fifth) dimension of 1", says="", code=0, keeps=SAME)
@pytest.mark.parametrize("axes", [(1,), (1, 1)])
def test_trailing_dimension(axes: tuple[int, ...], region: Region, plain: NDArray[np.float32]) -> None:
    found, _ = region(with_axes(*axes))
    np.testing.assert_array_equal(found, plain)


@pytest.mark.fault(
    "A `PDT2` of two volumes",
    says="",
    code=0,
    keeps="the score of the volume with the shorter echo; the first where no readable sidecar says",
)
@pytest.mark.parametrize(
    ("sidecar", "place"), [(None, 0), ('{"EchoTime": [0.09, 0.012]}', 1), ('{"EchoTime": [0.01', 0)]
)
def test_double_echo(
    sidecar: str | None, place: int, region: Region, plain: NDArray[np.float32], tmp_path: Path
) -> None:
    anat = tmp_path / "bids/sub-01/anat"
    if sidecar is not None:
        anat.mkdir(parents=True)
        (anat / "sub-01_PDT2.json").write_text(sidecar)

    def pair(image: Image) -> Image:
        data = np.asarray(image.dataobj)
        both = [data, data.max() - data]
        return Image(np.stack(both if place == 0 else both[::-1], axis=-1), image.affine)

    found, _ = region(pair, "PDT2")
    np.testing.assert_array_equal(found, plain)


@pytest.mark.fault(
    "A brain-extracted scan, which may score low without a sign",
    says="the scan is brain-extracted",
    code=0,
    keeps=WARNED,
)
def test_brain_extracted(region: Region, head: Head, mark: pytest.Mark) -> None:
    brain = np.asarray(head[1].dataobj) > 0
    _, odd = region(lambda image: Image(np.asarray(image.dataobj) * brain, image.affine))
    assert any(mark.kwargs["says"] in words for words in odd)
    _, odd = region()
    assert not any(mark.kwargs["says"] in words for words in odd)


@pytest.fixture
def stored(region: Region, tmp_path: Path) -> tuple[Path, Callable[[], NDArray[np.float32]]]:
    """The file of the plain scan, to be changed, and what makes its region anew."""
    region()

    def again() -> NDArray[np.float32]:
        (scan,) = find_scans(tmp_path / "bids").scans
        return make_region(scan, tmp_path / "bids/derivatives", tmp_path)[0]

    return tmp_path / "bids" / SOUND, again


Stored = tuple[Path, Callable[[], NDArray[np.float32]]]


@pytest.mark.fault("A git-annex link whose content is here", says="", code=0, keeps=SAME)
def test_annexed_and_present(stored: Stored, plain: NDArray[np.float32], tmp_path: Path) -> None:
    path, again = stored
    key = tmp_path / "bids/.git/annex/objects/X1/Y2/MD5E-s9--ab/MD5E-s9--ab"
    key.parent.mkdir(parents=True)
    path.rename(key)
    key.chmod(0o444)
    path.symlink_to("../../.git/annex/objects/X1/Y2/MD5E-s9--ab/MD5E-s9--ab")
    np.testing.assert_array_equal(again(), plain)


@pytest.mark.fault("Zeros behind the compressed stream, as tapes leave them", says="", code=0, keeps=SAME)
def test_padded(stored: Stored, plain: NDArray[np.float32]) -> None:
    path, again = stored
    path.write_bytes(path.read_bytes() + bytes(4096))
    np.testing.assert_array_equal(again(), plain)


@pytest.mark.fault(
    "Several sessions, runs and acquisitions",
    says="is taken;",
    code=0,
    keeps="one score a session: the plainest name, then the first run; the choice is logged",
)
def test_several_scans(empty_files: Find, caplog: pytest.LogCaptureFixture, mark: pytest.Mark) -> None:
    caplog.set_level("INFO", logger="epvs_bids")
    first, second = "sub-01/ses-1/anat/sub-01_ses-1", "sub-01/ses-2/anat/sub-01_ses-2"
    runs = [f"{first}_run-{run}_PDw.nii.gz" for run in (10, 2)]
    bids = empty_files(*runs, f"{first}_acq-hires_PDw.nii.gz", f"{second}_T2w.nii.gz")
    assert names(find_scans(bids)) == ["sub-01_ses-1_run-2_PDw", "sub-01_ses-2_T2w"]
    assert f"sub-01_ses-1_run-2_PDw.nii.gz {mark.kwargs['says']}" in caplog.text
    assert "sub-01_ses-1_run-10_PDw.nii.gz, sub-01_ses-1_acq-hires_PDw.nii.gz not" in caplog.text


@pytest.mark.fault(
    "A data set of a thousand participants, of which one is asked for",
    says="",
    code=0,
    keeps="the time: no other participant's folder is looked into",
)
def test_indexing_looks_at_what_is_asked_for(empty_files: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [f"{number:04}" for number in range(1000)]
    bids = empty_files(*(f"sub-{label}/anat/sub-{label}_PDw.nii.gz" for label in labels))
    looked_into = []
    scandir = os.scandir

    def note(folder: os.PathLike[str]) -> object:
        looked_into.append(os.fspath(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", note)
    assert names(find_scans(bids, participants=["0500"])) == ["sub-0500_PDw"]
    inside = {folder for folder in looked_into if folder.startswith(f"{bids}/sub-")}
    assert inside == {f"{bids}/sub-0500", f"{bids}/sub-0500/anat"}


@pytest.mark.fault("Participants `1` and `01` in one data set", says="", code=0, keeps="a score for each")
def test_one_and_zero_one(empty_files: Find) -> None:
    bids = empty_files("sub-1/anat/sub-1_PDw.nii.gz", SOUND)
    assert set(names(find_scans(bids))) == {"sub-1_PDw", "sub-01_PDw"}
    assert names(find_scans(bids, participants=["1"])) == ["sub-1_PDw"]


@pytest.mark.fault(
    "Folders whose labels BIDS does not know (`sub-01 copy`, `sub-Zoë`, `sub-a_b`, `sub-x;id`)",
    says="another label than its folder",
    code=0,
    keeps="the scores of the other participants; the reason for these",
)
@pytest.mark.parametrize("label", ["01 copy", "Zoë", "a_b", "x;id", "01.bak", "-", "a'b\"c", "$(id)"])
def test_odd_labels(label: str, empty_files: Find, mark: pytest.Mark) -> None:
    found = find_scans(empty_files(SOUND, f"sub-{label}/anat/sub-{label}_PDw.nii.gz"))
    assert names(found) == ["sub-01_PDw"]
    (other,) = found.unavailable
    assert other.participant == label
    assert mark.kwargs["says"] in other.reason


@pytest.mark.fault(
    "Suffixes or extensions in capital letters (`_PDW.nii.gz`, `_t2w.NII`)",
    says="BIDS tells capital from small letters",
    code=0,
    keeps="the scores of the other participants; the reason for these",
)
@pytest.mark.parametrize(
    ("name", "proper"),
    [
        ("PDW.nii.gz", "PDw.nii.gz"),
        ("pdw.nii.gz", "PDw.nii.gz"),
        ("T2w.NII.GZ", "T2w.nii.gz"),
        ("PDt2.Nii", "PDT2.nii"),
    ],
)
def test_capital_letters(name: str, proper: str, empty_files: Find, mark: pytest.Mark) -> None:
    found = find_scans(empty_files(SOUND, f"sub-02/anat/sub-02_{name}"))
    assert names(found) == ["sub-01_PDw"]
    assert f"rename sub-02_{name} to sub-02_{proper}" in found.unavailable[0].reason
    assert mark.kwargs["says"] in found.unavailable[0].reason


@pytest.mark.fault(
    "Names of folders that are not UTF-8",
    says="its name is not UTF-8 text",
    code=0,
    keeps="the scores of the other participants",
)
def test_names_that_are_no_text(
    empty_files: Find, caplog: pytest.LogCaptureFixture, mark: pytest.Mark
) -> None:
    found = find_scans(empty_files(SOUND, "sub-\udce9/anat/sub-\udce9_PDw.nii.gz"))
    assert names(found) == ["sub-01_PDw"]
    assert not found.unavailable
    assert mark.kwargs["says"] in caplog.text


@pytest.mark.fault(
    "A malformed sidecar, and filters or an index that need sidecars",
    says="is not valid JSON",
    code=0,
    keeps="the scores of all whose own sidecar is read; the file is named",
)
@pytest.mark.parametrize("kept", [False, True])
def test_malformed_sidecar(
    kept: bool, empty_files: Find, tmp_path: Path, caplog: pytest.LogCaptureFixture, mark: pytest.Mark
) -> None:
    bids = empty_files(SOUND, "sub-02/anat/sub-02_PDw.nii.gz")
    (bids / "sub-01/anat/sub-01_PDw.json").write_text('{"EchoTime": 0.02}')
    (bids / "sub-02/anat/sub-02_PDw.json").write_text('{"EchoTime": 0.02')
    filters = tmp_path / "filters.json"
    filters.write_text(json.dumps({"pdw": {"EchoTime": 0.02}}))
    found = find_scans(bids, filters=read_filters(filters), database=tmp_path / "index" if kept else None)
    assert names(found) == ["sub-01_PDw"]
    assert f"sub-02_PDw.json {mark.kwargs['says']}" in caplog.text
