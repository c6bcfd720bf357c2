"""One function from a scan to its labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nilearn.datasets import load_mni152_template

from epvs_bids.anatomy.images import load_labels, load_volume, save_volume
from epvs_bids.anatomy.initialisation import LANDMARKS, rotation_about
from epvs_bids.anatomy.labels import basal_ganglia_mask, dice
from epvs_bids.anatomy.samseg import COMMAND_VARIABLE, find_samseg
from epvs_bids.anatomy.segmentation import segment
from epvs_bids.errors import BadDataError, MissingInputError, TryAgainError, UsageError

Head = tuple[nib.Nifti1Image, nib.Nifti1Image]


@pytest.fixture
def scan(head: Head, tmp_path: Path) -> Path:
    head[0].to_filename(tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def arguments(tmp_path: Path, **changed: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever `segment` takes
    plain = {
        "choice": "auto",
        "t1w": None,
        "freesurfer_dirs": [tmp_path / "derivatives"],
        "participant": "1",
        "session": None,
        "work_dir": tmp_path / "work",
        "threads": 1,
        "licence": None,
        "sloppy": False,
    }
    return {**plain, **changed}


def stand_in(tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch, *, extra: str = "") -> Path:
    """Make a `run_samseg` that answers with the labels of the fixture and a speck."""
    labels = np.asarray(head[1].dataobj).astype(np.int32)
    labels[1, 1, 1] = 12
    nib.MGHImage(labels, head[1].affine).to_filename(tmp_path / "answer.mgz")
    program = tmp_path / "run_samseg"
    program.write_text(
        f'#!/bin/sh\necho "$*" > {tmp_path}/called\n{extra}\n'
        'while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done\n'
        f"cp {tmp_path}/answer.mgz $out/seg.mgz\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv(COMMAND_VARIABLE, str(program))
    return program


def test_samseg_is_what_auto_ends_with(
    scan: Path, head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, head, monkeypatch)
    result = segment(load_volume(scan), **arguments(tmp_path))
    np.testing.assert_array_equal(result.labels, np.asarray(head[1].dataobj))
    np.testing.assert_allclose(result.affine, nib.load(scan).affine, atol=1e-5)
    assert result.source == "SAMSEG"
    assert "Left-Putamen 1" in result.notes[-1]
    called = (tmp_path / "called").read_text()
    assert "--pallidum-separate" in called
    assert "--options" in called


@pytest.mark.parametrize(
    ("extra", "error", "words"),
    [
        ("kill -9 $$", TryAgainError, "memory"),
        ("echo bad atlas; exit 1", BadDataError, "bad atlas"),
        ("exit 0", BadDataError, "without labels"),
    ],
)
def test_what_befalls_samseg_is_named(
    request: pytest.FixtureRequest, tmp_path: Path, extra: str, error: type[Exception], words: str
) -> None:
    scan, head = request.getfixturevalue("scan"), request.getfixturevalue("head")
    stand_in(tmp_path, head, request.getfixturevalue("monkeypatch"), extra=extra)
    with pytest.raises(error, match=words):
        segment(load_volume(scan), **arguments(tmp_path, choice="samseg"))


def test_samseg_is_not_there(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COMMAND_VARIABLE, str(tmp_path / "nowhere"))
    assert find_samseg() is None
    with pytest.raises(MissingInputError, match=r"SAMSEG is not installed.*--derivatives"):
        segment(load_volume(scan), **arguments(tmp_path))


def test_labels_in_another_space_are_brought_by_registration(scan: Path, head: Head, tmp_path: Path) -> None:
    """A FreeSurfer subject 12 degrees and 25 mm off, of another contrast, on a grid of its own."""
    offset = rotation_about(np.zeros(3), (12.0, -8.0, 5.0))
    offset[:3, 3] = (25, -10, 15)
    mri = tmp_path / "derivatives" / "freesurfer" / "sub-1" / "mri"
    mri.mkdir(parents=True)
    data = head[0].get_fdata(dtype=np.float32)
    t1w = np.where(data > 20, data.max() * 1.1 - data, data)[::-1].copy()
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = data.shape[0] - 1
    affine = offset @ head[0].affine @ flip
    nib.MGHImage(t1w, affine).to_filename(mri / "orig.mgz")
    labels = np.asarray(head[1].dataobj).astype(np.int32)[::-1].copy()
    nib.MGHImage(labels, affine).to_filename(mri / "aseg.mgz")
    result = segment(load_volume(scan), **arguments(tmp_path))
    assert result.source == "FreeSurfer"
    assert any("rigid registration" in note for note in result.notes)
    truth = basal_ganglia_mask(np.asarray(head[1].dataobj).astype(int))
    assert dice(basal_ganglia_mask(result.labels), truth) > 0.85


def test_labels_in_the_scans_space_are_resampled(scan: Path, head: Head, tmp_path: Path) -> None:
    path = tmp_path / "derivatives" / "sub-1" / "anat" / "sub-1_T2w_synthseg.nii.gz"
    labels = np.asarray(head[1].dataobj).astype(np.int32)
    fine = np.kron(labels, np.ones((2, 1, 1), np.int32))
    half = np.diag([0.5, 1, 1, 1])
    half[0, 3] = -0.25
    save_volume(path, fine, head[1].affine @ half, np.int32)
    result = segment(load_volume(scan), **arguments(tmp_path, choice="existing"))
    assert result.source == "SynthSeg"
    np.testing.assert_array_equal(result.labels, labels)


def test_nothing_to_use(scan: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="No finished segmentation of sub-1"):
        segment(load_volume(scan), **arguments(tmp_path, choice="existing"))
    scripts = tmp_path / "derivatives" / "sub-1" / "scripts"
    scripts.mkdir(parents=True)
    (scripts / "IsRunning.lh+rh").touch()
    with pytest.raises(TryAgainError, match="still being made"):
        segment(load_volume(scan), **arguments(tmp_path, choice="existing"))
    with pytest.raises(UsageError, match="unheard"):
        segment(load_volume(scan), **arguments(tmp_path, choice="unheard"))
    with pytest.raises(MissingInputError, match="needs a T1w"):
        segment(load_volume(scan), **arguments(tmp_path, choice="freesurfer"))


def test_labels_beside_the_scan(scan: Path, head: Head, tmp_path: Path) -> None:
    far = head[1].affine.copy()
    far[:3, 3] += 1000
    labels = np.asarray(head[1].dataobj).astype(np.int32)
    save_volume(tmp_path / "derivatives" / "sub-1" / "sub-1_T2w_synthseg.nii.gz", labels, far, np.int32)
    with pytest.raises(BadDataError, match="no basal ganglia inside the scan"):
        segment(load_volume(scan), **arguments(tmp_path))


@pytest.mark.parametrize(
    ("millimetres", "words"), [(0, "share too little information"), (1000, "lie outside")]
)
def test_labels_and_an_image_that_do_not_belong_together(
    scan: Path, head: Head, tmp_path: Path, millimetres: float, words: str
) -> None:
    mri = tmp_path / "derivatives" / "sub-1" / "mri"
    mri.mkdir(parents=True)
    noise = np.random.default_rng(0).uniform(1, 100, head[0].shape).astype(np.float32)
    affine = head[1].affine.copy()
    affine[:3, 3] += millimetres
    nib.MGHImage(noise, affine).to_filename(mri / "orig.mgz")
    affine = head[1].affine.copy()
    affine[:3, 3] += 1  # else they lie on the scan's own grid
    nib.MGHImage(np.asarray(head[1].dataobj).astype(np.int32), affine).to_filename(mri / "aseg.mgz")
    with pytest.raises(BadDataError, match=rf"aseg\.mgz.*{words}") as caught:
        segment(load_volume(scan), **arguments(tmp_path))
    assert "orig.mgz" in str(caught.value)


def test_labels_that_are_a_mirror_image(scan: Path, head: Head, tmp_path: Path) -> None:
    """They are refused before any registration to MNI space, which may be left out."""
    labels = np.asarray(head[1].dataobj).astype(np.int32)
    to_index = np.linalg.inv(load_mni152_template(resolution=3).affine)
    for label, place in LANDMARKS.items():
        x, y, z = np.rint(to_index[:3, :3] @ place + to_index[:3, 3]).astype(int)
        labels[labels == label] = 2
        labels[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2] = label
    path = tmp_path / "derivatives" / "sub-1" / "sub-1_T2w_synthseg.nii.gz"
    save_volume(path, labels, head[1].affine, np.int32)
    assert segment(load_volume(scan), **arguments(tmp_path)).source == "SynthSeg"
    save_volume(path, labels[:, :, ::-1], head[1].affine, np.int32)
    with pytest.raises(BadDataError, match=r"T2w_synthseg.*mirror image"):
        segment(load_volume(scan), **arguments(tmp_path))


@pytest.mark.real
@pytest.mark.slow
def test_samseg_against_freesurfer(real_data: Path, tmp_path: Path) -> None:
    """In PD/T2 mode the pallidum is apart; on this T1w the union is what is compared."""
    if find_samseg() is None:
        pytest.skip("run_samseg is not installed")
    mri = real_data / "freesurfer" / "sub-fs1" / "mri"
    image = nib.load(mri / "norm.mgz")
    nib.Nifti1Image(np.asarray(image.dataobj), image.affine).to_filename(tmp_path / "scan.nii.gz")
    result = segment(load_volume(tmp_path / "scan.nii.gz"), **arguments(tmp_path, choice="samseg"))
    truth, _ = load_labels(mri / "aparc.a2009s+aseg.mgz")
    assert dice(basal_ganglia_mask(result.labels), basal_ganglia_mask(truth)) > 0.8
