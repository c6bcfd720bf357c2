"""Labels and registrations that can't be used, and FreeSurfer subjects and licences that are not in order."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nilearn.datasets import load_mni152_brain_mask
from running import KEPT, Head

from epvs_bids.anatomy.images import load_volume
from epvs_bids.anatomy.initialisation import LANDMARKS
from epvs_bids.anatomy.registration import RigidTransform, check_registration
from epvs_bids.anatomy.segmentation import Segmentation, segment
from epvs_bids.anatomy.template import get_template


@pytest.mark.fault(
    "A registration that ends well but misplaces the brain", says="can't be trusted", code=65, keeps=KEPT
)
@pytest.mark.parametrize("millimetres", [0, 40])
def test_misplaced_brain(head: Head, millimetres: float) -> None:
    template = get_template("MNI152NLin2009aSym")
    matrix = np.eye(4)
    matrix[:3, 3] = millimetres
    check = check_registration(
        RigidTransform(matrix, 0.5),
        template_mask=template.mask,
        template_affine=template.image.affine,
        labels=np.asarray(head[1].dataobj),
        affine=load_mni152_brain_mask(resolution=3).affine,
    )
    assert check.passed == (millimetres == 0), check.reason


@pytest.mark.fault(
    "Labels that are flipped upside down", says="mirror image of a brain's", code=65, keeps=KEPT
)
def test_flipped_labels(mark: pytest.Mark) -> None:
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = -100
    mask = np.square(np.indices((100, 100, 80)) - 50).sum(axis=0) < 35**2
    labels = np.where(mask, 2, 0)
    for label, place in LANDMARKS.items():
        x, y, z = np.rint((np.array(place) + 100) / 2).astype(int)
        labels[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2] = label
    for lying, words in ((labels, ""), (labels[:, :, ::-1], mark.kwargs["says"])):
        check = check_registration(
            RigidTransform(np.eye(4), 0.3),
            template_mask=mask,
            template_affine=affine,
            labels=lying,
            affine=affine,
        )
        assert words in check.reason
        assert check.passed == (not words)


@pytest.fixture
def subject(tmp_path: Path, head: Head) -> Path:
    """A FreeSurfer subject with labels, its log folder, and the scan that it is for (`scan.nii.gz`)."""
    nib.save(head[0], tmp_path / "scan.nii.gz")
    folder = tmp_path / "freesurfer/sub-01"
    (folder / "scripts").mkdir(parents=True)
    (folder / "mri").mkdir()
    nib.save(
        nib.MGHImage(np.asarray(head[1].dataobj).astype(np.int32), head[1].affine), folder / "mri/aseg.mgz"
    )
    return folder


def use(subject: Path, choice: str = "existing", **more: object) -> Segmentation:
    given: dict[str, Any] = {"t1w": None, "licence": None, **more}
    return segment(
        load_volume(subject.parents[1] / "scan.nii.gz"),
        choice=choice,
        freesurfer_dirs=[subject.parent],
        participant="01",
        session=None,
        work_dir=subject.parents[1] / "work",
        threads=1,
        sloppy=False,
        **given,
    )


@pytest.mark.fault("A half-finished FreeSurfer subject", says="is half-finished", code=66, keeps=KEPT)
def test_half_finished_freesurfer(subject: Path, refuses: Callable[..., None]) -> None:
    refuses(use, subject)
    (subject / "scripts/recon-all.done").touch()
    assert use(subject).source == "FreeSurfer"


@pytest.mark.fault("A FreeSurfer subject that is still running", says="still being made", code=75, keeps=KEPT)
def test_running_freesurfer(subject: Path, refuses: Callable[..., None]) -> None:
    (subject / "scripts/recon-all.done").touch()
    (subject / "scripts/IsRunning.lh+rh").touch()
    refuses(use, subject)


@pytest.fixture
def recon_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A FreeSurfer that must not be run; returns its home."""
    program = tmp_path / "bin/recon-all"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/was-run\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("FREESURFER_HOME", str(tmp_path))
    monkeypatch.delenv("FS_LICENSE", raising=False)
    return tmp_path


@pytest.mark.fault(
    "A FreeSurfer licence that is none",
    says="not a FreeSurfer licence",
    code=65,
    keeps="FreeSurfer is not begun",
)
@pytest.mark.parametrize("content", ["", "me@example.org\n", "<html>\n1\n2\n3\n4\n", "\0\xff" * 50])
def test_bad_licence(content: str, subject: Path, recon_all: Path, refuses: Callable[..., None]) -> None:
    licence = recon_all / "given.txt"
    licence.write_text(content)
    refuses(use, subject, "freesurfer", t1w=subject.parents[1] / "scan.nii.gz", licence=licence)
    assert not (recon_all / "was-run").exists()


@pytest.mark.fault(
    "No FreeSurfer licence", says="FreeSurfer needs a licence file", code=66, keeps="FreeSurfer is not begun"
)
def test_no_licence(subject: Path, recon_all: Path, refuses: Callable[..., None]) -> None:
    refuses(use, subject, "freesurfer", t1w=subject.parents[1] / "scan.nii.gz")
    assert not (recon_all / "was-run").exists()


@pytest.mark.fault(
    "No FreeSurfer licence, and a finished result that needs none",
    says="FreeSurfer",
    code=0,
    keeps="everything",
)
@pytest.mark.usefixtures("recon_all")
def test_licence_not_needed(subject: Path, mark: pytest.Mark) -> None:
    (subject / "scripts/recon-all.done").touch()
    assert use(subject, "auto").source == mark.kwargs["says"]
