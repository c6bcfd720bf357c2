"""Results of segmenters, found where people keep them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from epvs_bids.anatomy.existing import find_existing
from epvs_bids.bids.derivatives import image_sidecar
from epvs_bids.files import write_json


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("files", "program", "labels", "reference"),
    [
        (
            ["sub-1/mri/aseg.mgz", "sub-1/mri/orig.mgz", "sub-1/scripts/recon-all.done"],
            "FreeSurfer",
            "sub-1/mri/aseg.mgz",
            "sub-1/mri/orig.mgz",
        ),
        (
            ["sub-1/mri/aparc+aseg.mgz", "sub-1/mri/norm.mgz"],
            "FreeSurfer",
            "sub-1/mri/aparc+aseg.mgz",
            "sub-1/mri/norm.mgz",
        ),
        (
            ["freesurfer/sub-1/mri/aseg.presurf.mgz", "freesurfer/sub-1/scripts/recon-all.done"],
            "FreeSurfer",
            "freesurfer/sub-1/mri/aseg.presurf.mgz",
            None,
        ),
        (
            ["fmriprep-25/sourcedata/freesurfer/sub-1/mri/aseg.mgz"],
            "FreeSurfer",
            "fmriprep-25/sourcedata/freesurfer/sub-1/mri/aseg.mgz",
            None,
        ),
        (
            ["fastsurfer/sub-1/mri/aparc.DKTatlas+aseg.deep.mgz", "fastsurfer/sub-1/scripts/deep-seg.log"],
            "FastSurfer",
            "fastsurfer/sub-1/mri/aparc.DKTatlas+aseg.deep.mgz",
            None,
        ),
        (["sub-1/anat/sub-1_T2w_synthseg.nii.gz"], "SynthSeg", "sub-1/anat/sub-1_T2w_synthseg.nii.gz", None),
        (
            ["samseg/sub-1/seg.mgz", "samseg/sub-1/mode01_bias_corrected.mgz"],
            "SAMSEG",
            "samseg/sub-1/seg.mgz",
            "samseg/sub-1/mode01_bias_corrected.mgz",
        ),
        (
            ["smriprep/sub-1/anat/sub-1_desc-aseg_dseg.nii.gz"],
            "FreeSurfer",
            "smriprep/sub-1/anat/sub-1_desc-aseg_dseg.nii.gz",
            None,
        ),
        (
            [
                "fmriprep/sub-1/anat/sub-1_run-1_desc-aseg_dseg.nii.gz",
                "fmriprep/sub-1/anat/sub-1_run-1_desc-preproc_T1w.nii.gz",
            ],
            "FreeSurfer",
            "fmriprep/sub-1/anat/sub-1_run-1_desc-aseg_dseg.nii.gz",
            "fmriprep/sub-1/anat/sub-1_run-1_desc-preproc_T1w.nii.gz",
        ),
    ],
)
def test_layouts(tmp_path: Path, files: list[str], program: str, labels: str, reference: str | None) -> None:
    touch(tmp_path, *files)
    found = find_existing([tmp_path / "nowhere", tmp_path], participant="1", session=None).found
    assert found is not None
    assert found.program == program
    assert found.labels == tmp_path / labels
    assert found.reference == (tmp_path / reference if reference else None)


def test_space_of_labels_without_an_image_beside_them(tmp_path: Path) -> None:
    touch(tmp_path, "sub-1/anat/sub-1_T1w_synthseg.nii.gz", "sub-2/anat/sub-2_T2w_synthseg.nii.gz")
    in_t1w = find_existing([tmp_path], participant="1", session=None).found
    in_t2w = find_existing([tmp_path], participant="2", session=None).found
    assert in_t1w is not None
    assert in_t1w.in_t1w
    assert in_t2w is not None
    assert not in_t2w.in_t1w


def test_labels_in_mni_space_are_not_taken(tmp_path: Path) -> None:
    touch(tmp_path, "sub-1/anat/sub-1_space-MNI152NLin2009cAsym_desc-aseg_dseg.nii.gz")
    assert find_existing([tmp_path], participant="1", session=None).found is None


def test_same_session_first_then_the_participant(tmp_path: Path) -> None:
    touch(tmp_path, "sub-1/mri/aseg.mgz")
    first = find_existing([tmp_path], participant="1", session="b").found
    assert first is not None
    assert first.labels.parts[-3] == "sub-1"
    touch(tmp_path, "sub-1_ses-b/mri/aseg.mgz")
    second = find_existing([tmp_path], participant="1", session="b").found
    assert second is not None
    assert second.labels.parts[-3] == "sub-1_ses-b"
    assert find_existing([tmp_path], participant="11", session=None).found is None


@pytest.mark.parametrize(
    ("session", "name"),
    [
        ("2", "sub-1_ses-2_T2w_synthseg.nii.gz"),
        ("12", "sub-1_T2w_synthseg.nii.gz"),
        (None, "sub-1_T2w_synthseg.nii.gz"),
    ],
)
def test_labels_of_another_session_are_not_taken(tmp_path: Path, session: str | None, name: str) -> None:
    for other in ("1", "2"):
        touch(tmp_path, f"synthseg/sub-1/sub-1_ses-{other}_T2w_synthseg.nii.gz")
    touch(tmp_path, "synthseg/sub-1/sub-1_T2w_synthseg.nii.gz")
    found = find_existing([tmp_path], participant="1", session=session).found
    assert found is not None
    assert found.labels.name == name


def test_an_earlier_output_is_not_read_back(tmp_path: Path) -> None:
    labels = tmp_path / "epvs" / "sub-1" / "anat" / "sub-1_desc-aseg_dseg.nii.gz"
    sidecar = labels.with_name("sub-1_desc-aseg_dseg.json")
    touch(labels.parent, labels.name)
    write_json(sidecar, image_sidecar("Labels", sources=[], res=None, skull_stripped=False))
    assert find_existing([tmp_path], participant="1", session=None).found is None
    write_json(sidecar, {"Sources": []})
    assert find_existing([tmp_path], participant="1", session=None).found is not None


def test_half_finished_and_running_subjects_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a/sub-1/mri/aseg.mgz", "a/sub-1/scripts/recon-all.log")
    search = find_existing([tmp_path / "a"], participant="1", session=None)
    assert search.found is None
    assert not search.running
    assert "half-finished" in search.unfinished[0]
    touch(tmp_path, "a/sub-1/scripts/recon-all.done", "a/sub-1/scripts/IsRunning.lh+rh")
    search = find_existing([tmp_path / "a"], participant="1", session=None)
    assert search.found is None
    assert search.running
    assert "IsRunning" in search.unfinished[0]
    touch(tmp_path, "b/sub-1/mri/aseg.mgz")
    search = find_existing([tmp_path / "a", tmp_path / "b"], participant="1", session=None)
    assert search.found is not None
    assert search.unfinished


@pytest.mark.parametrize("locked", ["a", "a/sub-1", "a/sub-1/scripts"])
def test_what_can_not_be_read_is_passed_over(
    locked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/sub-1/mri/aseg.mgz", "a/sub-1/scripts/recon-all.done", "b/sub-1/mri/aseg.mgz")
    look, enter = os.stat, os.scandir

    def refuse(path: Any) -> None:  # noqa: ANN401 - as os.stat has it
        if tmp_path / locked in Path(os.fspath(path)).parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

    def stat(path: Any, **more: Any) -> os.stat_result:  # noqa: ANN401
        refuse(path)
        return look(path, **more)

    def scandir(path: Any) -> Any:  # noqa: ANN401
        refuse(Path(os.fspath(path)) / "file")
        return enter(path)

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(os, "scandir", scandir)
    for directories in ([tmp_path / "a", tmp_path / "b"], [tmp_path]):
        search = find_existing(directories, participant="1", session="x")
        assert search.found is not None
        assert search.found.labels == tmp_path / "b/sub-1/mri/aseg.mgz"
        assert not search.running
        assert f"{tmp_path}/a/sub-1 can't be read (Permission denied: check" in " ".join(search.unfinished)
