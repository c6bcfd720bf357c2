from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from epvs_bids.reports.rating.scans import find_scans

from .phantom import phantom, write_scan


def test_one_scan_a_session_and_reasons_for_the_rest(output: Path) -> None:
    write_scan(output, "01", suffix="T2w")
    lost = write_scan(output, "03")
    next(lost.parent.glob("*_xfm.txt")).unlink()
    scans, left_out = find_scans(output)
    assert [(scan.name, scan.participant_id, scan.session_id) for scan in scans] == [
        ("sub-01", "sub-01", ""),
        ("sub-02_ses-1", "sub-02", "ses-1"),
        ("sub-02_ses-2", "sub-02", "ses-2"),
    ]
    assert scans[0].image.name.endswith("_PDw.nii.gz")
    assert "_from-PDw_to-MNI152NLin2009cAsym_" in scans[0].transform.name
    assert "_from-T2w_" in scans[2].transform.name
    assert [reason.split(":")[0].rsplit("/")[-1].split("_")[0] for reason in left_out] == ["sub-03", "sub-01"]


def test_nothing_there(tmp_path: Path) -> None:
    assert find_scans(tmp_path / "nowhere") == ([], [])


def test_the_slice_that_opens_is_that_of_the_persons_own_commissure(tmp_path: Path) -> None:
    image = write_scan(tmp_path, "01")
    (scan,), _ = find_scans(tmp_path)
    assert scan.commissure == -4.9  # the template's, where no mask tells the person's
    head = phantom()
    mask = np.zeros(head.shape, np.float32)
    mask[:, :, 30:37] = 1  # z from 2 to 5 mm
    name = image.name.replace("_desc-preproc_PDw", "_label-BG_desc-smooth_probseg")
    nib.save(nib.Nifti1Image(mask, head.affine), image.with_name(name))
    assert scan.commissure == pytest.approx(3.5 - 6)
